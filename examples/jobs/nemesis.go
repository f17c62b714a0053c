package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolebus/rolebus"
)

// fault is what happens to a worker.
type fault string

const (
	terminate fault = "SIGTERM"
	kill      fault = "SIGKILL"
	freeze    fault = "SIGSTOP"
)

// After a death and while a worker hangs there is trouble for so long, whatever the dispatcher does: then everybody knows.
const (
	deathKnown  = time.Second
	freezeKnown = 4 * time.Second
)

// place is a worker's name, and the process that has it now.
type place struct {
	name    string
	child   *child
	leaving *atomic.Bool // the end of the child belongs to the story
	up      bool         // nothing is happening to it; of the nemesis
}

// nemesis harms workers until ctx is over, and then lets all run again. What it does, to whom and when is a function of the seed, as
// far as the machine keeps time. Half of the workers are always left alone.
func (s *story) nemesis(ctx context.Context) {
	rng := rand.New(rand.NewPCG(s.seed, 0))
	var mu sync.Mutex // guards up
	var harm sync.WaitGroup
	defer harm.Wait()
	for {
		rest := time.Duration(200+rng.IntN(1000)) * time.Millisecond
		f, choice, lasts := s.faults[rng.IntN(len(s.faults))], rng.IntN(1<<16), rng.Float64()
		if !sleep(ctx, rest) {
			return
		}
		mu.Lock()
		var healthy []*place
		for _, p := range s.places {
			if p.up {
				healthy = append(healthy, p)
			}
		}
		if len(healthy) > (len(s.places)+1)/2 {
			p := healthy[choice%len(healthy)]
			p.up = false
			harm.Go(func() {
				err := s.harm(ctx, p, f, lasts)
				mu.Lock()
				defer mu.Unlock()
				if p.up = err == nil; !p.up && ctx.Err() == nil {
					s.fail(fmt.Errorf("%s: %w", p.name, err))
				}
			})
		}
		mu.Unlock()
	}
}

// harm does something to a worker, and returns when the dispatcher sees it at work again. How long it lasts is between 0 and 1.
func (s *story) harm(ctx context.Context, p *place, f fault, lasts float64) error {
	process := p.child.cmd.Process
	over := s.report.begins(p.name, f)
	defer over()
	p.leaving.Store(f != freeze)
	s.tell(p.name, string(f))
	switch f {
	case freeze:
		if err := freezeProcess(process); err != nil {
			return err
		}
		time.AfterFunc(freezeKnown, over)
		sleep(ctx, time.Duration((1+5*lasts)*float64(time.Second)))
		over()
		s.tell(p.name, "SIGCONT")
		if err := thawProcess(process); err != nil {
			return err
		}
	case terminate, kill:
		act := terminateProcess
		if f == kill {
			act = (*os.Process).Kill
			time.AfterFunc(deathKnown, over)
		}
		if err := act(process); err != nil {
			return err
		}
		<-p.child.ended
		if f == terminate {
			over()
			if !p.child.cmd.ProcessState.Success() {
				return fmt.Errorf("it ended badly: %s", p.child.end())
			}
			s.tell(p.name, "has ended")
		}
		if !sleep(ctx, time.Duration(lasts*float64(time.Second))) {
			return ctx.Err()
		}
		if err := s.start(p); err != nil {
			return err
		}
	}
	return s.atWork(ctx, p)
}

// atWork returns when the dispatcher sees the process of a place at work.
func (s *story) atWork(ctx context.Context, p *place) error {
	_, err := s.bus.Wait(ctx, func(snap *rolebus.Snapshot) bool {
		n := snap.Nodes(worker).Find(p.name)
		return n != nil && n.Meta(pidKey) == p.child.pid()
	})
	return err
}

// sleep returns false if ctx is over first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
