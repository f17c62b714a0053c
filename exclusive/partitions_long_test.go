//go:build long

package exclusive_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// churn is a fleet of workers of which some die and some come, and what they held.
type churn struct {
	t       testing.TB
	srv     *rolebustest.Server
	n       int
	opts    []exclusive.Option
	links   map[*worker]*rolebustest.Link
	workers []*worker // that live
	made    int
	killed  int // partitions of those who were

	followers sync.WaitGroup

	mu    sync.Mutex
	terms [][]*exclusive.Term // of each partition, all that there were
	got   int                 // partitions that a worker got
}

// start has one more worker work.
func (c *churn) start() {
	c.made++
	link := c.srv.Link()
	b := link.Bus(rolebus.WithNode(fmt.Sprintf("worker-%02d", c.made)), rolebus.WithTTL(15*time.Second), rolebus.WithRoles("worker"))
	w := work(c.t, b, c.n, c.opts...)
	c.links[w] = link
	c.workers = append(c.workers, w)
	c.followers.Add(1)
	go c.follow(w)
}

// follow takes in what a worker gets, and gives up what it is to give up.
func (c *churn) follow(w *worker) {
	defer c.followers.Done()
	var ends sync.WaitGroup
	defer ends.Wait()
	for at := 0; ; {
		all := w.told()
		for _, a := range all[at:] {
			c.mu.Lock()
			c.got += len(a.Gained)
			for _, p := range a.Gained {
				if term := a.Term(p); term != nil {
					c.terms[p] = append(c.terms[p], term)
				}
			}
			c.mu.Unlock()
			for _, p := range a.Lost {
				if term := a.Term(p); term != nil && !slices.Contains(a.Gained, p) && term.Context().Err() == nil {
					ends.Go(func() {
						ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
						defer cancel()
						_ = term.Resign(ctx) // of one whose process is cut off it fails
					})
				}
			}
		}
		if at == len(all) {
			select {
			case <-w.done:
				return
			case <-time.After(time.Millisecond):
			}
		}
		at = len(all)
	}
}

// watchOverlaps looks at all terms until a context is over: of two of one partition that last at two moments, both have lasted between them.
func (c *churn) watchOverlaps(ctx context.Context) (looks int, overlaps []string) {
	for ; ctx.Err() == nil; looks++ {
		for p := range c.n {
			c.mu.Lock()
			terms := slices.Clone(c.terms[p])
			c.mu.Unlock()
			over := func(t *exclusive.Term) bool { return t.Context().Err() != nil }
			if lasting := slices.DeleteFunc(terms, over); len(lasting) > 1 {
				if both := slices.DeleteFunc(lasting, over); len(both) > 1 {
					overlaps = append(overlaps, fmt.Sprintf("%d: tokens %d and %d", p, both[0].Token(), both[1].Token()))
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
	return looks, overlaps
}

// phase has something change, waits until all is whole again, and returns how many partitions have moved, and how many had to.
func (c *churn) phase(what string, change func()) (moved, least int) {
	before := map[*worker][]int{}
	for _, w := range c.workers {
		before[w] = w.now().Partitions
	}
	c.mu.Lock()
	got := c.got
	c.mu.Unlock()
	began := time.Now()
	change()
	rolebustest.Within(c.t, 3*time.Minute, what, func() bool { return whole(c.n, c.workers...) })
	took := time.Since(began)
	eventually(c.t, "all is taken in", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		moved = c.got - got
		now := 0
		for _, w := range c.workers {
			now += len(slices.DeleteFunc(slices.Clone(w.now().Partitions), func(p int) bool { return slices.Contains(before[w], p) }))
		}
		return moved >= now
	})
	floor, over, kept := c.n/len(c.workers), c.n%len(c.workers), 0
	for _, w := range c.workers {
		kept += min(len(before[w]), floor)
		if len(before[w]) > floor && over > 0 {
			over--
			kept++
		}
	}
	least = c.n - kept
	c.t.Logf("terms that ended: %v", c.causes())
	c.t.Logf("%s: %v, moved %d, the least is %d: %.3f", what, took.Round(time.Millisecond), moved, least, float64(moved)/float64(max(least, 1)))
	return moved, least
}

// causes says why terms have ended, and how many.
func (c *churn) causes() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	causes := map[string]int{}
	for _, terms := range c.terms {
		for _, term := range terms {
			if cause := context.Cause(term.Context()); cause != nil {
				causes[cause.Error()]++
			}
		}
	}
	return causes
}

func newChurn(t testing.TB, n int, opts ...exclusive.Option) *churn {
	c := &churn{t: t, n: n, opts: opts, links: map[*worker]*rolebustest.Link{}, terms: make([][]*exclusive.Term, n)}
	t.Cleanup(c.followers.Wait) // last: the workers have ended before
	c.srv = rolebustest.NewServer(t)
	return c
}

// run is the story: ten work, three die, four come, one is drained.
func (c *churn) run() (moved, least int) {
	c.phase("ten begin", func() {
		for range 10 {
			c.start()
		}
	})
	add := func(m, l int) { moved, least = moved+m, least+l }
	add(c.phase("three are killed", func() {
		for _, w := range []*worker{c.workers[1], c.workers[4], c.workers[8]} {
			c.killed += len(w.now().Partitions)
			c.links[w].Cut()
			c.workers = slices.DeleteFunc(c.workers, func(other *worker) bool { return other == w })
		}
	}))
	add(c.phase("four come", func() {
		for range 4 {
			c.start()
		}
	}))
	add(c.phase("one is drained", func() {
		w := c.workers[2]
		c.workers = slices.Delete(c.workers, 2, 3)
		require.NoError(c.t, w.bus.Shutdown(soon(c.t)))
	}))
	return moved, least
}

// Strict: two never hold one partition, whatever befalls the members, and what moves is what must.
func TestStrictPartitionsInAChangingFleet(t *testing.T) {
	c := newChurn(t, 1024, exclusive.Strict())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var looks int
	var overlaps []string
	var looking sync.WaitGroup
	looking.Go(func() { looks, overlaps = c.watchOverlaps(ctx) })
	moved, least := c.run()
	cancel()
	looking.Wait()
	t.Logf("moved %d, the least of each step together is %d: %.3f; %d looks at all terms", moved, least, float64(moved)/float64(least), looks)
	require.Empty(t, overlaps)
	lost := 0 // by leases, those of the killed too: what a machine that is too busy for heartbeats loses has to move besides
	for _, terms := range c.terms {
		for _, term := range terms {
			if errors.Is(context.Cause(term.Context()), rolebus.ErrLeaseLost) {
				lost++
			}
		}
	}
	require.LessOrEqual(t, float64(moved), 1.2*float64(least)+float64(max(0, lost-c.killed)))
	for p, terms := range c.terms {
		last := map[uint64]bool{}
		for _, term := range terms {
			require.False(t, last[term.Token()], "two terms of partition %d have the token %d", p, term.Token())
			last[term.Token()] = true
		}
	}
}

func TestPartitionsInAChangingFleet(t *testing.T) {
	c := newChurn(t, 1024)
	moved, least := c.run()
	t.Logf("moved %d, the least of each step together is %d: %.3f", moved, least, float64(moved)/float64(least))
}
