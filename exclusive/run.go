package exclusive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rolebus/rolebus"
)

// Run has a function called, with a context and the token of the term, whenever this node holds a name, until ctx is over: it campaigns as
// [Campaign] does, calls the function, waits until it has returned, passes the name on, and begins again.
//
// The function's context is over as [Term.Context] is, and when ctx is; it has the values of ctx. The function is to return then: as long as it runs this
// process gives the name up to nobody. But whoever has waited for a lease that was lost takes it all the same, a tenth of the TTL later at
// the earliest: if the function still runs then, that is told in the log and to hooks ([HookOutlived]), and again when it has returned.
//
// If the function returns nil, or an error after its context has ended, Run begins again: others have the first turn. If it returns an error while
// its term lasts Run passes the name on, and returns that error. If it panics, or ends its goroutine, the term ends, and the panic comes out: the
// function is called on the goroutine of the caller of Run.
//
// Whoever leaves the scope, or shuts the Bus down, waits for the function: within it, that waits for itself, until its own context is over.
//
// Run returns the error of ctx when that is over, and otherwise one of those that end a campaign for good: see [Campaign]. f must not be nil.
func Run(ctx context.Context, s *rolebus.Scope, name string, f func(ctx context.Context, token uint64) error, opts ...Option) error {
	if f == nil {
		panic(prefix + "nil function")
	}
	c, err := newCampaign(ctx, s, name, opts)
	if err != nil {
		return failed("run", name, s, err)
	}
	c.keep = true
	for {
		t, err := c.run(ctx)
		if err != nil {
			return failed("run", name, s, err)
		}
		if err = t.hold(ctx, f); err != nil {
			return err
		}
		sleep(ctx, othersFirst)
	}
}

// othersFirst is for how long who has given a name up lets others have it.
const othersFirst = 50 * time.Millisecond

// hold calls the function of Run, and passes the term on when it has returned. It returns its error if the term lasted until then.
func (t *Term) hold(ctx context.Context, f func(ctx context.Context, token uint64) error) (err error) {
	work, cancel := context.WithCancelCause(valued{t.ctx, ctx})
	defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
	stop := t.watchOutlived()
	defer func() { // also after a panic
		lasted := t.live()
		t.end(ErrResigned)
		cancel(ErrResigned)
		stop()
		if !lasted {
			t.let() // whoever waits for the bucket waits for what may be unreachable
			return
		}
		within, enough := context.WithTimeout(context.WithoutCancel(ctx), requestPatience)
		defer enough()
		if late := t.resign(within, ErrResigned); late != nil && ctx.Err() == nil {
			t.book.log.Warn("a term is not passed on yet", "name", t.name, "seat", t.seat, "token", t.claim.token, "error", late)
		}
	}()
	if work.Err() != nil {
		return nil // over before it began, when the scope was being left: nobody would wait for the function
	}
	if err = f(work, t.claim.token); work.Err() != nil {
		return nil
	}
	return err
}

// valued is a context with the values, and the deadline, of another one.
type valued struct {
	context.Context
	values context.Context
}

func (v valued) Deadline() (time.Time, bool) { return v.values.Deadline() }

func (v valued) Value(key any) any {
	if value := v.Context.Value(key); value != nil {
		return value
	}
	return v.values.Value(key)
}

// watchOutlived tells if the function still runs when somebody else may have the next term.
func (t *Term) watchOutlived() (stop func()) {
	done := make(chan struct{})
	stopped := make(chan struct{})
	cancel := context.AfterFunc(t.ctx, func() {
		defer close(stopped)
		if t.lease.Err() == nil && !errors.Is(context.Cause(t.ctx), ErrTaken) { // its claim stands until the function has returned
			select {
			case <-done:
				return
			case <-t.lease.Done():
			}
		}
		began, cause := time.Now(), context.Cause(t.ctx)
		timer := time.NewTimer(t.claim.ttl / 10)
		defer timer.Stop()
		select {
		case <-done:
			return
		case <-timer.C:
		}
		t.book.log.Warn("a term is over, and its function still runs: somebody else may have the next one",
			"name", t.name, "seat", t.seat, "token", t.claim.token, "cause", cause)
		t.tellOutlived(began, cause, false)
		<-done
		t.book.log.Warn("the function of a term that was over has returned", "name", t.name, "seat", t.seat, "token", t.claim.token, "outlived", time.Since(began))
		t.tellOutlived(began, cause, true)
	})
	return func() {
		if !cancel() {
			close(done)
			<-stopped
		}
	}
}

func (t *Term) tellOutlived(since time.Time, cause error, over bool) {
	info := t.info(time.Since(since))
	info.Err, info.Over = cause, over
	t.hooks.tellOutlived(info)
}

// errLeaving ends terms when the scope is being left.
var errLeaving = fmt.Errorf("it is being left: %w", rolebus.ErrNotJoined)

// drain gives up all terms when the scope is being left or the Bus shuts down. It waits for the functions of Run, and for those who hand
// over partitions.
func (b *book) drain(ctx context.Context) {
	b.mu.Lock()
	b.drained = b.scope.Incarnation()
	var terms []*Term
	for _, k := range b.posts {
		if k.term != nil {
			terms = append(terms, k.term)
		}
		k.wake()
	}
	b.mu.Unlock()
	for _, t := range terms {
		t.leave(errLeaving)
	}
	for _, t := range terms {
		if t.keep || t.handover != nil {
			select {
			case <-t.released:
			case <-ctx.Done():
			}
		}
		if t.end(errLeaving); !t.keep {
			t.let()
		}
		if err := b.givenUp(ctx, t); err != nil && !errors.Is(err, rolebus.ErrClosed) {
			b.log.Warn("a term is not passed on before the goodbye, which does it", "name", t.name, "seat", t.seat, "token", t.claim.token, "error", err)
		}
	}
}
