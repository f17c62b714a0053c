package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
	"github.com/rolebus/rolebus/bench/peers/internal/result"
)

// readNodes have a role each in readShapes: with 100 roles each has three of them, with 10,000 thirty.
const readNodes = 1000

var readShapes = []struct{ roles, perNode int }{{100, 3}, {10_000, 30}}

// readWays is how the keys are asked for.
var readWays = []struct {
	name       string
	hot        bool // the same key again and again, which the processor's cache then holds
	goroutines int
}{
	{"every role, shuffled", false, 1},
	{"every role, shuffled, two goroutines", false, 2},
	{"one role", true, 1},
	{"one role, two goroutines", true, 2},
}

var readSystems = []struct {
	name string
	role result.Role
	note string
}{
	{"map behind an atomic pointer", result.Floor, "the pointer is to an immutable struct with a map[string][]*node: what any snapshot must do"},
	{"RWMutex and a map", result.Peer, "returns the stored slice without a copy, so its writers must never change one in place"},
	{"rolebus", result.Ours, "Scope.Nodes: the slice is shared and sorted, as all answers of one snapshot are"},
	{"Serf, members by tag", result.Peer, "no agents: 1,000 serf.Member are copied under a lock as Members() copies them, then scanned for a tag; serf keeps no index"},
}

func measureRead(ctx context.Context, l *lab) ([]result.Row, error) {
	url, err := l.serve(ctx, process.Config{Part: "nats"})
	if err != nil {
		return nil, err
	}
	var rows []result.Row
	for _, shape := range readShapes {
		l.tell("%d roles", shape.roles)
		load, _, err := l.start(ctx, process.Config{Part: "load", System: "nats", URL: url})
		if err != nil {
			return nil, err
		}
		scope := readScope(shape.roles)
		if _, err := load.Do(ctx, process.Order{Do: scope, N: shape.roles}); err != nil {
			return nil, err
		}
		reader, _, err := l.start(ctx, process.Config{Part: "read", URL: url, Count: shape.roles})
		if err != nil {
			return nil, err
		}
		for way := range readWays {
			got, err := measureWay(ctx, l, reader, way)
			if err != nil {
				return nil, err
			}
			for i := range got {
				got[i].Case = fmt.Sprintf("%s roles: %s", result.Number(float64(shape.roles)), readWays[way].name)
				got[i].Charted = shape.roles > 100 && !readWays[way].hot
			}
			rows = append(rows, got...)
		}
	}
	return rows, nil
}

// measureWay has each system asked some times, in turn, so that what disturbs the machine disturbs all.
func measureWay(ctx context.Context, l *lab, reader *process.Child, way int) ([]result.Row, error) {
	samples := l.count(5, 1)
	ns := make([][]float64, len(readSystems))
	allocs := make([][]float64, len(readSystems))
	for range samples {
		for i, s := range readSystems {
			r, err := reader.Do(ctx, process.Order{Do: s.name, N: way, Time: l.readTime()})
			if err != nil {
				return nil, err
			}
			ns[i] = append(ns[i], r.Values["ns"])
			allocs[i] = append(allocs[i], r.Values["allocs"])
		}
	}
	var rows []result.Row
	for i, s := range readSystems {
		rows = append(rows, result.Row{
			System: s.name, Role: s.role, Notes: []string{s.note}, Unit: "ns", Samples: samples,
			Median: result.Median(ns[i]), Allocs: new(result.Median(allocs[i])),
		})
	}
	return rows, nil
}

func readScope(roles int) string { return fmt.Sprint("read-", roles) }

// readRoles says which roles the ith node has.
func readRoles(i, roles int) []string {
	perNode := 0
	for _, shape := range readShapes {
		if shape.roles == roles {
			perNode = shape.perNode
		}
	}
	var out []string
	for n := range perNode {
		out = append(out, roleName((i*perNode+n)%roles))
	}
	slices.Sort(out)
	return out
}

func roleName(i int) string { return fmt.Sprintf("role-%05d", i) }
