package rolebus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// How a scope is left, and the work in it ends before.

// errBeingLeft is what a scope says to whoever would give roles between the beginning of Leave and its end.
var errBeingLeft = fmt.Errorf("it is being left: %w", ErrNotJoined)

// Leave leaves a scope: in one message this node and all its roles there are gone for everybody, and the scope's reads
// find nothing. A message that fails in passing is sent again until ctx is over, at most for the request timeout. The error
// matches [ErrNotJoined], [ErrClosed], or, if the message did not get through, [ErrNotConfirmed]: the scope is left all the
// same, and others see the node go when its lease ends. If ctx is over before anything was done, the error is ctx's, and the
// scope is not left.
//
// If there are functions of [Scope.OnLeave], it does before that what [Bus.Shutdown] does, for this scope alone and in the same
// shares of ctx's time: the roles go away, and the node stays listed without any; a quarter of a second later the functions are called,
// and when they have returned it says goodbye. Meanwhile whatever would give a role here fails with [ErrNotJoined], and a [Bus.Join]
// waits. When ctx is over, what is under way has half a second to come to its end, one goodbye is said in any case, and the error tells
// what did not work, as that of Shutdown does.
//
// Of several at once the first leaves, and each other one waits for its end, and gets ErrNotJoined. Close ends the waiting for the
// functions at once, and when a Shutdown is under way whoever has the least patience decides for both. A function that calls Leave for
// its own scope waits for itself, until ctx is over.
func (b *Bus) Leave(ctx context.Context, scope string) error {
	if err := b.usable(ctx); err != nil {
		return failed("leave", err)
	}
	return b.In(scope).leave(ctx, true)
}

// leave leaves the scope. If it is to be orderly, the user's functions are called before.
func (s *Scope) leave(ctx context.Context, orderly bool) error {
	if err := ended(ctx); err != nil {
		return s.opErr("leave", err)
	}
	release, err := s.hold(ctx, s.bus.ctx)
	if err != nil {
		return s.opErr("leave", err)
	}
	defer release()
	m := s.member.Load()
	if m == nil {
		return s.opErr("leave", ErrNotJoined)
	}
	defer s.exits.over()
	if !orderly || !s.exits.due() {
		s.member.Store(nil)
		within, cancel := context.WithTimeout(ctx, s.bus.opts.timeout)
		defer cancel()
		within, again, done := s.bus.farewell(within, context.Background(), s.bus.opts.timeout) // whoever ends the Bus meanwhile may have less time
		defer done()
		return s.opErr("leave", m.end(within, again, emptySnapshot))
	}
	left := timeLeft(ctx)
	third := max(min(s.bus.opts.timeout, left/3), 1)
	late := s.retire(ctx, m, left, third)
	s.member.Store(nil)
	// One goodbye is said also if ctx is over.
	within, again, done := s.bus.farewell(context.Background(), ctx, third)
	defer done()
	if err = m.end(within, again, emptySnapshot); err != nil {
		err = overBy(ctx, err)
	}
	return errors.Join(late, s.opErr("leave", err))
}

// OnLeave has a function called by [Bus.Leave] of this scope, and by [Bus.Shutdown] if the scope is joined then, or was when the Bus
// stopped by itself: when this node's roles in it have gone everywhere, and before it says goodbye. Both wait for the function. Its
// context is over when it has to come to its end. It is called each time that the scope is left, after a rejoin again. [Bus.Close] calls
// none; nor is one called when an observer leaves a scope that it joined by itself ([WithAllScopes]).
//
// A function is called on a goroutine of its own, all at the same time, those of [Bus.OnShutdown] too. If it panics, or ends the
// goroutine, that is told as a handler's is (see [Handler]), and by the error of Leave or Shutdown, and stops nothing else. A function that
// comes while the others are called, or have been and the scope is not left yet, is called at once.
//
// stop takes the function back: it is not called any more. It returns false if it was taken back before, or has been called by what
// leaves the scope just now. f must not be nil.
func (s *Scope) OnLeave(f func(ctx context.Context)) (stop func() bool) {
	must(s.made())
	if f == nil {
		panic(prefix + "nil function")
	}
	return s.exits.add(f)
}

// retire takes the roles away in this scope, and then has the work end that they brought.
func (s *Scope) retire(ctx context.Context, m *member, left, third time.Duration) error {
	d, first := s.exits.begin(s)
	if !first {
		return d.await(ctx) // Shutdown is at it
	}
	ctx, cancel := d.while(ctx)
	defer cancel()
	defer context.AfterFunc(s.bus.ctx, func() { d.enough(context.Cause(s.bus.ctx)) })()
	m.retiring.Store(true)
	within, enough := context.WithTimeout(ctx, third)
	err := s.dropRoles(within)
	enough()
	if s.bus.ctx.Err() != nil {
		err = nil // the goodbye does it
	}
	s.bus.settle(ctx, left)
	d.end(errors.Join(s.opErr("leave", err), d.run(ctx, left)))
	return d.err
}

// exits are a scope's functions of OnLeave.
type exits struct {
	mu   sync.Mutex
	all  []*exit
	here bool   // the scope is joined, or was when the Bus stopped: then Shutdown has the work end all the same
	now  *drain // of whoever leaves the scope just now; nil if nobody does
}

type exit struct {
	do   func(context.Context)
	stop func() bool // takes it back from whoever leaves the scope just now; nil if nobody does
}

func (e *exits) add(f func(context.Context)) (stop func() bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := &exit{do: f}
	if e.now != nil {
		x.stop = e.now.add(f)
	}
	e.all = append(e.all, x)
	return func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		at := slices.Index(e.all, x)
		if at < 0 {
			return false
		}
		e.all = slices.Delete(e.all, at, at+1)
		return x.stop == nil || x.stop()
	}
}

func (e *exits) enter() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.here = true
}

// due says whether there is anything to call, or to wait for, before the scope is left.
func (e *exits) due() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.here && (len(e.all) > 0 || e.now != nil)
}

func (e *exits) open() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.here
}

// begin returns what has to end before the scope is left, and whether the caller is the first, who sees to it.
func (e *exits) begin(s *Scope) (d *drain, first bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.now != nil {
		return e.now, false
	}
	e.now = newDrain("OnLeave", fmt.Sprintf("leave in scope %q", clip(s.name)), s.bus.opts.log.With("scope", s.name, "node", s.bus.opts.node))
	for _, x := range e.all {
		x.stop = e.now.add(x.do)
	}
	return e.now, true
}

// over says that the scope is left.
func (e *exits) over() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.here, e.now = false, nil
	for _, x := range e.all {
		x.stop = nil
	}
}
