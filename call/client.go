package call

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
)

// client is what all methods that are called in a scope share: where answers come in, and what is under way.
type client struct {
	scope *rolebus.Scope
	bus   *rolebus.Bus
	self  string // this process's node, also of an observer
	loads loads
	count atomic.Bool // there is a method that picks by the loads

	mu      sync.Mutex
	inbox   string // with the dot behind it; "" before the first call
	pending map[string]*pending
	lookout bool // somebody looks out
	known   map[target]string

	hearing   sync.Mutex
	listening atomic.Bool  // what comes to the inbox is heard
	most      atomic.Int64 // see largest
}

type clientKey struct{}

func clientOf(s *rolebus.Scope) *client {
	return s.Keep(clientKey{}, func() any {
		b := s.Bus()
		return &client{scope: s, bus: b, self: b.Name(), pending: map[string]*pending{}, known: map[target]string{}}
	}).(*client)
}

// pending is an attempt that waits for its answer.
type pending struct {
	answer chan *nats.Msg // has room for the one answer
	news   chan struct{}  // the node may have gone, or the Bus stops
	timer  *time.Timer
	node   *rolebus.Node // under the lock of the client; nil if it does not matter
}

// spare are those that wait for nothing now.
var spare = sync.Pool{New: func() any {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &pending{answer: make(chan *nats.Msg, 1), news: make(chan struct{}, 1), timer: timer}
}}

// rest has one that is expected nowhere any more wait for nothing.
func (p *pending) rest() {
	p.timer.Stop()
	select {
	case <-p.news:
	default:
	}
	p.node = nil
	spare.Put(p)
}

// aliveToken is what a callee may ask a caller's inbox by: nobody answers, but the server says whether anybody is there. No call's own
// token is like it.
const aliveToken = "alive"

// expect returns the subject to which an answer is to come, and what it comes to. Its last token cannot be guessed by those who get
// other calls.
func (c *client) expect(n *rolebus.Node, method string) (subject, reply string, p *pending) {
	p = spare.Get().(*pending)
	p.node = n
	c.mu.Lock()
	if c.inbox == "" {
		c.inbox = c.bus.Conn().NewInbox() + "." + kindOfSubject + "."
	}
	for reply == "" || c.pending[reply[len(c.inbox):]] != nil {
		var buffer [128]byte
		reply = string(strconv.AppendUint(append(buffer[:0], c.inbox...), rand.Uint64(), 36))
	}
	if n != nil {
		subject = c.address(n, method)
	}
	c.pending[reply[len(c.inbox):]] = p
	alone := !c.lookout
	c.lookout = true
	c.mu.Unlock()
	if alone {
		c.lookedFor()
	}
	return subject, reply, p
}

// listen has what comes to the inbox be heard from now on. It is called where there is a connection.
func (c *client) listen() error {
	if c.listening.Load() {
		return nil
	}
	c.hearing.Lock()
	defer c.hearing.Unlock()
	if c.listening.Load() {
		return nil
	}
	_, err := c.bus.Subscribe(c.inbox+"*", c.hear)
	c.listening.Store(err == nil)
	return err
}

// target is a method of one life of a node.
type target struct {
	life
	method string
}

// mostKnown is how many subjects are remembered. When there are so many, most are of lives that have ended, and all are forgotten.
const mostKnown = 4096

// address returns the subject of a target. It is called with the lock held.
func (c *client) address(n *rolebus.Node, method string) string {
	to := target{lifeIn(n), method}
	subject, is := c.known[to]
	if !is {
		if len(c.known) >= mostKnown {
			clear(c.known)
		}
		subject = c.scope.Address(kindOfSubject, n, method)
		c.known[to] = subject
	}
	return subject
}

// hear takes in an answer. What nobody waits for any more is dropped.
func (c *client) hear(msg *nats.Msg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(msg.Subject) <= len(c.inbox) {
		return
	}
	token := msg.Subject[len(c.inbox):]
	if p := c.pending[token]; p != nil {
		delete(c.pending, token)
		p.answer <- msg // under the lock: whoever gives up looks here, too
	}
}

// done ends the waiting. It returns an answer that came meanwhile, nil if none did.
func (c *client) done(reply string, p *pending) (late *nats.Msg) {
	c.mu.Lock()
	delete(c.pending, reply[len(c.inbox):])
	c.mu.Unlock()
	select {
	case late = <-p.answer:
	default:
	}
	p.rest()
	return late
}

// request is what each attempt of a call sends.
type request struct {
	method  string
	data    []byte
	codec   string      // its content type
	header  nats.Header // that tells it; shared, and never changed
	timeout time.Duration
	inject  func(context.Context, nats.Header)
}

// outcome is what came of an attempt.
type outcome struct {
	data []byte // the output, if err is nil
	ran  Ran
	err  error
}

func notRun(err error) outcome { return outcome{ran: RanNo, err: err} }
func maybe(err error) outcome  { return outcome{ran: RanMaybe, err: err} }

const (
	// grace is for how long an answer may still come of a node that has gone: on another way than the news of its end. As long as
	// [rolebus.Bus.Shutdown] waits for those who have not heard: what a node that drains refuses would else be said to have perhaps run.
	grace = 250 * time.Millisecond
	// probeTime is how long it may take to find out whether a node is there for which nobody listens.
	probeTime = time.Second
)

// attempt asks one life of a node.
func (c *client) attempt(ctx context.Context, n *rolebus.Node, req *request) outcome {
	if !c.count.Load() {
		return c.try(ctx, n, req)
	}
	var out outcome
	c.loads.begin(n)
	defer func() { c.loads.end(n, errors.Is(out.err, ErrBusy)) }()
	out = c.try(ctx, n, req)
	return out
}

