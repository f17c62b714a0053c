package main

import (
	"context"
	"time"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
	"github.com/rolebus/rolebus/bench/peers/internal/result"
)

// The scopes that are read hold equal records: one the bare records, as somebody stores them in a KV bucket, the other what
// rolebus stores, with the headers for the announcement.
const (
	largeScope   = "large"
	writtenScope = "written"
)

const (
	noteBare  = "the bare records: nothing is decoded"
	noteWrote = "the same records with their headers, as rolebus stores them: nothing is decoded"
	noteIndex = "each record decoded by encoding/json, and a map made of the nodes of each role"
	noteGet   = "one member, a linearizable read; no watch is made"
)

var catchUpSystems = []struct {
	name, how string
	role      result.Role
	server    string
	notes     []string
}{
	{"NATS KV watch", "kv", result.Floor, "nats", []string{noteBare, "until the initial values are in"}},
	{"NATS KV watch, with headers", "kv written", result.Peer, "nats", []string{noteWrote, "until the initial values are in"}},
	{"rolebus", "rolebus", result.Ours, "nats", []string{"an observer's Join: checked, decoded, indexed, and following the changes when it returns"}},
	{"NATS KV by hand", "kv index", result.Peer, "nats", []string{"until the initial values are in", noteIndex}},
	{"etcd, Get of a prefix", "etcd", result.Peer, "etcd", []string{noteBare, noteGet}},
	{"etcd by hand", "etcd index", result.Peer, "etcd", []string{noteIndex, noteGet}},
}

func measureCatchUp(ctx context.Context, l *lab) ([]result.Row, error) {
	count := l.count(10_000, 1000)
	clients := make([]*process.Child, len(catchUpSystems))
	for _, server := range []string{"nats", "etcd"} {
		kind := natsDefault
		if server == "etcd" {
			kind = etcdNoFsync // for loading; nothing is written while it is measured
		}
		url, err := l.serve(ctx, process.Config{Part: server, System: kind})
		if err != nil {
			return nil, err
		}
		l.tell("%d records into %s", count, server)
		load, _, err := l.start(ctx, process.Config{Part: "load", System: server, URL: url})
		if err != nil {
			return nil, err
		}
		if _, err := load.Do(ctx, process.Order{Do: largeScope, N: count}); err != nil {
			return nil, err
		}
		for i, s := range catchUpSystems {
			if s.server != server {
				continue
			}
			if clients[i], _, err = l.start(ctx, process.Config{Part: "catchup", System: s.how, URL: url, Count: count}); err != nil {
				return nil, err
			}
		}
	}
	samples := l.count(9, 1)
	l.tell("read %d times by each of %d systems", samples, len(clients))
	took := make([][]time.Duration, len(clients))
	for sample := range samples + 1 {
		for i, client := range clients {
			r, err := client.Do(ctx, process.Order{Do: "read"})
			if err != nil {
				return nil, err
			}
			if sample > 0 { // the first one warms up
				took[i] = append(took[i], time.Duration(r.At-r.From))
			}
		}
	}
	var rows []result.Row
	for i, s := range catchUpSystems {
		rows = append(rows, result.Row{
			Case: result.Number(float64(count)) + " records", System: s.name, Role: s.role, Notes: s.notes, Charted: true,
		}.Measured(took[i]))
	}
	return rows, nil
}
