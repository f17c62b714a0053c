package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

// fleet is many nodes in one process, which heartbeat when they are told to.
type fleet struct {
	system      string
	nc          *nats.Conn
	js          jetstream.JetStream
	count       int
	generations []uint64 // of their records
	fleet       string   // the bucket's identity
	next        int      // who heartbeats next
}

// playHeartbeat writes the nodes' records, is Ready, and heartbeats for as long as each order says.
func playHeartbeat(ctx context.Context, p *process.Process) error {
	nc, js, err := dial(p.Config.URL)
	if err != nil {
		return err
	}
	defer nc.Close()
	f := &fleet{system: p.Config.System, nc: nc, js: js, count: p.Config.Count}
	if err := f.settle(ctx); err != nil {
		return err
	}
	p.Obey("", func(o process.Order) (process.Report, error) { return process.Report{}, f.beat(ctx, o.Time) })
	return nil
}

func (f *fleet) settle(ctx context.Context) (err error) {
	switch f.system {
	case "kv":
		if _, err := directory(ctx, f.js); err != nil {
			return err
		}
	case "rolebus":
		if err := rolebus.Provision(ctx, f.js.Conn()); err != nil {
			return err
		}
	default:
		return nil
	}
	if f.system == "rolebus" {
		if f.fleet, err = fleetOf(ctx, f.js); err != nil {
			return err
		}
	}
	f.generations, err = publishAll(ctx, f.js, f.count, f.record)
	if err != nil || f.system == "kv" {
		return err
	}
	return answerProbes(ctx, f.nc, f.count)
}

// beat lets one node after the other heartbeat, evenly, for so long. What it is late with it makes up for, so that the rate is
// the same on a busy machine.
func (f *fleet) beat(ctx context.Context, long time.Duration) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	began, sent := time.Now(), 0
	for elapsed := time.Duration(0); elapsed < long; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		elapsed = min(time.Since(began), long)
		due := int(int64(f.count) * int64(elapsed) / int64(heartbeat))
		if f.system == "idle" || due == sent {
			continue
		}
		if _, err := publishAll(ctx, f.js, due-sent, f.heartbeat); err != nil {
			return err
		}
		sent = due
	}
	return nil
}

// heartbeat is what the node whose turn it is sends.
func (f *fleet) heartbeat(int) (*nats.Msg, error) {
	i := f.next
	f.next = (f.next + 1) % f.count
	if f.system == "kv" {
		return f.record(i)
	}
	return f.lease(i), nil
}

func (f *fleet) subject(i int) string {
	if f.system == "kv" {
		return "$KV.directory." + nodeName(i)
	}
	return "$KV.rolebus.default." + nodeName(i)
}

func (f *fleet) record(i int) (*nats.Msg, error) {
	body, err := nodeRecord("default", nodeName(i), "role")
	return &nats.Msg{Subject: f.subject(i), Data: body}, err
}

// lease is a lease as docs/PROTOCOL.md has it.
func (f *fleet) lease(i int) *nats.Msg {
	due := time.Now().Add(3 * heartbeat) // the server is on the same machine
	says := fmt.Sprintf(`"incarnation":%d,"version":1001,"gone":"expired","due":%d}`, firstIncarnation, due.UnixMilli())
	msg := nats.NewMsg("$KV.rolebus=lease.default." + nodeName(i))
	for name, value := range map[string]string{
		"KV-Operation":                                "DEL",
		"Nats-Expected-Last-Subject-Sequence":         strconv.FormatUint(f.generations[i], 10),
		"Nats-Expected-Last-Subject-Sequence-Subject": f.subject(i),
		"Nats-Schedule":                               "@at " + due.UTC().Format(time.RFC3339Nano),
		"Nats-Schedule-TTL":                           "1h",
		"Nats-Schedule-Target":                        f.subject(i),
		"Rolebus":                                     fmt.Sprintf(`{"format":1,"fleet":%q,`, f.fleet) + says,
	} {
		msg.Header.Set(name, value)
	}
	msg.Data = fmt.Appendf(nil, `{"format":1,"scope":"default","node":%q,%s`, nodeName(i), says)
	return msg
}
