package rolebus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// How a process goes away without work being lost: no roles, then no work, then no node.

const (
	// settling is for how long others may still pick this process after its roles have gone, because they had not heard of it.
	settling = 250 * time.Millisecond

	// userTime is what user code has to return when its own time is up.
	userTime = 100 * time.Millisecond
)

// errShuttingDown is what a Bus says between the beginning of Shutdown and its end.
var errShuttingDown error = &opError{prefix + "bus is shutting down", ErrClosed}

// Shutdown ends the Bus as [Bus.Close] does, and before that lets the work end that others have given this process:
//
//  1. The roles of this node go away in all scopes at once. The node stays listed, without roles, and keeps its leases. From now
//     on whatever would give a role, join a scope or begin to listen for this node ([Scope.Listen]) returns an error that matches
//     [ErrClosed]; roles can still be taken away, reads and watches go on, and [Bus.Err] is still nil.
//  2. If there are functions of [Bus.OnShutdown], or of [Scope.OnLeave] in a scope that is joined, it waits a quarter of a second:
//     another process may have picked this one just before it heard of that. Then it calls them all at the same time, and waits until
//     they have returned.
//  3. It says goodbye in all scopes, and stops.
//
// So a function is called when the bucket has held for a quarter of a second that this node has no roles. What others send who
// picked it by a role has come by then, if an announcement and a message together take no longer than that; a function that takes
// what has come, and no more after that, and returns when all of it is done, loses nothing, though nobody sends anything twice.
// If the roles could not be taken away in time, of which the error tells, that is not so.
//
// It takes no longer than ctx. Of the time that ctx has, a NATS that does not answer costs a third before the functions are
// called, and a third after, each at most the request timeout; the quarter of a second is at most a tenth of the time; the
// functions have the rest, and their context is over a tenth of the time, at most a second, before ctx is. When ctx is over, or
// if it was at the beginning, what is under way has half a second to come to its end: the functions are called in any case, and
// one goodbye is said in each scope. If ctx has no deadline, the functions may take as long as they like.
//
// The error is that of Close, joined with what else did not work: roles whose end was not confirmed ([ErrNotConfirmed]),
// functions that were still running when their context was over (which it matches), that panicked or ended their goroutine.
//
// It may be called more than once, from any goroutine, also on a Bus that has stopped by itself or was closed: each function is
// called once in all, by the first, and each call returns when everything has stopped. Whoever has the least patience decides for
// all: when the ctx of one of several is over it is for each of them, and Close ends the waiting for the functions at once. A
// function or a handler that calls it waits for itself, until ctx is over.
func (b *Bus) Shutdown(ctx context.Context) error {
	if err := b.usable(ctx); err != nil {
		return failed("shut down", err)
	}
	defer context.AfterFunc(ctx, func() { b.hasten(ended(ctx)) })()
	if b.drain.begin() {
		b.drain.end(b.retire(ctx))
	}
	<-b.drain.done // by whoever was first
	b.cancel(ErrClosed)
	<-b.done
	if b.drain.err == nil {
		return b.closeErr
	}
	return errors.Join(b.drain.err, b.closeErr)
}

// OnShutdown has a function called by [Bus.Shutdown], which waits for it: when this node's roles have gone everywhere, and before
// it says goodbye. Its context is over when it has to come to its end. [Bus.Close] calls and waits for no function: it does not
// wait for work.
//
// A function is called on a goroutine of its own. If it panics, or ends the goroutine, that is told as a handler's is (see
// [Handler]), and by the error of Shutdown, and stops nothing else. A function that comes when the others have been called
// already is called at once.
//
// stop takes the function back; it returns false if the function has been called, or was taken back before. f must not be nil.
func (b *Bus) OnShutdown(f func(ctx context.Context)) (stop func() bool) {
	must(b.made())
	if f == nil {
		panic(prefix + "nil function")
	}
	return b.drain.add(f)
}

// retire takes the roles away, and then has the work end that they brought.
func (b *Bus) retire(ctx context.Context) error {
	left := timeLeft(ctx)
	ctx, cancel := b.drain.while(ctx)
	defer cancel()
	third := min(b.opts.timeout, left/3)
	b.farewells.Store(int64(max(third, 1)))
	b.stopGiving(errShuttingDown)
	var err error
	if ctx.Err() == nil {
		err = b.dropRoles(ctx, third)
	}
	scopes := slices.DeleteFunc(b.handles(), func(s *Scope) bool { return !s.exits.open() })
	if b.ctx.Err() == nil && (b.drain.due() || slices.ContainsFunc(scopes, func(s *Scope) bool { return s.exits.due() })) {
		b.settle(ctx, left)
	}
	errs := make([]error, len(scopes))
	var ending sync.WaitGroup
	for i, s := range scopes {
		work, first := s.exits.begin(s)
		ending.Go(func() {
			if first {
				errs[i] = work.see(ctx, left)
			} else {
				errs[i] = work.await(ctx) // Leave is at it
			}
		})
	}
	err = errors.Join(err, b.drain.run(ctx, left))
	ending.Wait()
	return errors.Join(append([]error{err}, errs...)...)
}

// settle waits until all others have heard that the roles are gone, also if nobody else is in sight: observers are not seen.
func (b *Bus) settle(ctx context.Context, left time.Duration) {
	if !b.opts.observer {
		sleep(ctx, min(settling, left/10))
	}
}

// timeLeft is how much time a context has; for ever if it has no deadline.
func timeLeft(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return max(0, time.Until(end))
	}
	return forEver
}

// dropRoles takes this node's roles away in all scopes.
func (b *Bus) dropRoles(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	scopes := b.handles()
	errs := make([]error, len(scopes))
	var dropping sync.WaitGroup
	for i, s := range scopes {
		dropping.Go(func() { errs[i] = s.opErr("shut down", s.dropRoles(ctx)) })
	}
	dropping.Wait()
	if b.ctx.Err() != nil {
		return nil // the goodbye does it, or there is nothing to be done any more
	}
	return errors.Join(errs...)
}

func (s *Scope) dropRoles(ctx context.Context) error {
	m := s.member.Load()
	if m == nil { // it may be joining, or leaving: then that ends soon
		release, err := s.hold(ctx, s.bus.ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotConfirmed, err)
		}
		m = s.member.Load()
		release()
	}
	if m == nil || m.keeper == nil {
		return nil
	}
	err := m.change(ctx, func([]Role) []Role { return nil })
	if errors.Is(err, ErrNotJoined) {
		return nil // it is being left
	}
	return err
}

// hasten ends all waiting, because somebody has no more time for it.
func (b *Bus) hasten(why error) {
	b.drain.enough(why)
	<-b.drain.done
	b.hurry()
}
