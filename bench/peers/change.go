package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
	"github.com/rolebus/rolebus/bench/peers/internal/result"
)

// changeSystem is a way to tell another process of a change.
type changeSystem struct {
	name   string
	role   result.Role
	how    string // a key of writers and readers
	server string // a key of changeServers; "" if there is none
	waits  bool   // its call returns when the change is stored
	notes  []string
}

const (
	noteNoFsync = "leaves it to the system when a file reaches the disk, as NATS does by default: what was accepted just before a power cut may be lost"
	noteFsync   = "waits for the disk before it answers; for NATS that is sync_interval: always"
	noteRaw     = "the time is that of the event; the record in it is not decoded yet"
	noteMember  = "one member"
)

var changeSystems = []changeSystem{
	{"core NATS", result.Floor, "core", "nats", false, []string{"a plain message: nothing is stored, and who was not there never hears of it", noteRaw}},
	{"JetStream, stored and republished", result.Peer, "stored", "nats", true, []string{noteNoFsync, noteRaw}},
	{"rolebus", result.Ours, "rolebus", "nats", true, []string{noteNoFsync}},
	{"NATS KV by hand", result.Peer, "kv", "nats", true, []string{noteNoFsync, noteRaw}},
	{"etcd, no fsync", result.Peer, "etcd", "etcd nofsync", true, []string{noteNoFsync, noteRaw, noteMember}},
	{"rolebus, server with fsync", result.Peer, "rolebus", "nats fsync", true, []string{noteFsync}},
	{"etcd", result.Peer, "etcd", "etcd", true, []string{noteFsync, noteRaw, noteMember}},
	{"Serf, 10 agents", result.Peer, "serf", "", false, []string{"gossip every 200 ms, the default for a LAN: no server, and nothing is stored; fewer samples, as each takes long"}},
}

var changeServers = map[string]process.Config{
	"nats":         {Part: "nats", System: natsDefault},
	"nats fsync":   {Part: "nats", System: natsFsync},
	"etcd":         {Part: "etcd", System: etcdDefault},
	"etcd nofsync": {Part: "etcd", System: etcdNoFsync},
}

// changePause is between two changes, the same for all systems: a fleet does not change all the time.
const changePause = time.Millisecond

// pair is a system with its two processes, and what was measured of it.
type pair struct {
	changeSystem
	writer, reader *process.Child
	changes        int
	seen, call     []time.Duration
}

func measureChange(ctx context.Context, l *lab) ([]result.Row, error) {
	pairs, err := startPairs(ctx, l)
	if err != nil {
		return nil, err
	}
	// Blocks, in turn: what disturbs the machine for a while disturbs all systems.
	blocks, perBlock := l.count(20, 2), l.count(30, 3)
	l.tell("%d blocks of %d changes in each of %d systems", blocks, perBlock, len(pairs))
	for block := range blocks + 1 {
		for _, p := range pairs {
			count := perBlock
			if p.how == "serf" {
				count = 1
			}
			for range count {
				if err := p.change(ctx, block > 0); err != nil { // the first block warms up
					return nil, fmt.Errorf("%s: %w", p.name, err)
				}
			}
		}
	}
	return changeRows(pairs), nil
}

func startPairs(ctx context.Context, l *lab) ([]*pair, error) {
	urls := map[string]string{}
	var pairs []*pair
	for _, s := range changeSystems {
		if server, known := changeServers[s.server]; known && urls[s.server] == "" {
			url, err := l.serve(ctx, server)
			if err != nil {
				return nil, err
			}
			urls[s.server] = url
		}
		writer, ready, err := l.start(ctx, process.Config{Part: "writer", System: s.how, URL: urls[s.server]})
		if err != nil {
			return nil, err
		}
		url := urls[s.server]
		if url == "" {
			url = ready.Text // no server: the reader joins the writer
		}
		reader, _, err := l.start(ctx, process.Config{Part: "reader", System: s.how, URL: url})
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, &pair{changeSystem: s, writer: writer, reader: reader})
	}
	return pairs, nil
}

// change has one change made and waits until it was seen.
func (p *pair) change(ctx context.Context, counts bool) error {
	p.changes++
	wrote, err := p.writer.Do(ctx, process.Order{Do: "write", N: p.changes})
	if err != nil {
		return err
	}
	saw, err := p.reader.Next(ctx)
	if err != nil {
		return err
	}
	if saw.N != p.changes {
		return fmt.Errorf("change %d was made, and %d was seen", p.changes, saw.N)
	}
	if counts {
		p.seen = append(p.seen, time.Duration(saw.At-wrote.From))
		p.call = append(p.call, time.Duration(wrote.At-wrote.From))
	}
	select {
	case <-time.After(changePause):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func changeRows(pairs []*pair) []result.Row {
	var seen, call []result.Row
	for _, p := range pairs {
		seen = append(seen, result.Row{
			Case: "from the call until the other process has it", System: p.name, Role: p.role, Notes: p.notes, Charted: true,
		}.Measured(p.seen))
		if p.waits {
			row := result.Row{Case: "until the call returns", System: p.name, Role: p.role}
			if p.how == "rolebus" {
				row.Notes = []string{"returns when the change is stored and has come back: the caller's own snapshot shows it"}
			}
			call = append(call, row.Measured(p.call))
		}
	}
	return append(seen, call...)
}
