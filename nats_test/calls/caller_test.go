package calls_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
)

// rate is how many calls are made in a second, all together: as many more take less time, and fewer faults happen beside them.
var rate uint64 = 2000

const (
	callers = 8

	attempt     = 400 * time.Millisecond // of a job that takes 3 ms at most
	retriesOnce = 3
)

// way is one way to choose a node, and how often calls by it are tried again.
type way struct {
	name   string
	opts   []call.Option
	hedged bool
}

var ways = []way{
	{name: "Choose"}, // and looks at who answers, see caller.use
	{name: "Random", opts: []call.Option{call.Random()}},
	{name: "RoundRobin", opts: []call.Option{call.RoundRobin()}},
	{name: "LeastBusy", opts: []call.Option{call.LeastBusy()}},
	{name: "Hash", opts: []call.Option{call.HashBy(func(j job) string { return fmt.Sprint(j.ID) })}},
	{name: "Sticky", opts: []call.Option{call.Sticky()}},
}

// caller is a Bus whose goroutines call.
type caller struct {
	bus *rolebus.Bus
	out []heard
	mu  sync.Mutex
}

// calls are all calls of a test.
type calls struct {
	t          *testing.T
	wire       *wire
	idempotent bool
	sure       bool          // all must be answered
	timeout    time.Duration // of an attempt
	atOnce     int           // calls of each caller
	callers    []*caller
	stopped    atomic.Bool
	next       atomic.Uint64
	most       uint64
}

// newCalls connects the callers, half of them observers.
func newCalls(t *testing.T, srv *rolebustest.Server, n int, idempotent bool) *calls {
	c := &calls{t: t, wire: newWire(), idempotent: idempotent, sure: idempotent, timeout: attempt, atOnce: 32, most: uint64(n)}
	require.NoError(t, rolebus.Provision(t.Context(), srv.Conn()))
	for i := range callers {
		opts := []rolebus.Option{
			rolebus.WithNode(fmt.Sprint("caller-", i)), rolebus.WithTTL(3 * time.Second), rolebus.WithNATS(nats.SetCustomDialer(c.wire)),
		}
		if i%2 == 0 {
			opts = append(opts, rolebus.WithObserver())
		}
		c.callers = append(c.callers, &caller{bus: srv.Bus(opts...)})
	}
	return c
}

// method makes a method by one of the ways.
func (c *calls) method(on *caller, w way) (*call.Method[job, done], int) {
	opts := append([]call.Option{call.Timeout(c.timeout), call.Retry(retriesOnce)}, w.opts...)
	retry := retriesOnce
	if c.idempotent {
		retry = 1000
		opts = append(opts, call.Idempotent(), call.Retry(retry), call.Backoff(5*time.Millisecond, 100*time.Millisecond))
	}
	if w.hedged {
		opts = append(opts, call.Hedge(50*time.Millisecond))
	}
	m, err := call.New[job, done](on.bus.Scope, "worker", "work", opts...)
	require.NoError(c.t, err)
	return m, retry
}

// start makes calls beside what else a test does, until the function that it returns is called: that returns when all have ended.
func (c *calls) start() (stop func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.run()
	}()
	return func() {
		c.stopped.Store(true)
		<-ended
	}
}

// run makes all calls, and returns when all have ended.
func (c *calls) run() {
	all := ways
	if c.idempotent {
		all = append(slices.Clone(all), way{name: "Hedge", hedged: true})
	}
	var running sync.WaitGroup
	began := time.Now()
	for _, on := range c.callers {
		shared := make([]*call.Method[job, done], len(all)) // as in a program: many goroutines use one
		retry := 0
		for i, w := range all {
			shared[i], retry = c.method(on, w)
		}
		for i := range c.atOnce {
			w, m := all[i%len(all)], shared[i%len(all)]
			h := heard{retry: retry, idempotent: c.idempotent, sure: c.sure, hedged: w.hedged}
			var chosen *rolebus.Node
			if w.name == "Choose" {
				w.opts = []call.Option{call.Choose(func(ns rolebus.Nodes) *rolebus.Node { chosen = ns.Pick(); return chosen })}
				m, _ = c.method(on, w)
			}
			running.Go(func() {
				for {
					h.id = c.next.Add(1)
					if h.id > c.most || c.stopped.Load() {
						return
					}
					// The load: so many calls a second, that there are faults among them.
					time.Sleep(time.Until(began.Add(time.Duration(h.id * uint64(time.Second) / rate))))
					chosen = nil
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					called := time.Now()
					h.answer, h.err = m.Call(ctx, job{h.id})
					h.took = time.Since(called)
					cancel()
					if h.chosen = (life{}); chosen != nil {
						h.chosen = life{chosen.Name(), chosen.Incarnation()}
					}
					on.mu.Lock()
					on.out = append(on.out, h)
					on.mu.Unlock()
				}
			})
		}
	}
	running.Wait()
}

// judge fails the test for everything that is wrong with the calls, and tells what there was.
func (c *calls) judge(ran map[uint64][]life) {
	c.t.Helper()
	var wrong []string
	errs := map[string]int{}
	var took []time.Duration
	runs, sent := 0, 0
	for _, on := range c.callers {
		for _, h := range on.out {
			took = append(took, h.took)
			for _, complaint := range judge(h, c.wire.of(h.id), ran[h.id]) {
				wrong = append(wrong, fmt.Sprintf("%d: %s", h.id, complaint))
			}
			for _, err := range known {
				if errors.Is(h.err, err) {
					errs[err.Error()]++
				}
			}
			runs += len(ran[h.id])
			sent += len(c.wire.of(h.id))
		}
	}
	if !c.stopped.Load() {
		require.Len(c.t, took, int(c.most))
	}
	require.NotEmpty(c.t, took)
	slices.Sort(took)
	c.t.Logf("%d calls: p50 %v, p99 %v, p99.9 %v, worst %v; sent %d times, run %d times; failed: %v", len(took), took[len(took)/2],
		took[len(took)*99/100], took[len(took)*999/1000], took[len(took)-1], sent, runs, errs)
	if len(wrong) > 0 {
		c.t.Errorf("%d wrong:\n%s", len(wrong), strings.Join(wrong[:min(len(wrong), 20)], "\n"))
	}
}
