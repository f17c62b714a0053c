package rolebus

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
)

// How hooks are called: each from a queue of its own, by a goroutine that nothing else waits for.

// hookBacklog is how many events may wait for a hook. What comes beyond is missed.
const hookBacklog = 1024

// hookQueue is one hook, and the events that wait for it. Its goroutine runs only while some do.
//
//	push -> waiting -> run: one call after another -> no more: the goroutine ends
//	   \ full: missed         \ panic, runtime.Goexit: told, and another goroutine goes on
type hookQueue struct {
	hook     Hook
	log      *slog.Logger
	onMissed func(MissedInfo) // nil if the hook does not want to know
	ended    chan struct{}    // closed when it is closing and everything was delivered

	mu      sync.Mutex
	first   *hookCall // a list, because mostly nothing waits
	last    *hookCall
	waiting int
	missed  int // events since the last one that waits
	running bool
	closing bool // nothing is taken in any more
}

// hookCall is one event on its way to a hook.
type hookCall struct {
	event  string
	call   func()
	missed int           // events before it
	done   chan struct{} // if not nil, closed when the hook has returned
	next   *hookCall
}

// offer takes in an event, unless as many wait as may. It never waits.
func (q *hookQueue) offer(most int, event string, call func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting >= most && !q.closing {
		q.missed++
		return
	}
	q.push(&hookCall{event: event, call: call})
}

// hand takes in an event, however many wait, and waits until the hook has returned from it, or ctx is over. Whoever uses it
// has one event there at the most.
func (q *hookQueue) hand(ctx context.Context, event string, call func()) {
	c := &hookCall{event: event, call: call, done: make(chan struct{})}
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
func (q *hookQueue) withdraw(c *hookCall) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting <= hookBacklog {
		return
	}
	var before *hookCall
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
func (q *hookQueue) push(c *hookCall) (taken bool) {
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
		go q.run() // joined by wait
	}
	return true
}

// pop returns the next call, nil if there is none. Before an event, or when none is left, it tells what was missed.
func (q *hookQueue) pop() *hookCall {
	q.mu.Lock()
	defer q.mu.Unlock()
	missed := &q.missed
	if q.first != nil {
		missed = &q.first.missed
	}
	if events := *missed; events > 0 {
		if *missed = 0; q.onMissed != nil {
			return &hookCall{event: "Missed", call: func() { q.onMissed(MissedInfo{Events: events}) }}
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
func (q *hookQueue) run() {
	var c *hookCall
	defer func() {
		fault := recover()
		if c == nil {
			return
		}
		c.returned()
		if fault == nil {
			fault = "runtime.Goexit"
		}
		blame(q.log, "a hook panicked", fault, "hook", q.name(), "event", c.event)
		go q.run()
	}()
	for c = q.pop(); c != nil; c = q.pop() {
		c.call()
		c.returned()
	}
}

func (c *hookCall) returned() {
	if c.done != nil {
		close(c.done)
	}
}

func (q *hookQueue) name() string { return fmt.Sprintf("%T", q.hook) }

// close takes in nothing more.
func (q *hookQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closing && !q.running {
		close(q.ended)
	}
	q.closing = true
}

// wait waits until everything was delivered. If that is not so when ctx is over, the hook is called no more: it is the user's
// code, and may never return.
func (q *hookQueue) wait(ctx context.Context) error {
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
	return failed("close", fmt.Errorf("the hook %s is still running", q.name()))
}

// hearers are the hooks that hear one event.
type hearers[Info any] []hearer[Info]

type hearer[Info any] struct {
	queue *hookQueue
	event string
	on    func(Info)
}

// listen adds a hook if it has the event's method. It says whether it has.
func listen[H, Info any](to *hearers[Info], q *hookQueue, on func(H, Info)) bool {
	hook, ok := q.hook.(H)
	if ok {
		event := strings.TrimSuffix(reflect.TypeFor[Info]().Name(), "Info")
		*to = append(*to, hearer[Info]{q, event, func(info Info) { on(hook, info) }})
	}
	return ok
}

// tell lets the hooks have an event.
func (to hearers[Info]) tell(info Info) { to.tellUpTo(hookBacklog, info) }

// tellUpTo lets those hooks have an event for whom no more than so many wait.
func (to hearers[Info]) tellUpTo(most int, info Info) {
	for _, l := range to {
		on, info := l.on, info // a copy: else it would be allocated also where nobody hears it
		l.queue.offer(most, l.event, func() { on(info) })
	}
}

// tellLater is tell, with what need not be found out here and now.
func (to hearers[Info]) tellLater(info func() Info) {
	for _, l := range to {
		on := l.on
		l.queue.offer(hookBacklog, l.event, func() { on(info()) })
	}
}

// hand lets the hooks have an event, and waits for each. Whoever uses it has one event under way at the most.
func (to hearers[Info]) hand(ctx context.Context, info Info) {
	for _, l := range to {
		l.queue.hand(ctx, l.event, func() { l.on(info) })
	}
}

// of returns the part that is about one hook.
func (to hearers[Info]) of(q *hookQueue) (part hearers[Info]) {
	for _, l := range to {
		if l.queue == q {
			part = append(part, l)
		}
	}
	return part
}