func (c *client) try(ctx context.Context, n *rolebus.Node, req *request) outcome {
	patience := req.timeout
	if end, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(end))
	}
	if err := ctx.Err(); err != nil || patience <= 0 {
		return notRun(over(ctx))
	}
	far, patience, err := c.reach(ctx, n, patience)
	if err != nil {
		return notRun(err)
	}
	subject, reply, p := c.expect(n, req.method)
	awaited := false
	defer func() {
		if !awaited { // also if a function of Inject ends the goroutine
			c.done(reply, p)
		}
	}()
	ends := time.Now().Add(patience)
	p.timer.Reset(patience)
	err = c.send(ctx, req, subject, reply, patience, far)
	if err != nil {
		return notRun(err)
	}
	awaited = true
	return c.await(ctx, n, req, subject, reply, p, far, ends)
}

// await waits for the answer to what was sent.
func (c *client) await(ctx context.Context, n *rolebus.Node, req *request, subject, reply string, p *pending, far bool, ends time.Time) outcome {
	var gone error
	cut := false // p.timer tells of the grace, not of the timeout
	for {
		if gone == nil {
			snap := c.scope.Snapshot()
			if gone = c.gone(snap, n); gone != nil {
				wait := grace
				if snap.Suspects().Find(n.Name()) != nil {
					wait = 0
				}
				cut = p.timer.Stop()
				p.timer.Reset(wait)
			}
		}
		var why error
		select {
		case msg := <-p.answer:
			p.rest() // who has brought it expects nothing more
			return c.read(ctx, msg, n, req, ends)
		case <-p.news:
			if c.bus.Context().Err() == nil {
				continue
			}
			why = c.stopped(rolebus.ErrClosed)
		case <-p.timer.C:
			switch why = gone; {
			case gone == nil:
				why = c.timedOut(subject)
			case !cut:
				why = fmt.Errorf("%w: %w", ErrTimeout, gone)
			}
		case <-ctx.Done():
			if why = over(ctx); errors.Is(why, ErrTimeout) {
				why = c.timedOut(subject)
			}
		}
		if late := c.done(reply, p); late != nil {
			return c.read(ctx, late, n, req, ends)
		}
		c.cancel(n, subject, reply, req, far)
		return maybe(why)
	}
}

// read makes of an answer what it means.
func (c *client) read(ctx context.Context, msg *nats.Msg, n *rolebus.Node, req *request, ends time.Time) outcome {
	if noResponders(msg) {
		return notRun(c.nobody(ctx, n, ends))
	}
	ran, err := readAnswer(msg, req.method, req.codec, n.Name(), n.Incarnation())
	if err != nil {
		return outcome{ran: ran, err: err}
	}
	return outcome{data: msg.Data, ran: RanYes}
}

// nobody says why nobody listens: the node is gone, or has no such method. What it finds counts for the fleet's view of the node, too.
func (c *client) nobody(ctx context.Context, n *rolebus.Node, ends time.Time) error {
	if gone := c.gone(c.scope.Snapshot(), n); gone != nil {
		return gone
	}
	ctx, cancel := context.WithTimeout(ctx, min(probeTime, time.Until(ends)))
	defer cancel()
	switch err := c.scope.Probe(ctx, n); {
	case err == nil:
		return ErrNoMethod
	case errors.Is(err, rolebus.ErrNodeGone):
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	default:
		return fmt.Errorf("%w: %w: %w", ErrUnreachable, nats.ErrNoResponders, err)
	}
}

// gone says why a node cannot be counted on any more, nil if it is listed.
func (c *client) gone(snap *rolebus.Snapshot, n *rolebus.Node) error {
	switch {
	case listed(snap, n):
		return nil
	case !snap.Joined():
		return fmt.Errorf("%w: %w", ErrUnreachable, rolebus.ErrNotJoined)
	case snap.Node(n.Name()) != nil:
		return because(ErrUnreachable, "%w: %s began another life", rolebus.ErrNodeGone, clip(n.Name()))
	case snap.Suspects().Find(n.Name()) != nil:
		return because(ErrUnreachable, "%w: %s cannot be reached", rolebus.ErrNodeGone, clip(n.Name()))
	}
	return because(ErrUnreachable, "%w: %s is not listed any more", rolebus.ErrNodeGone, clip(n.Name()))
}

// over is why a caller's context is over, or is about to be: then its time is up.
func over(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	var other *CallError
	if errors.As(cause, &other) { // as among several that an errgroup makes: it did not run, say, of which this one knows nothing
		cause = errors.New(cause.Error())
	}
	switch {
	case err == nil || errors.Is(err, context.DeadlineExceeded):
		err = ErrTimeout
	case errors.Is(cause, err):
		return cause
	}
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// stopped is why the Bus has stopped; err if it has not.
func (c *client) stopped(err error) error {
	cause := context.Cause(c.bus.Context())
	switch {
	case cause == nil:
		return err
	case errors.Is(cause, rolebus.ErrClosed):
		return cause
	}
	return fmt.Errorf("%w: %w", rolebus.ErrClosed, cause)
}

// timedOut says that time is up, and what NATS said meanwhile of the subject, or of where the answer would come: a missing right is told
// in no other way.
func (c *client) timedOut(subject string) error {
	for _, subject := range [...]string{subject, c.inbox + "*"} {
		if refused := refusedBy(c.bus, subject); refused != nil {
			return fmt.Errorf("%w: %w", ErrTimeout, refused)
		}
	}
	return ErrTimeout
}
