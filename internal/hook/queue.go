// Package hook calls hooks, those of a Bus and those of packages that build on it: each from a queue of its own, by a goroutine
// that nothing else waits for.
package hook

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// Backlog is how many events may wait for a hook. What comes beyond is missed.
const Backlog = 1024

// Queue is one hook, and the events that wait for it. Its goroutine runs only while some do.
//
//	push -> waiting -> run: one call after another -> no more: the goroutine ends
//	   \ full: missed         \ panic, runtime.Goexit: told, and another goroutine goes on
type Queue struct {
	hook     any
	log      *slog.Logger
	onMissed func(events int) // nil if the hook does not want to know
	ended    chan struct{}    // closed when it is closing and everything was delivered

	mu      sync.Mutex
	first   *call // a list, because mostly nothing waits
	last    *call
	waiting int
	missed  int // events since the last one that waits
	running bool
	closing bool // nothing is taken in any more
}

// call is one event on its way to a hook.
type call struct {
	event  string
	tell   func()
	missed int           // events before it
	done   chan struct{} // if not nil, closed when the hook has returned
	next   *call
}

// NewQueue makes the queue of a hook. What the hook missed is told by onMissed, called as the hook is, before the next event; nil
// if it does not want to know.
func NewQueue(hook any, log *slog.Logger, onMissed func(events int)) *Queue {
	return &Queue{hook: hook, log: log, onMissed: onMissed, ended: make(chan struct{})}
}

// offer takes in an event, unless as many wait as may. It never waits.
func (q *Queue) offer(most int, event string, tell func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting >= most && !q.closing {
		q.missed++
		return
	}
	q.push(&call{event: event, tell: tell})
}

// hand takes in an event, however many wait, and waits until the hook has returned from it, or ctx is over. Whoever uses it
// has one event there at the most.
func (q *Queue) hand(ctx context.Context, event string, tell func()) {
	c := &call{event: event, tell: tell, done: make(chan struct{})}
	q.mu.Lock()
	taken := q.push(c)
	q.mu.Unlock()
	if !taken {
		return
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		q.withdraw(c)
	}
}

// withdraw takes an event back for which nobody waits any more, if more wait than may: else a hook that is blocked would have
// one more for each stay in a scope that ends. It counts as missed.
func (q *Queue) withdraw(c *call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting <= Backlog {
		return
	}
	var before *call
	at := q.first
	for ; at != nil && at != c; at = at.next {
		before = at
	}
	switch {
	case at == nil:
		return // it is with the hook
	case before == nil:
		q.first = c.next
	default:
		before.next = c.next
	}
	after := &q.missed
	if c.next == nil {
		q.last = before
	} else {
		after = &c.next.missed
	}
	*after += c.missed + 1
	q.waiting--
}

// push is called with the lock held. It says whether the event will come.
func (q *Queue) push(c *call) (taken bool) {
	if q.closing {
		return false
	}
	c.missed, q.missed = q.missed, 0
	if q.last == nil {
		q.first = c
	} else {
		q.last.next = c
	}
	q.last = c
	q.waiting++
	if !q.running {
		q.running = true
		go q.run() // joined by Wait
	}
	return true
}

// pop returns the next call, nil if there is none. Before an event, or when none is left, it tells what was missed.
func (q *Queue) pop() *call {
	q.mu.Lock()
	defer q.mu.Unlock()
	missed := &q.missed
	if q.first != nil {
		missed = &q.first.missed
	}
	if events := *missed; events > 0 {
		if *missed = 0; q.onMissed != nil {
			return &call{event: "Missed", tell: func() { q.onMissed(events) }}
		}
	}
	c := q.first
	if c == nil {
		if q.running = false; q.closing {
			close(q.ended)
		}
		return nil
	}
	if q.first = c.next; q.first == nil {
		q.last = nil
	}
	q.waiting--
	return c
}

// run calls the hook until nothing waits. A call that panics, or ends its goroutine, ends this one: another goes on.
func (q *Queue) run() {
	var c *call
	defer func() {
		fault := recover()
		if c == nil {
			return
		}
		c.returned()
		if fault == nil {
			fault = "runtime.Goexit"
		}
		Blame(q.log, "a hook panicked", fault, "hook", q.Name(), "event", c.event)
		go q.run()
	}()
	for c = q.pop(); c != nil; c = q.pop() {
		c.tell()
		c.returned()
	}
}

func (c *call) returned() {
	if c.done != nil {
		close(c.done)
	}
}

// Name is the type of the hook, as errors and logs name it.
func (q *Queue) Name() string { return fmt.Sprintf("%T", q.hook) }

// Close takes in nothing more.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closing && !q.running {
		close(q.ended)
	}
	q.closing = true
}

// Wait waits, once the queue is closing, until everything was delivered. If that is not so when ctx is over, the hook is called no more: it is the user's
// code, and may never return.
func (q *Queue) Wait(ctx context.Context) error {
	select {
	case <-q.ended:
		return nil
	default:
	}
	select {
	case <-q.ended:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.first, q.last, q.waiting, q.missed = nil, nil, 0, 0
	return fmt.Errorf("the hook %s is still running", q.Name())
}
