package main

import (
	"context"
	"time"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
	"github.com/rolebus/rolebus/bench/peers/internal/result"
)

// fleetNodes heartbeat, each once in heartbeat.
const (
	fleetNodes = 1000
	heartbeat  = 2 * time.Second
)

var bystanderSystems = []struct {
	name, how string
	role      result.Role
	note      string
}{
	{"a NATS connection, idle", "idle", result.Floor, "what a process costs that knows nothing of the others"},
	{"rolebus", "rolebus", result.Ours, "a member: its own heartbeats and syncs, and the probes of its neighbours and their answers, are in it. The other nodes are one process that writes their leases and answers their probes"},
	{"NATS KV by hand", "kv", result.Peer, "each heartbeat writes the node's key again, and everybody watches all keys"},
}

func measureBystander(ctx context.Context, l *lab) ([]result.Row, error) {
	url, err := l.serve(ctx, process.Config{Part: "nats"})
	if err != nil {
		return nil, err
	}
	window := time.Duration(l.count(10, 1)) * time.Second
	var heard, cpu []result.Row
	for _, s := range bystanderSystems {
		l.tell("%s, for %v", s.name, window)
		values, err := measureOne(ctx, l, s.how, url, window)
		if err != nil {
			return nil, err
		}
		row := result.Row{System: s.name, Role: s.role, Notes: []string{s.note}, Samples: 1, Charted: true}
		row.Case, row.Unit, row.Median = "messages that reach it", "messages/s", values["messages"]/values["seconds"]
		if s.role != result.Floor { // it hears nothing
			heard = append(heard, row)
		}
		row.Case, row.Unit, row.Median = "processor time that it needs", "ms/s", 1000*values["cpu"]/values["seconds"]
		cpu = append(cpu, row)
	}
	return append(heard, cpu...), nil
}

// measureOne has a fleet heartbeat past one bystander for so long.
func measureOne(ctx context.Context, l *lab, how, url string, window time.Duration) (map[string]float64, error) {
	fleet, _, err := l.start(ctx, process.Config{Part: "heartbeat", System: how, URL: url, Count: fleetNodes})
	if err != nil {
		return nil, err
	}
	bystander, _, err := l.start(ctx, process.Config{Part: "bystander", System: how, URL: url, Count: fleetNodes})
	if err != nil {
		return nil, err
	}
	// A round of heartbeats before it counts: the first time each lease is a new one.
	if !l.quick {
		if _, err := fleet.Do(ctx, process.Order{Do: "heartbeat", Time: heartbeat}); err != nil {
			return nil, err
		}
	}
	if _, err := bystander.Do(ctx, process.Order{Do: "begin"}); err != nil {
		return nil, err
	}
	if _, err := fleet.Do(ctx, process.Order{Do: "heartbeat", Time: window}); err != nil {
		return nil, err
	}
	r, err := bystander.Do(ctx, process.Order{Do: "end"})
	return r.Values, err
}
