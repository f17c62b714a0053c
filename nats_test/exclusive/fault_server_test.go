//go:build linux

package exclusive_test

import (
	"errors"
	"math/rand/v2"
	"time"
)

// serverFaults happen to servers, to their clocks and disks.
var serverFaults = []fault{
	{name: "kill-server", weight: 8, min: 100 * time.Millisecond, max: 5 * time.Second, all: someServers(1, killServers)},
	{name: "kill-servers", weight: 8, min: 100 * time.Millisecond, max: 5 * time.Second, all: someServers(3, killServers)},
	{name: "freeze-server", weight: 8, min: 200 * time.Millisecond, max: 5 * time.Second, all: someServers(1, freezeServers)},
	{name: "freeze-servers", weight: 6, min: 200 * time.Millisecond, max: 5 * time.Second, all: someServers(3, freezeServers)},
	{name: "step-down", weight: 5, all: stepDown, cluster: true},
	{name: "step-server", weight: 6, min: 500 * time.Millisecond, max: 5 * time.Second, all: someServers(1, stepServers), clock: true},
	{name: "step-servers", weight: 8, min: 500 * time.Millisecond, max: 5 * time.Second, all: someServers(3, stepServers), clock: true},
	{name: "sleep-server", weight: 5, min: 200 * time.Millisecond, max: 5 * time.Second, all: someServers(1, sleepServers), clock: true},
	{name: "older", weight: 6, min: time.Second, max: 5 * time.Second, all: someServers(1, goBack), cluster: true},
	{name: "older-all", weight: 10, min: time.Second, max: 5 * time.Second, all: someServers(3, goBack)},
	{name: "wipe", weight: 5, min: 100 * time.Millisecond, max: 2 * time.Second, all: someServers(1, wipe), cluster: true},
	{name: "wipe-all", weight: 5, min: 100 * time.Millisecond, max: 2 * time.Second, all: someServers(3, wipe)},
}

// someServers chooses so many servers, or all if there are no more.
func someServers(n int, do func(*fleet, *rand.Rand, []*serverSeat) (func() error, error)) func(*fleet, *rand.Rand) (func() error, error) {
	return func(f *fleet, rng *rand.Rand) (func() error, error) {
		var some []*serverSeat
		for _, i := range rng.Perm(len(f.servers))[:min(n, len(f.servers))] {
			some = append(some, f.servers[i])
		}
		return do(f, rng, some)
	}
}

func killServers(f *fleet, _ *rand.Rand, servers []*serverSeat) (func() error, error) {
	for _, s := range servers {
		s.kill()
	}
	return func() error { return f.startAll(servers) }, nil
}

func freezeServers(_ *fleet, _ *rand.Rand, servers []*serverSeat) (func() error, error) {
	var errs []error
	for _, s := range servers {
		errs = append(errs, s.freeze())
	}
	return func() error {
		var errs []error
		for _, s := range servers {
			errs = append(errs, s.thaw())
		}
		return errors.Join(errs...)
	}, errors.Join(errs...)
}

func stepDown(f *fleet, _ *rand.Rand) (func() error, error) {
	if _, err := f.nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil, time.Second); err != nil {
		f.tell("step-down: %v", err) // the servers may not be in a state to be told
	}
	return nil, nil
}

// stepServers sets clocks, and sets them back.
func stepServers(f *fleet, rng *rand.Rand, servers []*serverSeat) (func() error, error) {
	by := stepped(rng)
	f.tell("the servers' clocks by %v", by)
	f.mu.Lock()
	f.clocks = append(f.clocks, now())
	f.mu.Unlock()
	for _, s := range servers {
		s.process().Machine.Step(by)
	}
	return func() error {
		for _, s := range servers {
			s.process().Machine.Step(-by)
		}
		return nil
	}, nil
}

func sleepServers(f *fleet, rng *rand.Rand, servers []*serverSeat) (func() error, error) {
	f.mu.Lock()
	f.clocks = append(f.clocks, now()) // it is behind from then on
	f.mu.Unlock()
	return sleeps(servers[0].process(), rng, 4*time.Second), nil
}

// goBack puts back at the end what was stored at the beginning: what was acknowledged meanwhile is lost, if it is so of all.
func goBack(f *fleet, _ *rand.Rand, servers []*serverSeat) (func() error, error) {
	for _, s := range servers {
		s.copyStore()
	}
	return func() error {
		var errs []error
		from := now()
		for _, s := range servers {
			s.kill()
		}
		for _, s := range servers {
			errs = append(errs, s.restoreStore())
		}
		errs = append(errs, f.startAll(servers))
		if len(servers) == len(f.servers) {
			f.lost(from, "the store went back", "")
		}
		return errors.Join(errs...)
	}, nil
}

func wipe(f *fleet, _ *rand.Rand, servers []*serverSeat) (func() error, error) {
	from := now()
	var errs []error
	for _, s := range servers {
		s.kill()
		errs = append(errs, s.loseStore())
	}
	return func() error {
		err := f.startAll(servers)
		if len(servers) == len(f.servers) {
			f.lost(from, "the store was lost", "")
		}
		return err
	}, errors.Join(errs...)
}
