//go:build linux

package chaos_test

import (
	"math/rand/v2"
	"slices"
	"time"
)

// faultKinds are all kinds of faults.
var faultKinds = slices.Concat(processFaults, linkFaults, serverFaults, routeFaults, storeFaults, bucketFaults, fullFaults, crowdFaults, reloadFaults)

// processFaults happen to one node's process, or are its own doing.
var processFaults = []*faultKind{
	{name: "kill", class: "process", about: anyone, weight: 10, min: 200 * time.Millisecond, max: 9 * time.Second, begin: killNode},
	{name: "freeze", class: "process", about: anyone, weight: 10, min: 500 * time.Millisecond, max: 10 * time.Second, begin: freezeNode},
	{name: "close", class: "process", about: aNode, weight: 6, min: 100 * time.Millisecond, max: 3 * time.Second, begin: closeNode},
	{name: "leave", class: "process", about: aNode, weight: 6, min: 100 * time.Millisecond, max: 2 * time.Second, begin: leaveScope},
	{name: "replace", class: "process", about: aNode, weight: 5, min: 100 * time.Millisecond, max: 2 * time.Second, begin: replaceNode},
	{name: "replace-frozen", class: "process", about: aNode, weight: 5, min: time.Second, max: 8 * time.Second, begin: replaceFrozen},
	{name: "burst", class: "load", about: nobody, weight: 6, min: 500 * time.Millisecond, max: 2 * time.Second, begin: burst},
}

// living returns the seat of a fault, and its newest life if it runs.
func (f *fleet) living(p planned) (*seat, *life) {
	s := f.seat(p.seat)
	if lf := s.now(); lf.Running() {
		return s, lf
	}
	return s, nil
}

func killNode(f *fleet, p planned, _ *rand.Rand) (effect, func() error, error) {
	s, lf := f.living(p)
	if lf == nil {
		return effect{}, nil, nil
	}
	s.kill(lf)
	return effect{procs: []int{lf.number}, silences: true, kills: true}, s.start, nil
}

func freezeNode(f *fleet, p planned, _ *rand.Rand) (effect, func() error, error) {
	s, lf := f.living(p)
	if lf == nil {
		return effect{}, nil, nil
	}
	s.freeze(lf)
	return effect{procs: []int{lf.number}, silences: true}, func() error { s.thaw(lf); return nil }, nil
}

// closing is more than a Close may take: several requests, each of which may run into its timeout.
const closing = 30 * time.Second

// closeNode says goodbye properly, and comes back as another life.
func closeNode(f *fleet, p planned, _ *rand.Rand) (effect, func() error, error) {
	s, lf := f.living(p)
	if lf == nil {
		return effect{}, nil, nil
	}
	lf.end()
	s.order(lf, order{Op: opClose})
	return effect{}, func() error {
		// Until its goodbye has got through, or has given up. One that still connects does not listen yet.
		if f.await(closing, "", func() bool { return !lf.Running() }) != nil {
			if lf.inFleet() {
				f.hist.add(record{Kind: broken, Proc: lf.number, Name: s.name, Text: "did not close within " + closing.String()})
			}
			s.kill(lf)
		}
		return s.start()
	}, nil
}

func leaveScope(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	s, lf := f.living(p)
	if lf == nil {
		return effect{}, nil, nil
	}
	scope := s.scopes[rng.IntN(len(s.scopes))]
	s.order(lf, order{Op: opLeave, Scope: scope, Timeout: 5 * time.Second})
	return effect{}, func() error {
		s.change(scope, rng, time.Minute, 1000)
		return nil
	}, nil
}

// replaceNode starts a new life under a name whose older life still runs.
//
// Lives are counted in the order in which they join a scope. An older process that has not joined yet, or is about to join
// a scope again, may do so after the newer one, and take its place: which of them is to stop is then anybody's guess, so
// only a process that has joined, and has nothing left to do, is replaced.
func replaceNode(f *fleet, p planned, _ *rand.Rand) (effect, func() error, error) {
	s, lf := f.living(p)
	if lf == nil || !lf.settled() {
		return effect{}, nil, nil
	}
	return effect{}, nil, s.start()
}

// replaceFrozen starts a new life while the older is frozen, and then thaws the older.
func replaceFrozen(f *fleet, p planned, _ *rand.Rand) (effect, func() error, error) {
	s, lf := f.living(p)
	if lf == nil || !lf.settled() {
		return effect{}, nil, nil
	}
	s.freeze(lf)
	return effect{procs: []int{lf.number}, silences: true, kills: true}, func() error { s.thaw(lf); return nil }, s.start()
}

// burst has all nodes change their roles many times, most of them without waiting for each.
func burst(f *fleet, _ planned, rng *rand.Rand) (effect, func() error, error) {
	for range 150 {
		s := f.seats[rng.IntN(len(f.seats))]
		s.change(s.scopes[rng.IntN(len(s.scopes))], rng, time.Duration(1+rng.IntN(20))*time.Millisecond, 50)
	}
	return effect{}, nil, nil
}
