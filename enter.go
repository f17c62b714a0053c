package rolebus

import (
	"context"
	"errors"
	"time"
)

// How a scope is joined by a caller who has only so much time.

// join returns the stay in the scope, beginning one with these roles if there is none. It says whether it is new.
func (s *Scope) join(ctx context.Context, roles []Role) (m *member, anew bool, err error) {
	release, err := s.hold(ctx, s.bus.giving)
	if err != nil {
		return nil, false, err
	}
	if m := s.member.Load(); m != nil {
		release()
		return m, false, nil
	}
	began := time.Now()
	m, waited, err := s.enter(ctx, roles, release)
	if err != nil {
		if s.bus.giving.Err() != nil {
			return nil, false, s.bus.refusedOr(ctx)
		}
		return nil, false, err
	}
	defer release()
	if waited {
		m.trust.shake(time.Now())
	}
	s.member.Store(m)
	s.exits.enter()
	s.bus.serve(m)
	m.tellJoined(began)
	return m, true, nil
}

// entered is what came of an attempt to begin a stay.
type entered struct {
	member *member
	waited bool
	err    error
}

// enter begins a stay. The caller holds the scope's turn, and after an error has given it away: to clean up may take time that the
// caller has not, and whoever wants the scope next waits for that.
func (s *Scope) enter(ctx context.Context, roles []Role, release func()) (m *member, waited bool, err error) {
	// A bus that closes, or shuts down, meanwhile ends the join, too.
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	why := &waiting{log: s.bus.opts.log}
	done, gone := make(chan entered), make(chan struct{})
	err = s.bus.goWhileOpen(func() {
		defer context.AfterFunc(s.bus.giving, func() { cancel(ErrClosed) })()
		e := s.attempt(inner, roles, why)
		select {
		case done <- e:
			if e.err == nil {
				return // the turn is the caller's, too
			}
		case <-gone:
		}
		if e.member != nil {
			e.member.giveUp(inner)
		}
		release()
	})
	if err != nil {
		release()
		return nil, false, err
	}
	select {
	case e := <-done:
		return e.member, e.waited, e.err
	case <-ctx.Done():
	}
	// It hears of that, unless nats.go holds it up, which keeps its lock while it dials.
	timer := time.NewTimer(lateGrace)
	defer timer.Stop()
	select {
	case e := <-done:
		return e.member, e.waited, e.err
	case <-timer.C:
		close(gone)
		if why := why.last(); why != nil {
			return nil, false, overBy(ctx, why)
		}
		return nil, false, ended(ctx)
	}
}

// attempt begins a stay, trying again while the servers are not ready. If ctx is over there is one that is still to be given up.
func (s *Scope) attempt(ctx context.Context, roles []Role, why *waiting) (e entered) {
	deleted := false
	e.err = s.bus.opts.insist(ctx, why, func() error {
		if deleted { // since it was made, or a server has not heard of it yet
			if err := s.bus.store.ensure(ctx); err != nil {
				return err
			}
		}
		e.member = s.bus.begin(s, roleSet(roles))
		err := e.member.start(ctx)
		deleted, e.waited = errors.Is(err, ErrNoBucket), e.waited || err != nil
		if err != nil && ctx.Err() == nil {
			why.note(err)
			e.member.giveUp(ctx)
			e.member = nil
		}
		return err
	})
	return e
}
