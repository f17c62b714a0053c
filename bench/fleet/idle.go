package main

import (
	"context"
	"time"
)

// The processes of a fleet are asked what they have used at the beginning and at the end of the idle time.
type idleReading struct {
	servers, holders []usage
	bystander        usage
	messages         counts
	traffic          traffic
}

// idle watches the fleet while nobody changes anything. A bystander, one more node that is alone in its process, shows
// what being a member costs.
func (f *fleet) idle(ctx context.Context, probe bool) error {
	bystander, err := startProcess(kindBuses, "bystander", f.Timeout)
	if err != nil {
		return err
	}
	defer bystander.end()
	o := f.order([]string{"bystander"}, f.buses+1, probe)
	o.Shared = true // by rolebus.New, with itself
	if _, err := ask[connected](ctx, bystander, doConnect, o); err != nil {
		return err
	}
	f.tell.say("idle for %v, %s", f.Idle, with(probe))
	before, err := f.read(ctx, bystander)
	if err != nil {
		return err
	}
	select {
	case <-time.After(f.Idle):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	after, err := f.read(ctx, bystander)
	if err != nil {
		return err
	}
	f.row.Idle = append(f.row.Idle, f.idleRow(probe, before, after))
	_, err = ask[closed](ctx, bystander, doClose, none{})
	return err
}

func (f *fleet) read(ctx context.Context, bystander *process) (r idleReading, err error) {
	if r.servers, err = f.cluster.usage(ctx); err != nil {
		return r, err
	}
	if r.holders, err = askAll[usage](ctx, f.holders, doUsage, func(int) any { return usageOrder{} }); err != nil {
		return r, err
	}
	if r.bystander, err = ask[usage](ctx, bystander, doUsage, usageOrder{}); err != nil {
		return r, err
	}
	if r.traffic, err = ask[traffic](ctx, bystander, doTraffic, none{}); err != nil {
		return r, err
	}
	r.messages, err = f.cluster.count(ctx)
	return r, err
}

func (f *fleet) idleRow(probe bool, before, after idleReading) idleRow {
	server := after.messages.At.Sub(before.messages.At)
	own := after.traffic.At.Sub(before.traffic.At)
	nodes := f.buses + 1
	return idleRow{
		Probes: probe, Nodes: nodes, Observed: server,
		ServerCPU:    loads(before.servers, after.servers),
		Stored:       perSecond(float64(after.messages.Stored-before.messages.Stored), server),
		Expected:     perSecond(float64(3*nodes), f.TTL),
		In:           perSecond(float64(after.messages.In-before.messages.In), server),
		Out:          perSecond(float64(after.messages.Out-before.messages.Out), server),
		BusCPU:       loads(before.holders, after.holders) / float64(f.buses),
		BystanderCPU: load(before.bystander, after.bystander),
		BystanderIn:  perSecond(float64(after.traffic.In-before.traffic.In), own),
		BystanderOut: perSecond(float64(after.traffic.Out-before.traffic.Out), own),
	}
}

func perSecond(n float64, in time.Duration) float64 {
	if in <= 0 {
		return 0
	}
	return n / in.Seconds()
}
