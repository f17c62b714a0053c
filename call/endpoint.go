package call

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
)

// Endpoint is a method that this process handles in a scope. All its methods may be called from any goroutine.
type Endpoint struct {
	server *server
	scope  *rolebus.Scope
	method string
	opts   *handleOptions
	codec  string // its content type
	handle func(ctx context.Context, msg *nats.Msg) ([]byte, error)
	hooks  *hooks
	log    *slog.Logger
	base   context.Context // of each handler's; over when the endpoint has no more time, or the Bus stops
	end    context.CancelCauseFunc

	sub     *rolebus.Subscription
	unleave func() bool

	mu       sync.Mutex
	closing  bool
	drained  string              // the subject of the life that goes away: what comes there is refused
	calls    map[string]*serving // those that run or wait, by where their answers go
	running  int
	telling  int // of these: the handler has returned, and the caller hears of it just now; whoever comes has the place
	waiting  []*serving
	idle     chan struct{} // closed when nothing runs or waits; nil if nobody waits for that
	stats    EndpointStats
	ready    queue  // of those that run: no hand has begun with them yet
	looking  bool   // a hand is about to
	hands    []hand // that rest
	watching bool   // somebody looks after callers that go away
}

// errClosing is why handlers are cancelled when an endpoint, or the Bus, has no more time for them.
var errClosing = errors.New(prefix + "the endpoint is closed")

// Method returns the name of the method.
func (e *Endpoint) Method() string { return e.method }

// Stats returns what it has done so far.
func (e *Endpoint) Stats() EndpointStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	stats := e.stats
	stats.Running, stats.Waiting = e.active(), len(e.waiting)
	return stats
}

// Close ends the endpoint: what is new is refused ([ErrDraining], which callers try elsewhere), what runs or waits is finished, and
// then nobody listens any more. If ctx is over before that, the contexts of the handlers that still run are cancelled, their callers hear
// [ErrUnreachable], and the error, which matches that of ctx, says how many there are; they are not waited for. It may be called more than
// once, from any goroutine; of several at once whoever has the least patience decides for all. In a handler it waits for itself, until ctx
// is over. The role is not taken away: do that first.
func (e *Endpoint) Close(ctx context.Context) error {
	if ctx == nil {
		return &opError{fmt.Sprintf("%sclose method %q in scope %q: nil context", prefix, clip(e.method), clip(e.scope.Name())), errNilContext}
	}
	e.mu.Lock()
	e.closing = true
	e.mu.Unlock()
	err := e.settle(ctx)
	e.unleave()
	e.server.remove(e)
	e.end(errClosing)
	e.mu.Lock()
	e.dismiss()
	e.mu.Unlock()
	return err
}

// leave is called when the node's roles have gone, and before it says goodbye.
func (e *Endpoint) leave(ctx context.Context) {
	own := e.scope.Snapshot().Node(e.server.self)
	if own == nil {
		return
	}
	e.mu.Lock()
	e.drained = e.scope.Address(kindOfSubject, own, e.method)
	e.mu.Unlock()
	_ = e.settle(ctx) // who waits is told by ctx
}

// settle waits until nothing runs or waits. When ctx is over, what does is cancelled.
func (e *Endpoint) settle(ctx context.Context) error {
	e.mu.Lock()
	if len(e.calls) == 0 {
		e.mu.Unlock()
		return nil
	}
	if e.idle == nil {
		e.idle = make(chan struct{})
	}
	idle := e.idle
	e.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-e.base.Done():
	case <-ctx.Done():
	}
	e.dropWaiting()
	e.mu.Lock()
	left := slices.Collect(maps.Values(e.calls))
	e.mu.Unlock()
	if len(left) == 0 {
		return nil
	}
	for _, s := range left {
		s.abandon()
	}
	why := e.hurried(ctx)
	text := fmt.Sprintf("%sclose method %q in scope %q: calls that still ran: %d: %s", prefix, clip(e.method), clip(e.scope.Name()), len(left), plain(why))
	return &opError{text, why}
}

// hurried is why there is no more time for what still runs: that of whoever waits is over, the Bus stops, or another Close had no more.
func (e *Endpoint) hurried(ctx context.Context) error {
	switch err, cause := ctx.Err(), context.Cause(ctx); {
	case err == nil:
		return clientOf(e.scope).stopped(errClosing)
	case errors.Is(cause, err):
		return cause
	default:
		return fmt.Errorf("%w: %w", err, cause)
	}
}

// dropWaiting refuses what waits: there is no time left to run it.
func (e *Endpoint) dropWaiting() {
	e.mu.Lock()
	waiting := e.waiting
	e.waiting = nil
	for _, s := range waiting {
		delete(e.calls, s.key)
	}
	e.dismiss()
	e.settled()
	e.mu.Unlock()
	for _, s := range waiting {
		s.ctx.cancel()
		s.refuse(sayDraining, ErrDraining)
	}
}

// settled wakes who waits until nothing runs or waits, if that is so. It is called with the lock held.
func (e *Endpoint) settled() {
	if len(e.calls) == 0 && e.idle != nil {
		close(e.idle)
		e.idle = nil
	}
}

// answerer brings an answer to where it is awaited.
type answerer interface {
	answer(to string, msg nats.Msg) error
}

// hear takes in a message that came over NATS.
func (e *Endpoint) hear(msg *nats.Msg) {
	if e.server.bus.Answerable(msg.Reply) {
		e.take(msg, e.server)
	} else {
		e.take(msg, nil)
	}
}

