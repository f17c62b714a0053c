package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rolebus/rolebus/bench/peers/internal/process"
	"github.com/rolebus/rolebus/bench/peers/internal/result"
)

// callSizes are those of inputs, in bytes; the output is the input.
var callSizes = []int{128, 4096}

// manyCallers is how many goroutines of the calling process call at once, where it is not one.
const manyCallers = 64

// callSystem is a way to have a function of another process called.
type callSystem struct {
	name string
	role result.Role
	how  string // a key of callWays
	note string
}

var callSystems = []callSystem{
	{"NATS request", result.Floor, "serial", "nc.Request of the same bytes to one known subject, answered in the subscription's own goroutine: one at a time"},
	{"rolebus", result.Ours, "rolebus", "Method.Call by role, to a handler that may run many times at once; call.Raw as encoding"},
	{"NATS request, concurrent", result.Peer, "concurrent", "the same, each answered in a goroutine of its own, as it must be where a handler may wait for something"},
	{"nats.go/micro", result.Peer, "micro", "nc.Request to an endpoint of a micro service: one at a time"},
	{"gRPC, unary", result.Peer, "grpc", "one connection to a known address, from process to process: no server passes it on. The bytes as they are, without protobuf"},
}

// measured is what was measured of one way with one size.
type measured struct {
	took                 []time.Duration
	rates                []float64
	callerAllocs, allocs []float64 // of the calling and of the called process, for one call
}

// measureCall has all ways between the same two processes, over the same connections to the server: on which core a process
// wakes makes more of a difference than what it does then.
func measureCall(ctx context.Context, l *lab) ([]result.Row, error) {
	url, err := l.serve(ctx, process.Config{Part: "nats"})
	if err != nil {
		return nil, err
	}
	callee, ready, err := l.start(ctx, process.Config{Part: "callee", URL: url})
	if err != nil {
		return nil, err
	}
	var rows []result.Row
	for _, size := range callSizes {
		caller, _, err := l.start(ctx, process.Config{Part: "caller", URL: url, Address: ready.Text, Count: size})
		if err != nil {
			return nil, err
		}
		of := make([]measured, len(callSystems))
		blocks := l.count(100, 1)
		l.tell("%d blocks of calls with %d bytes in each of %d ways", blocks, size, len(of))
		// Short blocks, in turn: what disturbs the machine for a while disturbs all ways.
		for _, measure := range []measureFunc{(*measured).alone, (*measured).together} {
			for block := range blocks + 1 {
				for i := range of {
					at := (block + i) % len(of) // none always comes after the same one
					m := &of[at]
					if block == 0 {
						m = new(measured) // it warms up
					}
					if err := measure(m, ctx, l, callee, caller, callSystems[at].how); err != nil {
						return nil, err
					}
				}
			}
		}
		rows = append(rows, callRows(of, size)...)
	}
	return rows, nil
}

type measureFunc func(m *measured, ctx context.Context, l *lab, callee, caller *process.Child, how string) error

// alone has one goroutine call.
func (m *measured) alone(ctx context.Context, l *lab, callee, caller *process.Child, how string) error {
	before, err := callee.Do(ctx, process.Order{Do: "allocs"})
	if err != nil {
		return err
	}
	r, err := caller.Do(ctx, process.Order{Do: how, N: 1, Time: time.Duration(l.count(10, 5)) * time.Millisecond})
	if err != nil {
		return err
	}
	after, err := callee.Do(ctx, process.Order{Do: "allocs"})
	if err != nil {
		return err
	}
	calls := float64(len(r.Took))
	m.took = append(m.took, r.Took...)
	m.callerAllocs = append(m.callerAllocs, r.Values["allocs"]/calls)
	m.allocs = append(m.allocs, (after.Values["allocs"]-before.Values["allocs"])/calls)
	return nil
}

// together has many goroutines call at once.
func (m *measured) together(ctx context.Context, l *lab, _, caller *process.Child, how string) error {
	r, err := caller.Do(ctx, process.Order{Do: how, N: manyCallers, Time: time.Duration(l.count(30, 5)) * time.Millisecond})
	if err == nil {
		m.rates = append(m.rates, r.Values["calls"]/r.Values["seconds"])
	}
	return err
}

func callRows(of []measured, size int) []result.Row {
	var took, rates, callers, callees []result.Row
	bytes := result.Number(float64(size)) + " bytes, "
	for i, s := range callSystems {
		m, row := of[i], result.Row{System: s.name, Role: s.role}
		rates = append(rates, row.Of(fmt.Sprintf("%s%d callers", bytes, manyCallers), "calls/s", m.rates))
		callers = append(callers, row.Of(bytes+"allocations in the calling process", "per call", m.callerAllocs))
		callees = append(callees, row.Of(bytes+"allocations in the called process", "per call", m.allocs))
		row.Case, row.Notes, row.Charted = bytes+"one caller", []string{s.note}, true
		took = append(took, row.Measured(m.took))
	}
	return slices.Concat(took, rates, callers, callees)
}
