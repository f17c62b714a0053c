package main

import (
	"context"
	"fmt"
	"time"
)

// simulation is a scope that has only records, which a loader writes, and one observer.
type simulation struct {
	*plan
	tell  *progress
	count int

	cluster  *cluster
	observer *process
	loader   *process
	row      recordsRow
}

const (
	loadedScope   = "fleet"
	recordChanges = 200
	burstChanges  = 1_000
	leaseCount    = 10_000
)

func (s *simulation) measure(ctx context.Context) recordsRow {
	s.row = recordsRow{Records: s.count}
	err := s.start(ctx)
	for _, step := range []func(context.Context) error{s.load, s.catchUp, s.changes, s.burst, s.leases} {
		if err == nil {
			err = step(ctx)
		}
	}
	for _, p := range []*process{s.loader, s.observer} {
		if p != nil {
			p.end()
		}
	}
	if s.cluster != nil {
		s.cluster.end()
	}
	if err != nil {
		s.row.Error = err.Error()
		s.tell.say("%v", err)
	}
	return s.row
}

func (s *simulation) start(ctx context.Context) (err error) {
	s.tell.say("starting %s", plural(s.Servers, "server"))
	if s.cluster, err = startCluster(ctx, s.Servers, s.Timeout); err != nil {
		return err
	}
	if s.observer, err = startProcess(kindBuses, "observer", s.Timeout); err != nil {
		return err
	}
	if s.loader, err = startProcess(kindLoader, "loader", s.Timeout); err != nil {
		return err
	}
	o := connectOrder{
		URL: s.cluster.url, Bucket: bucket, Names: []string{"observer"}, Observer: true, TTL: s.TTL, Probe: true, Replicas: s.Servers,
	}
	if err = makeBucket(ctx, o); err != nil {
		return err
	}
	_, err = ask[connected](ctx, s.observer, doConnect, o)
	return err
}

func (s *simulation) load(ctx context.Context) error {
	s.tell.say("loading")
	done, err := ask[stored](ctx, s.loader, doLoad, loadOrder{s.cluster.url, loadedScope, s.count})
	s.row.Loaded = perSecond(float64(s.count), done.To.Sub(done.From))
	return err
}

// catchUp lets the observer join the scope, and weighs what it then knows.
func (s *simulation) catchUp(ctx context.Context) error {
	s.tell.say("joining")
	before, err := ask[usage](ctx, s.observer, doUsage, usageOrder{Collect: true})
	if err != nil {
		return err
	}
	servers, err := s.cluster.usage(ctx)
	if err != nil {
		return err
	}
	j, err := ask[joined](ctx, s.observer, doJoin, joinOrder{loadedScope})
	if err != nil {
		return err
	}
	if j.Nodes != s.count {
		return fmt.Errorf("the observer lists %d of %d nodes", j.Nodes, s.count)
	}
	served, err := s.cluster.usage(ctx)
	if err != nil {
		return err
	}
	after, err := ask[usage](ctx, s.observer, doUsage, usageOrder{Collect: true})
	s.row.Join, s.row.JoinObserver = j.Took, j.CPU
	for i := range servers {
		s.row.JoinServers += served[i].CPU - servers[i].CPU
	}
	s.row.Heap = growth(before.Heap, after.Heap) / float64(s.count)
	s.row.RSS = growth(before.RSS, after.RSS) / float64(s.count)
	return err
}

// changes times changes of one record each.
func (s *simulation) changes(ctx context.Context) error {
	s.tell.say("changing one record, %d times", recordChanges)
	if _, err := ask[none](ctx, s.observer, doWatch, watchOrder{}); err != nil {
		return err
	}
	var took []time.Duration
	for limit := time.Now().Add(changesLimit); len(took) < recordChanges && time.Now().Before(limit); {
		c, err := ask[stored](ctx, s.loader, doAlter, changeOrder{len(took)})
		if err != nil {
			return err
		}
		seen, err := ask[sightings](ctx, s.observer, doAwait, awaitOrder{Generation: c.Generation})
		if err != nil {
			return err
		}
		took = append(took, seen.Seen[0].Sub(c.From))
	}
	s.row.Changes, s.row.Change, s.row.P99 = len(took), quantile(took, 0.5), quantile(took, 0.99)
	return nil
}

// burst changes many records as fast as they can be stored.
func (s *simulation) burst(ctx context.Context) error {
	n := min(burstChanges, s.count)
	s.tell.say("changing %d records at once", n)
	before, err := ask[tallied](ctx, s.observer, doTally, none{})
	if err != nil {
		return err
	}
	c, err := ask[stored](ctx, s.loader, doBurst, countOrder{n})
	if err != nil {
		return err
	}
	after, err := ask[tallied](ctx, s.observer, doAwaitTally, awaitOrder{Changes: before.Changes + n})
	if err != nil {
		return err
	}
	s.row.Burst, s.row.Snapshots = n, after.Snapshots-before.Snapshots
	s.row.BurstStored, s.row.BurstSeen = c.To.Sub(c.From), after.At.Sub(c.From)
	return nil
}

// leases arms leases as heartbeats do, as fast as the servers take them.
func (s *simulation) leases(ctx context.Context) error {
	s.tell.say("arming %d leases", leaseCount)
	before, err := s.cluster.usage(ctx)
	if err != nil {
		return err
	}
	c, err := ask[stored](ctx, s.loader, doLeases, countOrder{leaseCount})
	if err != nil {
		return err
	}
	after, err := s.cluster.usage(ctx)
	s.row.Leases, s.row.LeaseRate = leaseCount, perSecond(leaseCount, c.To.Sub(c.From))
	s.row.LeaseCPU, s.row.LeaseNodes = loads(before, after), s.row.LeaseRate*s.TTL.Seconds()/3
	return err
}
