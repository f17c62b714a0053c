//go:build linux

package exclusive_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// nodeFaults happen to one node, to its link, or are its own doing.
var nodeFaults = []fault{
	{name: "kill", weight: 10, max: 3 * time.Second, node: killNode},
	{name: "rename", weight: 6, max: time.Second, node: renameNode},
	{name: "freeze", weight: 12, min: 200 * time.Millisecond, max: 6 * time.Second, node: freezeNode},
	{name: "replace", weight: 5, max: time.Second, node: replaceNode},
	{name: "replace-frozen", weight: 6, min: 500 * time.Millisecond, max: 5 * time.Second, node: replaceFrozen},
	{name: "drain", weight: 7, max: time.Second, node: leaveNode(drainOrder)},
	{name: "close", weight: 5, max: time.Second, node: leaveNode(closeOrder)},
	{name: "sleep", weight: 8, min: 200 * time.Millisecond, max: 6 * time.Second, node: sleepNode, clock: true},
	{name: "step", weight: 5, min: 500 * time.Millisecond, max: 4 * time.Second, node: stepNode, clock: true},
	{name: "cut", weight: 10, min: 200 * time.Millisecond, max: 6 * time.Second, node: onLink(shape{refuses: true, resetsFirst: true}, true)},
	{name: "stall", weight: 7, min: 200 * time.Millisecond, max: 6 * time.Second, node: onLink(shape{mute: true, deaf: true}, true)},
	{name: "mute", weight: 6, min: 200 * time.Millisecond, max: 6 * time.Second, node: onLink(shape{mute: true}, true)},
	{name: "deaf", weight: 6, min: 200 * time.Millisecond, max: 6 * time.Second, node: onLink(shape{deaf: true}, true)},
	{name: "late", weight: 5, min: time.Second, max: 6 * time.Second, node: onLink(shape{late: 60 * time.Millisecond}, false)},
	{name: "reset", weight: 5, max: time.Second, node: onLink(shape{resetsFirst: true}, false)},
}

func killNode(f *fleet, s *seat, _ *rand.Rand) (func() error, error) {
	f.kill(s.now)
	return func() error { return f.start(s, "node") }, nil
}

// renameNode has a process of another name come in the place of one that is killed.
func renameNode(f *fleet, s *seat, rng *rand.Rand) (func() error, error) {
	f.kill(s.now)
	s.name = fmt.Sprintf("n%06x", rng.IntN(1<<24))
	return nil, f.start(s, "node")
}

func freezeNode(f *fleet, s *seat, _ *rand.Rand) (func() error, error) { return f.freeze(s.now) }

// replaceNode starts a new life while the one before runs, which is to stop then.
func replaceNode(f *fleet, s *seat, _ *rand.Rand) (func() error, error) {
	return nil, f.start(s, "node")
}

// replaceFrozen starts a new life while the one before is frozen, and has that go on then.
func replaceFrozen(f *fleet, s *seat, _ *rand.Rand) (func() error, error) {
	thaw, err := f.freeze(s.now)
	return thaw, errors.Join(err, f.start(s, "node"))
}

// leaveNode has a process end by itself, and another one of its name come.
func leaveNode(order string) func(*fleet, *seat, *rand.Rand) (func() error, error) {
	return func(f *fleet, s *seat, _ *rand.Rand) (func() error, error) {
		return func() error { return f.start(s, "node") }, f.leave(s.now, order)
	}
}

// sleeps has a process sleep as a machine does, with its monotonic clock. What it returns has it wake.
func sleeps(p *process, rng *rand.Rand, d time.Duration) func() error {
	over := make(chan error, 1)
	d = 100*time.Millisecond + rand64(rng, d)
	go func() { over <- p.Machine.Sleep(p.Process.Process, d) }()
	return func() error {
		if err := <-over; !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		return nil
	}
}

func sleepNode(f *fleet, s *seat, rng *rand.Rand) (func() error, error) {
	back, wake := f.away(s.now), sleeps(s.now.process, rng, 6*time.Second)
	return func() error {
		defer back()
		return wake()
	}, nil
}

// stepped is by how much a clock is set: mostly by about a lease, on or back, or else by an hour.
func stepped(rng *rand.Rand) time.Duration {
	by := 100*time.Millisecond + rand64(rng, 3*time.Second)
	if rng.IntN(4) == 0 {
		by = time.Hour
	}
	if rng.IntN(2) == 0 {
		return -by
	}
	return by
}

func stepNode(f *fleet, s *seat, rng *rand.Rand) (func() error, error) {
	by, m := stepped(rng), s.now.Machine
	f.tell("step %s by %v", s.name, by)
	m.Step(by)
	return func() error { m.Step(-by); return nil }, nil
}

// onLink gives the way between a node and all servers a shape, by which it may be cut off.
func onLink(sh shape, cut bool) func(*fleet, *seat, *rand.Rand) (func() error, error) {
	return func(f *fleet, s *seat, _ *rand.Rand) (func() error, error) { return f.shape(s, sh, cut), nil }
}
