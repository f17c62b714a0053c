//go:build linux

package chaos_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// serverFaults happen to server processes. A restart of any of them excuses no loss of a node.
var serverFaults = []*faultKind{
	{name: "kill-server", class: "server", about: aServer, weight: 7, min: 300 * time.Millisecond, max: 9 * time.Second, begin: killServer},
	{name: "freeze-server", class: "server", about: aServer, weight: 6, min: 500 * time.Millisecond, max: 9 * time.Second, begin: freezeServer},
	{name: "step-down", class: "server", about: nobody, weight: 4, min: 100 * time.Millisecond, max: 200 * time.Millisecond, begin: stepDown},
	{name: "restart-all", class: "server", about: theServer, weight: 6, min: 100 * time.Millisecond, max: 8 * time.Second, begin: restartAll},
	{name: "lame-duck", class: "server", about: aServer, weight: 6, min: time.Second, max: 6 * time.Second, begin: lameDuck},
	{name: "roll", class: "server", about: theServer, weight: 3, min: time.Second, max: 2 * time.Second, begin: rollingRestart},
}

// struck returns the place of the server of a fault: by the dice the bucket's leader, or as planned.
func (f *fleet) struck(p planned, rng *rand.Rand) int {
	if rng.IntN(2) == 0 {
		return p.place
	}
	ctx, cancel := context.WithTimeout(f.ctx, 2*visit)
	defer cancel()
	if s, err := f.js.Stream(ctx, stream); err == nil {
		for i, server := range f.servers {
			if c := s.CachedInfo().Cluster; c != nil && c.Leader == server.cfg.Name {
				return i
			}
		}
	}
	return p.place
}

func killServer(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	s := f.servers[f.struck(p, rng)]
	s.kill()
	return effect{servers: true}, s.start, nil
}

// lameDuck has a server say goodbye to its clients and end, as one does that is upgraded.
func lameDuck(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	s := f.servers[f.struck(p, rng)]
	s.tell(f, order{Op: opLameDuck})
	return effect{servers: true}, func() error { s.kill(); return s.start() }, nil
}

// freezeServer stops a server without closing its connections: who is connected to it waits for it.
func freezeServer(f *fleet, p planned, rng *rand.Rand) (effect, func() error, error) {
	s := f.servers[f.struck(p, rng)]
	e := effect{cuts: []string{s.cfg.Name}, servers: true}
	return e, func() error { return s.signal(syscall.SIGCONT) }, s.signal(syscall.SIGSTOP)
}

func stepDown(f *fleet, _ planned, _ *rand.Rand) (effect, func() error, error) {
	if _, err := f.nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil, time.Second); err != nil {
		f.note("step down: %v", err)
	}
	return effect{servers: true}, nil, nil
}

// restartAll kills all servers, for a time shorter or longer than a lease.
func restartAll(f *fleet, _ planned, _ *rand.Rand) (effect, func() error, error) {
	f.killAll()
	return effect{servers: true}, f.startAll, nil
}

func (f *fleet) killAll() {
	var kills sync.WaitGroup
	for _, s := range f.servers {
		kills.Go(s.kill)
	}
	kills.Wait()
}

func (f *fleet) startAll() error {
	var starts sync.WaitGroup
	for _, s := range f.servers {
		starts.Go(func() { f.tryStart(s) })
	}
	starts.Wait()
	return nil
}

// rollingRestart restarts one server after another, sooner than the cluster would like.
func rollingRestart(f *fleet, _ planned, rng *rand.Rand) (effect, func() error, error) {
	return effect{servers: true}, func() error {
		for _, i := range rng.Perm(len(f.servers)) {
			f.servers[i].kill()
			f.tryStart(f.servers[i])
			select {
			case <-time.After(rand64(rng, 3*time.Second)):
			case <-f.ctx.Done():
			}
		}
		return nil
	}, nil
}
