package rolebus

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// How whoever waits for NATS does not wait in silence, and not for longer than he has time.

// lateGrace is what a call has to come to a good end when its context is over.
const lateGrace = 250 * time.Millisecond

// within returns what f does, or, soon after ctx is over, why there is nothing: nats.go and the system's resolver do not hear of
// ctx. What f brings about after that is given to late.
func within[T any](ctx context.Context, why *waiting, f func() (T, error), late func(T)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done, gone := make(chan outcome), make(chan struct{})
	go func() { // it ends when f does, if late: nobody waits for it then
		value, err := f()
		select {
		case done <- outcome{value, err}:
		case <-gone:
			if err == nil {
				late(value)
			}
		}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
	}
	timer := time.NewTimer(lateGrace)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.value, o.err
	case <-timer.C:
		close(gone)
		var none T
		if why := why.last(); why != nil {
			return none, overBy(ctx, why)
		}
		return none, ended(ctx)
	}
}

const (
	tellAgain  = time.Second // at first: then twice as long each time
	tellSeldom = time.Minute
)

// waiting tells the log why something is waited for: at first, and then at growing intervals.
type waiting struct {
	log *slog.Logger

	mu   sync.Mutex
	why  error
	next time.Time // when it is told again
	wait time.Duration
}

// due says whether it is time to tell.
func (w *waiting) due(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !now.Before(w.next)
}

// note takes note of why something is waited for, or has failed.
func (w *waiting) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.why = err
}

// tell takes note of it, too, and says so if it is time.
func (w *waiting) tell(now time.Time, err error, about ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.why = err
	if now.Before(w.next) {
		return
	}
	w.wait = min(max(2*w.wait, tellAgain), tellSeldom)
	w.next = now.Add(w.wait)
	w.log.Warn("waiting for NATS", append(about, "error", err)...)
}

// last returns the last reason, nil if there was none.
func (w *waiting) last() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.why
}
