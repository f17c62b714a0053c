package rolebus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rolebus/rolebus/internal/hook"
)

// The user's functions that end its work, and the waiting for them.

// drain is the work that has to end before the Bus does, or before a scope is left.
type drain struct {
	of, op  string // which functions it calls, and what they hold up
	log     *slog.Logger
	waiting context.Context // over when nobody waits for it any more
	enough  context.CancelCauseFunc
	done    chan struct{} // closed when all has ended, or nobody waits any more
	err     error         // set before done is closed

	mu      sync.Mutex
	begun   bool
	errands []*errand       // not called yet
	ctx     context.Context // what they are called with; nil before they are
	running int
	idle    chan struct{} // closed when none is running any more
	errs    []error
}

// errand is a function of OnShutdown or OnLeave.
type errand struct{ do func(context.Context) }

func newDrain(of, op string, log *slog.Logger) *drain {
	d := &drain{of: of, op: op, log: log, done: make(chan struct{})}
	d.waiting, d.enough = context.WithCancelCause(context.Background())
	return d
}

// begin says whether nobody has begun it before.
func (d *drain) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := !d.begun
	d.begun = true
	return first
}

func (d *drain) end(err error) {
	d.err = err
	close(d.done)
}

// see has all end, and tells those who wait for it.
func (d *drain) see(ctx context.Context, left time.Duration) error {
	ctx, cancel := d.while(ctx)
	defer cancel()
	d.end(d.run(ctx, left))
	return d.err
}

// await waits for whoever is at it, for no longer than there is time: then nobody waits any more.
func (d *drain) await(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { d.enough(ended(ctx)) })()
	<-d.done
	return d.err
}

// due says whether there is anything to call.
func (d *drain) due() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.errands) > 0
}

// while returns a context that is over, too, when nobody waits any more.
func (d *drain) while(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(d.waiting, func() { cancel(context.Cause(d.waiting)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

func (d *drain) add(f func(context.Context)) (stop func() bool) {
	e := &errand{f}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx != nil {
		d.start(e)
		return func() bool { return false }
	}
	d.errands = append(d.errands, e)
	return func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		at := slices.Index(d.errands, e)
		if at < 0 {
			return false
		}
		d.errands = slices.Delete(d.errands, at, at+1)
		return true
	}
}

// start calls a function. The caller holds mu.
func (d *drain) start(e *errand) {
	if d.running == 0 {
		d.idle = make(chan struct{})
	}
	d.running++
	ctx := d.ctx
	go func() { // joined by run, which does not wait for ever: it is the user's code
		what := "a function of " + d.of + " panicked"
		err := errors.New("a function of " + d.of + " ended its goroutine")
		defer func() {
			var fault any = "runtime.Goexit"
			if panicked := recover(); panicked != nil {
				fault, err = panicked, fmt.Errorf("%s: %v", what, panicked)
			}
			if err != nil {
				hook.Blame(d.log, what, fault)
			}
			d.returned(err)
		}()
		e.do(ctx)
		err = nil
	}()
}

func (d *drain) returned(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.errs = append(d.errs, failed(d.op, err))
	if d.running--; d.running == 0 {
		close(d.idle)
	}
}

// run calls the functions, and waits for them for as long as there is time.
func (d *drain) run(ctx context.Context, left time.Duration) error {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-min(left/10, time.Second)))
		defer cancel()
	}
	d.mu.Lock()
	d.ctx = ctx
	for _, e := range d.errands {
		d.start(e)
	}
	d.errands = nil
	d.mu.Unlock()
	var late <-chan time.Time
	for over := ctx.Done(); ; {
		d.mu.Lock()
		running, idle, errs := d.running, d.idle, errors.Join(d.errs...)
		d.mu.Unlock()
		if running == 0 {
			return errs
		}
		select {
		case <-idle:
		case <-over:
			over, late = nil, time.After(userTime)
		case <-late:
			still := fmt.Errorf("functions of %s that are still running: %d: %w", d.of, running, ended(ctx))
			return errors.Join(errs, failed(d.op, still))
		}
	}
}
