package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
	"github.com/rolebus/rolebus/bench/peers/internal/result"
)

// goneSystem is a way to notice that a process is dead.
type goneSystem struct {
	name   string
	role   result.Role
	how    string // a key of members and observers
	server string // a key of goneServers
	slow   bool   // takes many seconds whatever one does, so that it has no place in a quick check
	note   string
}

// ttl is that of etcd's lease and of the key made by hand: as short as one would make it, because their verdict is final,
// and a process that is late by so much loses its place. markerTTL is how long the server keeps the news of an expired key.
const (
	ttl       = 5 * time.Second
	quickTTL  = 2 * time.Second // the least that etcd grants
	markerTTL = time.Minute
)

var goneSystems = []goneSystem{
	{"rolebus", result.Ours, "rolebus", "nats", false, "its embedded server, as any server that is told to, says which connection has closed"},
	{"rolebus, server says nothing", result.Peer, "rolebus", "nats quiet", false, "a server that nobody configured: the neighbours' probes find it; the lease, 15 s, has the last word"},
	{"NATS KV by hand, TTL 5 s", result.Peer, "kv", "nats", false, "one key for each process, renewed three times in a TTL, and a watch"},
	{"etcd, lease of 5 s", result.Peer, "etcd", "etcd", false, "KeepAlive renews three times in a TTL; a shorter TTL takes live processes for dead sooner, too"},
	{"Serf, 10 agents", result.Peer, "serf", "serf", true, "probes each second, then some seconds in which the suspect may object: the default for a LAN"},
}

var goneServers = map[string]process.Config{
	"nats":       {Part: "nats", System: natsDefault},
	"nats quiet": {Part: "nats", System: natsSilent},
	"etcd":       {Part: "etcd", System: etcdDefault},
	"serf":       {Part: "serf", Count: serfAgents - 2}, // one is the member, one the observer
}

// trial is a system with its server and its observer.
type trial struct {
	goneSystem
	url      string
	observer *process.Child
	ttl      time.Duration
	killed   time.Time
	took     []time.Duration
}

func measureGone(ctx context.Context, l *lab) ([]result.Row, error) {
	trials, err := startTrials(ctx, l)
	if err != nil {
		return nil, err
	}
	for round := range l.count(3, 1) {
		l.tell("death %d of a member of each of %d systems", round+1, len(trials))
		if err := killRound(ctx, l, trials, round); err != nil {
			return nil, err
		}
	}
	var rows []result.Row
	for _, t := range trials {
		rows = append(rows, result.Row{
			Case: "from the signal until the other process has it", System: t.name, Role: t.role, Notes: []string{t.note}, Charted: true,
		}.Measured(t.took))
	}
	return rows, nil
}

func startTrials(ctx context.Context, l *lab) ([]*trial, error) {
	var trials []*trial
	for _, s := range goneSystems {
		if l.quick && s.slow {
			continue
		}
		url, err := l.serve(ctx, goneServers[s.server])
		if err != nil {
			return nil, err
		}
		t := &trial{goneSystem: s, url: url, ttl: ttl}
		if l.quick {
			t.ttl = quickTTL
		}
		if t.observer, _, err = l.start(ctx, process.Config{Part: "observer", System: s.how, URL: t.url}); err != nil {
			return nil, err
		}
		trials = append(trials, t)
	}
	return trials, nil
}

// lived is how long a member runs at least before it is killed, so that everybody has heard of it more than once. It runs a
// little longer, at random, so that it dies at any time between two of its heartbeats.
const lived = 4 * time.Second

// killRound starts a member in each system, lets it run, kills it, and waits until its observer has said so. The systems wait at the
// same time: most of them do nothing for seconds.
func killRound(ctx context.Context, l *lab, trials []*trial, round int) error {
	members := make([]*process.Child, len(trials))
	for i, t := range trials {
		name := fmt.Sprint("member-", round)
		cfg := process.Config{Part: "member", System: t.how, URL: t.url, Node: name, TTL: t.ttl}
		var err error
		if members[i], _, err = l.start(ctx, cfg); err != nil {
			return err
		}
		if err := t.sees(ctx, name, sawJoined, nil); err != nil {
			return err
		}
	}
	wait := lived + rand.N(ttl/3)
	if l.quick {
		wait = quickTTL
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for i, t := range trials {
		t.killed = time.Now()
		if err := members[i].Kill(); err != nil {
			return err
		}
		if err := members[i].Close(); err != nil { // waits until it is dead, so that the next one is not disturbed
			return err
		}
	}
	for _, t := range trials {
		var at time.Time
		if err := t.sees(ctx, fmt.Sprint("member-", round), sawGone, &at); err != nil {
			return err
		}
		t.took = append(t.took, at.Sub(t.killed))
	}
	return nil
}

// sees waits until the observer says that a node has joined, or is gone, and when.
func (t *trial) sees(ctx context.Context, node string, what int, at *time.Time) error {
	for {
		r, err := t.observer.Next(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if r.Text != node || r.N != what {
			continue
		}
		if at != nil {
			*at = time.Unix(0, r.At)
		}
		return nil
	}
}
