package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/bench/peers/internal/process"
)

// asker asks for the nodes of roles, n times, from the list of keys and around again, and returns how many nodes it got. Each
// system has the loop for itself: a call in between would cost as much as the answer.
type asker func(keys []string, n int) int

// playRead holds the same nodes in every system, and measures each of them when it is told to.
func playRead(ctx context.Context, p *process.Process) error {
	runtime.GOMAXPROCS(2)
	roles := p.Config.Count
	bus, err := rolebus.Connect(ctx, p.Config.URL, rolebus.WithObserver())
	if err != nil {
		return err
	}
	defer bus.Close()
	scope, err := bus.Join(ctx, readScope(roles))
	if err != nil {
		return err
	}
	askers := map[string]asker{
		"map behind an atomic pointer": askPointer(roles),
		"RWMutex and a map":            askMutex(roles),
		"rolebus":                      askRolebus(scope),
		"Serf, members by tag":         askSerf(roles),
	}
	keys := make([]string, roles)
	for i, at := range rand.New(rand.NewPCG(1, 2)).Perm(roles) {
		keys[i] = roleName(at)
	}
	want := readNodes * len(readRoles(0, roles)) / roles
	for name, ask := range askers {
		if got := ask(keys, 100); got != 100*want {
			return fmt.Errorf("%s answers 100 questions with %d nodes, want %d", name, got, 100*want)
		}
	}
	p.Obey("", func(o process.Order) (process.Report, error) {
		way, asked := readWays[o.N], keys
		if way.hot {
			asked = keys[:1]
		}
		runtime.GC() // what others left is not this one's to clear
		ns, allocs := timeAsker(askers[o.Do], asked, way.goroutines, o.Time)
		return process.Report{Values: map[string]float64{"ns": ns, "allocs": allocs}}, nil
	})
	return nil
}

// timeAsker lets goroutines ask for about so long and returns the wall clock's time and the allocations of one question. As
// with b.RunParallel, the time is divided by the questions of all goroutines.
func timeAsker(ask asker, keys []string, goroutines int, about time.Duration) (ns, allocs float64) {
	n := 1
	for { // how many questions are enough; this warms up, too
		from := time.Now()
		ask(keys, n)
		if took := time.Since(from); took > about/10 {
			n = max(1, int(float64(n)*float64(about)/float64(took)))
			break
		}
		n *= 2
	}
	var before, after runtime.MemStats
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for g := range goroutines {
		// Each begins elsewhere, else one would find in the cache what the other has just fetched.
		at := g * len(keys) / goroutines
		turned := slices.Concat(keys[at:], keys[:at])
		wg.Go(func() {
			<-begin
			ask(turned, n)
		})
	}
	runtime.ReadMemStats(&before)
	from := time.Now()
	close(begin)
	wg.Wait()
	took := time.Since(from)
	runtime.ReadMemStats(&after)
	all := float64(n * goroutines)
	return float64(took.Nanoseconds()) / all, float64(int(float64(after.Mallocs-before.Mallocs)/all*100)) / 100
}

// readTime is how long one sample takes.
func (l *lab) readTime() time.Duration {
	return time.Duration(l.count(30, 2)) * time.Millisecond
}
