package rolebus

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// leaseReserve is the part of a lease, one in so many, in which a node is no longer sure of it: the server's clock may
// run a little faster than this process's.
const leaseReserve = 10

// lease is what a node knows of its own right to be listed. It goes by this process's monotonic clock, from the moment
// before the heartbeat was sent.
type lease struct {
	hooks *hooks
	scope string

	mu     sync.Mutex
	until  time.Time // this node is certain to be listed until then
	ctx    context.Context
	cancel context.CancelCauseFunc // of ctx; nil if the node is not sure now
	timer  *time.Timer             // loses the lease at until
	lost   time.Time               // when it was not sure any more; hooks only
	ended  error                   // why it will never be sure again
}

// renew says that the switch cannot fire before a time.
func (l *lease) renew(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := time.Until(until)
	if l.ended != nil || left <= 0 || !until.After(l.until) && l.cancel != nil {
		return
	}
	l.until = until
	if l.cancel == nil {
		l.hooks.tellLeaseBack(l)
		l.ctx, l.cancel = context.WithCancelCause(context.Background())
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	l.timer = time.AfterFunc(left, func() {
		l.lose(until, fmt.Errorf("%w: no heartbeat got through in time", ErrLeaseLost))
	})
}

// lose says that the node is not sure any more, unless the lease was renewed since it was certain until a time; zero for
// whatever time.
func (l *lease) lose(until time.Time, cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loseLocked(until, cause)
}

func (l *lease) loseLocked(until time.Time, cause error) {
	if l.cancel == nil || !until.IsZero() && !l.until.Equal(until) {
		return
	}
	l.timer.Stop()
	l.cancel(cause)
	l.cancel = nil
	l.hooks.tellLeaseLost(l, cause)
}

// end says that the node will never be sure again.
func (l *lease) end(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loseLocked(time.Time{}, cause)
	l.ended = cause
}

// left returns for how long the node is certain to be listed.
func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel == nil {
		return 0
	}
	return max(0, time.Until(l.until))
}

// context returns the context that is over when the node is not sure any more.
func (l *lease) context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended != nil:
		return over(l.ended)
	case l.cancel == nil && l.ctx != nil:
		return l.ctx
	case l.cancel == nil:
		return over(fmt.Errorf("%w: not taken yet", ErrLeaseLost))
	case time.Now().After(l.until):
		// This process stood still, and the timer has not come round yet.
		return over(fmt.Errorf("%w: no heartbeat got through in time", ErrLeaseLost))
	}
	return l.ctx
}

// over returns a context that has ended.
func over(cause error) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	return ctx
}
