package rolebus

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Subscriptions that outlive a connection.

// lasting is one of them. What comes goes into messages, or to an ear.
type lasting struct {
	trunk          *trunk
	subject, queue string
	messages       chan *nats.Msg
	ear            *ear
	dropped        chan nats.SubStatus // nil if nobody asked

	// Under the trunk's mu:
	sub  *nats.Subscription // nil while there is no connection to subscribe on
	over chan struct{}      // closed when sub tells of no dropped messages any more
}

// ear hands on what comes, one message after another, whichever of nats.go's goroutines brings it: each subscription has its own, and
// that of a connection, or of a life, that is over may still be at its last message.
type ear struct {
	handle func(*nats.Msg)
	turn   chan struct{} // held while handle is called
	deaf   atomic.Bool   // nothing more is handed on
}

func newEar(handle func(*nats.Msg)) *ear { return &ear{handle: handle, turn: make(chan struct{}, 1)} }

func (e *ear) hear(msg *nats.Msg) {
	e.turn <- struct{}{}
	defer func() { <-e.turn }()
	if !e.deaf.Load() {
		e.handle(msg)
	}
}

// hush returns when nothing is handed on any more; false if ctx is over first.
func (e *ear) hush(ctx context.Context) bool {
	e.deaf.Store(true)
	select {
	case e.turn <- struct{}{}:
		<-e.turn
		return true
	case <-ctx.Done():
		return false
	}
}

// stand subscribes until stop, whatever becomes of the connection. If asked, dropped tells when messages were dropped.
func (t *trunk) stand(subject, queue string, messages chan *nats.Msg, tellDropped bool) (*lasting, error) {
	s := &lasting{trunk: t, subject: subject, queue: queue, messages: messages}
	if tellDropped {
		s.dropped = make(chan nats.SubStatus, 1)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := s.subscribe(t.conn()); err != nil {
		return nil, t.lost(err)
	}
	t.lasting[s] = true
	return s, nil
}

// subscribe makes the subscription on a connection. The caller holds the trunk's mu.
func (s *lasting) subscribe(nc *nats.Conn) (err error) {
	if s.ear != nil {
		s.sub, err = nc.Subscribe(s.subject, s.ear.hear)
		if err == nil {
			err = s.sub.SetPendingLimits(-1, -1)
		}
		return err
	}
	if s.sub, err = nc.ChanQueueSubscribe(s.subject, s.queue, s.messages); err != nil || s.dropped == nil {
		return err
	}
	slow, over := s.sub.StatusChanged(nats.SubscriptionSlowConsumer), make(chan struct{})
	s.forget()
	s.over = over
	go func() { // until forget
		for {
			select {
			case status, open := <-slow:
				if !open {
					return
				}
				select {
				case s.dropped <- status:
				default:
				}
			case <-over:
				return
			}
		}
	}()
	return nil
}

// lend subscribes until stop, or the end of all, and hands to an ear what comes.
func (t *trunk) lend(subject string, e *ear) (*lasting, error) {
	s := &lasting{trunk: t, subject: subject, ear: e}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil, ErrClosed
	}
	nc := t.conn()
	if err := s.subscribe(nc); err != nil && !(t.own && nc.IsClosed()) { // else there is soon another one
		return nil, t.lost(err)
	}
	t.lasting[s] = true
	return s, nil
}

// forget ends what waits to hear that messages were dropped: of a connection that is closed nats.go says nothing. The caller holds
// the trunk's mu.
func (s *lasting) forget() {
	if s.over != nil {
		close(s.over)
		s.over = nil
	}
}

// stop ends it. What comes to an ear meanwhile is still handed on, if there is time.
func (s *lasting) stop(hurry bool) {
	s.trunk.mu.Lock()
	defer s.trunk.mu.Unlock()
	delete(s.trunk.lasting, s)
	s.forget()
	if s.sub == nil {
		return
	}
	if s.ear != nil && !hurry && s.trunk.drain(s.sub) {
		s.trunk.draining[s.sub] = s.ear
		return
	}
	_ = s.sub.Unsubscribe() // fails only if the connection is closed already
}

// drain has what is on its way for a subscription still handed on; false if nothing can be. The caller holds mu.
func (t *trunk) drain(sub *nats.Subscription) bool {
	for done := range t.draining {
		if !done.IsValid() {
			delete(t.draining, done)
		}
	}
	return !t.ended && t.conn().IsConnected() && sub.Drain() == nil
}

// lastWords is for how long what is on its way may come before all subscriptions end.
const lastWords = 250 * time.Millisecond

// drained waits until nothing is on its way any more to what was stopped: whoever sent it is answered, and whoever sends something later
// hears from a server that nobody listens. It takes a round trip.
func (t *trunk) drained(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	for t.drains() && sleep(ctx, time.Millisecond) {
	}
}

// drains says whether something may still be on its way.
func (t *trunk) drains() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for sub := range t.draining {
		if sub.IsValid() && t.conn().IsConnected() {
			return true
		}
	}
	return false
}

// cutShort returns the subscriptions that were stopped and of which something may still have come: the connection was lost, and on the next
// one nats.go would subscribe them again, and forget them after that. They are the caller's to end, which waits while nats.go dials.
func (t *trunk) cutShort() (subs []*nats.Subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for sub := range t.draining {
		subs = append(subs, sub)
	}
	clear(t.draining)
	return subs
}

// deafen ends all subscriptions with an ear at once, and returns the ears: one may be at a message.
func (t *trunk) deafen() (ears []*ear) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	for s := range t.lasting {
		if s.ear == nil {
			continue
		}
		delete(t.lasting, s)
		ears = append(ears, s.ear)
		if s.sub != nil {
			_ = s.sub.Unsubscribe()
		}
	}
	for sub, e := range t.draining {
		ears = append(ears, e)
		_ = sub.Unsubscribe()
	}
	clear(t.draining)
	return ears
}

// replace has the trunk go on with another connection, on which everything is subscribed again.
func (t *trunk) replace(nc *nats.Conn) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.before.Add(t.conn().Stats().Reconnects + 1)
	t.current.Store(nc)
	var errs []error
	for s := range t.lasting {
		errs = append(errs, s.subscribe(nc))
	}
	return errors.Join(errs...)
}
