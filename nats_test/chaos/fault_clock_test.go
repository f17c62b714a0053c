//go:build linux

package chaos_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"time"

	"github.com/rolebus/rolebus/internal/children"
)

// clockFaults happen to clocks. Only who sleeps, or is connected to a server that does, does not reach the bucket: a clock that is set
// excuses nothing, whoever's it is, and however far; nor does a sleep of all at once.
var clockFaults = []*faultKind{
	{name: "sleep", class: "clock", about: anyone, weight: 8, min: 500 * time.Millisecond, max: 10 * time.Second, begin: sleepNode},
	{name: "step", class: "clock", about: anyone, weight: 6, min: time.Second, max: 5 * time.Second, begin: stepNode},
	{name: "sleep-server", class: "clock", about: aServer, weight: 3, min: 500 * time.Millisecond, max: 9 * time.Second, begin: sleepServer},
	{name: "step-server", class: "clock", about: aServer, weight: 6, min: time.Second, max: 6 * time.Second, begin: stepServer},
	{name: "step-servers", class: "clock", about: theServer, weight: 6, min: time.Second, max: 6 * time.Second, begin: stepServers},
	{name: "sleep-all", class: "clock", about: everything, weight: 6, min: ttl / 2, max: 3 * ttl / 2, begin: sleepAll},
}

// stepped is by how much a clock is set: mostly by less than a lease, on or back, or else by an hour.
func stepped(rng *rand.Rand) time.Duration {
	by := rand64(rng, ttl) + ttl/10
	if rng.IntN(4) == 0 {
		by = time.Hour
	}
	if rng.IntN(2) == 0 {
		return -by
	}
	return by
}

// sleeps has a process sleep as a laptop does, with its monotonic clock, from now on for so long. What it returns waits for its end.
func sleeps(p *process, m *children.Machine, d time.Duration) func() error {
	over := make(chan error, 1)
	go func() { over <- m.Sleep(p.Process, d) }()
	return func() error {
		if err := <-over; !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		return nil
	}
}

func sleepNode(f *fleet, p planned, _ *rand.Rand) (effect, func() error, error) {
	_, lf := f.living(p)
	if lf == nil {
		return effect{}, nil, nil
	}
	return effect{procs: []int{lf.number}, silences: true}, sleeps(lf.process, lf.Machine, p.lasts), nil
}

func stepNode(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	_, lf := f.living(p)
	if lf == nil {
		return effect{}, nil, nil
	}
	by := stepped(rng)
	f.note("%s by %v", p, by)
	lf.Machine.Step(by)
	return effect{}, func() error { lf.Machine.Step(-by); return nil }, nil
}

func sleepServer(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	s := f.servers[f.struck(p, rng)]
	return effect{cuts: []string{s.cfg.Name}, servers: true}, s.sleeps(p.lasts), nil
}

// sleeps has the server sleep, if it runs.
func (s *serverSeat) sleeps(d time.Duration) func() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil || !s.proc.Running() {
		return func() error { return nil }
	}
	return sleeps(s.proc, s.proc.Machine, d)
}

func stepServer(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	return f.step(p, stepped(rng), f.servers[f.struck(p, rng)])
}

func stepServers(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	return f.step(p, stepped(rng), f.servers[:]...)
}

// step sets servers' clocks, and sets them back.
func (f *fleet) step(p planned, by time.Duration, servers ...*serverSeat) (effect, func() error, error) {
	var set []*children.Machine
	for _, s := range servers {
		s.mu.Lock()
		if s.proc != nil {
			set = append(set, s.proc.Machine)
		}
		s.mu.Unlock()
	}
	f.note("%s by %v", p, by)
	for _, m := range set {
		m.Step(by)
	}
	return effect{servers: true}, func() error {
		for _, m := range set {
			m.Step(-by)
		}
		return nil
	}, nil
}

// sleepAll is a machine that sleeps, with everything on it.
func sleepAll(f *fleet, p planned, _ *rand.Rand) (effect, func() error, error) {
	var ends []func() error
	for _, s := range f.servers {
		ends = append(ends, s.sleeps(p.lasts))
	}
	for _, s := range f.seats {
		if lf := s.now(); lf.Running() {
			ends = append(ends, sleeps(lf.process, lf.Machine, p.lasts))
		}
	}
	return effect{servers: true, pauses: true}, func() error {
		var errs []error
		for _, end := range ends {
			errs = append(errs, end())
		}
		return errors.Join(errs...)
	}, nil
}
