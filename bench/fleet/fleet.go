package main

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
)

// fleet is real buses on one server or three: the measurement of one size.
type fleet struct {
	*plan
	tell      *progress
	buses     int
	processes int
	two       []changeRow // what a change takes between two processes

	cluster *cluster
	holders []*process // of the buses; the first one holds the bus that changes its roles
	row     fleetRow
}

// writer is the bus that changes its roles.
const writer = "bus-00000"

// The fleet without probes has a bucket of its own, so that nobody has to read what the other one left behind.
const (
	bucket      = "rolebus"
	quietBucket = "quiet"
)

// measure starts the servers and the processes, lets them be measured, and ends them.
func (f *fleet) measure(ctx context.Context, story func(context.Context) error) fleetRow {
	f.row = fleetRow{Buses: f.buses, Processes: f.processes}
	err := f.start(ctx)
	if err == nil {
		err = story(ctx)
	}
	f.end()
	if err != nil {
		f.row.Error = err.Error()
		f.tell.say("%v", err)
	}
	return f.row
}

func (f *fleet) start(ctx context.Context) (err error) {
	f.tell.say("starting %s and %s", plural(f.Servers, "server"), plural(f.processes, "process"))
	if f.cluster, err = startCluster(ctx, f.Servers, f.Timeout); err != nil {
		return err
	}
	for i := range f.processes {
		p, err := startProcess(kindBuses, fmt.Sprint("process ", i+1, " of the buses"), f.Timeout)
		if err != nil {
			return err
		}
		f.holders = append(f.holders, p)
	}
	return f.makeBuckets(ctx)
}

// makeBuckets makes the buckets, so that it is not a part of joining.
func (f *fleet) makeBuckets(ctx context.Context) error {
	for _, probe := range []bool{true, false} {
		if err := makeBucket(ctx, f.order(nil, 0, probe)); err != nil {
			return err
		}
	}
	return nil
}

// makeBucket makes the bucket that buses are to use.
func makeBucket(ctx context.Context, o connectOrder) error {
	nc, err := nats.Connect(o.URL, nats.Name("maker of the bucket"))
	if err != nil {
		return err
	}
	defer nc.Close()
	return rolebus.Provision(ctx, nc, rolebus.WithBucket(o.Bucket), rolebus.WithReplicas(o.Replicas))
}

func (f *fleet) end() {
	endAll(f.holders)
	if f.cluster != nil {
		f.cluster.end()
	}
	f.holders, f.cluster = nil, nil
}

// everything is the life of a fleet, and then a shorter one without probes.
func (f *fleet) everything(ctx context.Context) error {
	if err := f.joinMeasured(ctx); err != nil {
		return err
	}
	var err error
	if f.row.Changes, err = f.changes(ctx, everyBus); err != nil {
		return err
	}
	f.compare()
	if err := f.idle(ctx, true); err != nil {
		return err
	}
	if err := f.leave(ctx); err != nil {
		return err
	}
	if _, err := f.join(ctx, false, inTurn); err != nil {
		return err
	}
	return f.idle(ctx, false)
}

// order is what makes buses with these names nodes of the fleet.
func (f *fleet) order(names []string, listed int, probe bool) connectOrder {
	o := connectOrder{
		URL: f.cluster.url, Bucket: bucket, Names: names, Listed: listed, Shared: f.Shared, TTL: f.TTL, Probe: probe, Replicas: f.Servers,
	}
	if !probe {
		o.Bucket = quietBucket
	}
	return o
}

// names are those of the buses of the nth process.
func (f *fleet) names(nth int) (names []string) {
	for i := nth; i < f.buses; i += f.processes {
		names = append(names, fmt.Sprintf("bus-%05d", i))
	}
	return names
}

func with(probe bool) string {
	if probe {
		return "with probes"
	}
	return "without probes"
}

func plural(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case what == "process":
		return fmt.Sprint(n, " processes")
	}
	return fmt.Sprint(n, " ", what, "s")
}