// take takes in a message: a request, or the word that nobody waits for one any more. It never blocks. If answers is nil there is nobody to
// hear one.
func (e *Endpoint) take(msg *nats.Msg, answers answerer) {
	word := ""
	if len(msg.Header) > 0 {
		word = msg.Header.Get(headerCall)
	}
	if word == callCancel {
		e.cancel(string(msg.Data))
		return
	}
	s := &serving{endpoint: e, msg: msg, within: msg.Reply, answers: answers, came: time.Now()}
	switch {
	case word != "":
		s.refuse(sayDecode, because(ErrDecode, "%s: unknown word %q", headerCall, clip(word)))
		return
	case msg.Reply == "":
		s.answers = nil
	case answers == nil:
		s.refuse(sayDecode, because(ErrDecode, "it asks for an answer to %q", clip(msg.Reply)))
		return
	}
	timeout, err := parseTimeout(msg.Header.Get(headerTimeout))
	if err != nil {
		s.refuse(sayDecode, fmt.Errorf("%w: %w", ErrDecode, err))
		return
	}
	if kind := msg.Header.Get(headerType); !sameType(kind, e.codec) {
		s.refuse(sayContentType, because(ErrContentType, "the request is %q, not %q", clip(kind), e.codec))
		return
	}
	if within := msg.Header.Get(headerWithin); within != "" && msg.Reply != "" { // for a notification nobody waits
		s.within = within
	}
	e.mu.Lock()
	say, err := e.admit(s)
	if err != nil {
		e.mu.Unlock()
		s.refuse(say, err)
		return
	}
	s.key = msg.Reply
	if s.key == "" || e.calls[s.key] != nil {
		s.key = fmt.Sprintf("%p", s) // it cannot be cancelled
	}
	s.ctx.base, s.ctx.ends, s.ctx.serving = e.base, s.came.Add(timeout), s
	e.calls[s.key] = s
	if e.free() || e.nested(s) {
		e.running++
		e.ready.push(s)
	} else {
		e.waiting = append(e.waiting, s)
	}
	watch := !e.watching
	e.watching = true
	h := e.look()
	e.mu.Unlock()
	h.wake()
	if watch {
		e.watch()
	}
}

// admit says why a call is refused. It is called with the lock held.
func (e *Endpoint) admit(s *serving) (say string, err error) {
	switch {
	case e.closing || s.msg.Subject == e.drained || e.base.Err() != nil:
		return sayDraining, ErrDraining
	case e.free() || e.nested(s):
		return "", nil
	}
	if e.full() {
		e.dropDead()
	}
	if e.full() {
		return sayBusy, because(ErrBusy, "%d run, %d wait", e.active(), len(e.waiting))
	}
	return "", nil
}

// active is how many handlers run. It is called with the lock held.
func (e *Endpoint) active() int { return e.running - e.telling }

// tellingMost is how many calls of which only the end has to be told may be in nobody's way: more are not told as fast as they come.
const tellingMost = 64

// free says whether a call that comes runs at once. Whose handler has returned is in nobody's way: its caller may have the answer already, and
// the next call on its way. It is called with the lock held.
func (e *Endpoint) free() bool {
	return len(e.waiting) == 0 && e.active() < e.opts.concurrency && e.running < e.opts.concurrency+tellingMost
}

// full says whether there is no room for another call. Of those that wait, some have their turn as soon as the end of others is told. It is
// called with the lock held.
func (e *Endpoint) full() bool {
	turns := min(max(e.opts.concurrency-e.active(), 0), tellingMost)
	return len(e.waiting)-turns >= e.opts.queue
}

// dropDead makes room where calls wait for which nobody waits any more. It is called with the lock held.
func (e *Endpoint) dropDead() {
	left := e.waiting[:0]
	for _, s := range e.waiting {
		if s.ctx.Err() == nil {
			left = append(left, s)
			continue
		}
		delete(e.calls, s.key)
		go s.refuse(s.expired())
	}
	clear(e.waiting[len(left):])
	e.waiting = left
}

// cancel ends the call whose answer nobody wants any more.
func (e *Endpoint) cancel(reply string) {
	e.mu.Lock()
	s := e.calls[reply]
	e.mu.Unlock()
	if s != nil {
		s.ctx.cancel()
	}
}

// ended takes out a call that a hand has run, and returns the next one for it, nil if there is none.
func (e *Endpoint) ended(h hand, s *serving) *serving {
	e.mu.Lock()
	e.remove(s)
	next, other := e.next(h)
	e.mu.Unlock()
	other.wake()
	return next
}

// gone takes out a call whose hand is no more.
func (e *Endpoint) gone(s *serving) {
	e.mu.Lock()
	e.remove(s)
	other := e.look()
	e.mu.Unlock()
	other.wake()
}

// remove takes out a call that has run; one that waits for that is ready. It is called with the lock held.
func (e *Endpoint) remove(s *serving) {
	delete(e.calls, s.key)
	if s.told {
		e.telling--
	}
	e.running--
	if len(e.waiting) > 0 && e.active() < e.opts.concurrency {
		e.running++
		e.ready.push(e.waiting[0])
		e.waiting[0] = nil
		e.waiting = e.waiting[1:]
	}
	e.settled()
}

// tell tells hooks and the log of a call that has ended.
func (e *Endpoint) tell(s *serving, ran bool, took time.Duration, err error) {
	if e.hooks != nil {
		e.hooks.tellServed(ServedInfo{Scope: e.scope.Name(), Method: e.method, Waited: s.waited, Took: took, Ran: ran, Err: err})
	}
	if !e.log.Enabled(s.context(), slog.LevelDebug) {
		return
	}
	attrs := []any{"ran", ran, "took", took}
	if err != nil {
		attrs = append(attrs, "error", discreet(err))
	}
	e.log.Debug("served", attrs...)
}
