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
// before the heartbeat was sent, as long as the wall clock says the same.
type lease struct {
	hooks   *hooks
	scope   string
	machine *machine
	parting chan struct{} // poked when the clocks are found apart
	sure    time.Duration // for how long a heartbeat makes certain

	mu     sync.Mutex
	armed  instant   // before the heartbeat was sent
	until  time.Time // this node is certain to be listed until then
	since  time.Time // no heartbeat counts that was sent before
	ctx    context.Context
	cancel context.CancelCauseFunc // of ctx; nil if the node is not sure now
	timer  *time.Timer             // loses the lease at until
	lost   time.Time               // when it was not sure any more; hooks only
	ended  error                   // why it will never be sure again
}

// Why a lease is lost.
var (
	errNotInTime = fmt.Errorf("%w: no heartbeat got through in time", ErrLeaseLost)
	errSlept     = fmt.Errorf("%w: this machine has slept, or its clock was set", ErrLeaseLost)
	errAhead     = fmt.Errorf("%w: the server's clock was set ahead", ErrLeaseLost)
)

// renew says that a heartbeat got through, and before when it was sent.
func (l *lease) renew(armed instant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	until := armed.mono.Add(l.sure)
	if l.ended != nil || armed.mono.Before(l.since) || time.Until(until) <= 0 || !until.After(l.until) && l.cancel != nil {
		return
	}
	if l.machine.slept(l.machine.now(), armed) {
		poke(l.parting)
		return
	}
	l.armed = armed
	if l.cancel == nil {
		l.hooks.tellLeaseBack(l)
		l.ctx, l.cancel = context.WithCancelCause(context.Background())
	}
	l.setLocked(until)
}

// shorten says that the switch fires earlier by so much, as the server's clock is ahead of that for which it was set.
func (l *lease) shorten(by time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = time.Now()
	until := l.until.Add(-by)
	switch {
	case l.cancel == nil:
	case time.Until(until) <= 0:
		l.loseLocked(time.Time{}, errAhead)
	default:
		l.setLocked(until)
	}
}

func (l *lease) setLocked(until time.Time) {
	l.until = until
	if l.timer != nil {
		l.timer.Stop()
	}
	l.timer = time.AfterFunc(time.Until(until), func() {
		l.lose(until, errNotInTime)
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
	if l.checkLocked(); l.cancel == nil {
		return 0
	}
	return max(0, time.Until(l.until))
}

// checkLocked loses the lease if it is not certain any more and nobody has come round to it: the timer goes by a clock that stands
// still while the machine sleeps, and is as late as this process.
func (l *lease) checkLocked() {
	switch now := l.machine.now(); {
	case l.cancel == nil:
	case l.machine.slept(now, l.armed):
		l.loseLocked(time.Time{}, errSlept)
		poke(l.parting)
	case now.mono.After(l.until):
		l.loseLocked(time.Time{}, errNotInTime)
	}
}

// context returns the context that is over when the node is not sure any more.
func (l *lease) context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checkLocked()
	switch {
	case l.ended != nil:
		return over(l.ended)
	case l.ctx == nil:
		return over(fmt.Errorf("%w: not taken yet", ErrLeaseLost))
	}
	return l.ctx
}

// over returns a context that has ended.
func over(cause error) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	return ctx
}
