//go:build linux

package chaos_test

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"time"
)

// crowdFaults happen to many nodes at once.
var crowdFaults = []*faultKind{
	{name: "kill-most", class: "crowd", about: theNodes, weight: 8, min: 2 * time.Second, max: 6 * time.Second, begin: killMost},
	{name: "silent-host", class: "crowd", about: theNodes, weight: 8, min: 2 * time.Second, max: 8 * time.Second, begin: silentHost},
	{name: "reset-all", class: "crowd", about: theNodes, weight: 5, min: 100 * time.Millisecond, max: 500 * time.Millisecond, begin: resetAll},
}

// some are so many seats by the dice, of the nodes or of all.
func (f *fleet) some(rng *rand.Rand, many int, observers bool) (struck []*seat) {
	var names []string
	defer func() { f.note("these: %v", names) }()
	for _, i := range rng.Perm(len(f.seats)) {
		if s := f.seats[i]; len(struck) < many && (observers || !s.observer) {
			struck, names = append(struck, s), append(names, s.name)
		}
	}
	return struck
}

// killMost kills all nodes but one or two.
func killMost(f *fleet, _ planned, rng *rand.Rand) (effect, func() error, error) {
	e := effect{silences: true, kills: true}
	struck := f.some(rng, 3+rng.IntN(2), false)
	for _, s := range struck {
		if lf := s.now(); lf.Running() {
			lf.end()
			_ = lf.Signal(syscall.SIGKILL)
			e.procs = append(e.procs, lf.number)
		}
	}
	return e, func() error {
		var errs []error
		for _, s := range struck {
			lf := s.now()
			<-lf.Gone
			errs = append(errs, s.start())
		}
		return errors.Join(errs...)
	}, nil
}

// silentHost has a host go silent, with several processes on it: its power is gone, so they are frozen for good; or its network is, and
// comes back.
func silentHost(f *fleet, _ planned, rng *rand.Rand) (effect, func() error, error) {
	struck := f.some(rng, 2+rng.IntN(3), true)
	if rng.IntN(2) == 0 {
		e := effect{silences: true}
		for _, s := range struck {
			s.link(allServers, shape{holdsUp: true, holdsDn: true}, false)
			e.nodes = append(e.nodes, s.name)
		}
		return e, func() error {
			for _, s := range struck {
				s.link(allServers, shape{}, false)
			}
			return nil
		}, nil
	}
	e := effect{silences: true, kills: true}
	var lives []*life
	for _, s := range struck {
		if lf := s.now(); lf.Running() {
			s.freeze(lf)
			e.procs, lives = append(e.procs, lf.number), append(lives, lf)
		}
	}
	return e, func() error {
		for _, lf := range lives {
			lf.end()
			lf.Kill()
		}
		var errs []error
		for _, s := range struck {
			if !s.now().Running() {
				errs = append(errs, s.start())
			}
		}
		return errors.Join(errs...)
	}, nil
}

// resetAll resets all connections of all processes at once. It excuses nothing.
func resetAll(f *fleet, _ planned, _ *rand.Rand) (effect, func() error, error) {
	e := effect{}
	for _, s := range f.seats {
		s.link(allServers, shape{}, true)
		e.bends = append(e.bends, s.name)
	}
	return e, nil, nil
}
