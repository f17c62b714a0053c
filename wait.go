package rolebus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// Snapshots returns the snapshot of now, and then each that takes its place, also when only [Snapshot.Suspects] or
// [Snapshot.Stale] changed: for a loop that brings something to what is so, whatever the way there was. A reader that is slow
// skips to the newest and holds nobody up. The sequence goes on while the scope is not joined, when it is left, and when it is
// joined again ([Snapshot.Joined]); it ends when ctx is over and when the Bus stops, and at once in a scope whose name cannot be
// one, as [Scope.Err] says. It may be called any number of times, from any goroutine.
func (s *Scope) Snapshots(ctx context.Context) iter.Seq[*Snapshot] {
	must(s.usable(ctx))
	return func(yield func(*Snapshot) bool) {
		if s.bad != nil {
			return // nothing would ever come of it
		}
		for snap := s.snap.Load(); snap != nil; snap = s.next(ctx, snap) {
			if ctx.Err() != nil || s.bus.ctx.Err() != nil || !yield(snap) {
				return
			}
		}
	}
}

// Wait returns the first snapshot, from that of now on, for which a condition holds. The condition is called on the caller's own
// goroutine, at once and after each change; while it takes long, snapshots are skipped, never the newest. If ctx is over first,
// the error matches ctx's; if the Bus stops, [ErrClosed]. In a scope whose name cannot be one it matches [ErrBadName].
func (s *Scope) Wait(ctx context.Context, holds func(*Snapshot) bool) (*Snapshot, error) {
	if err := s.usable(ctx); err != nil {
		return nil, failed("wait", err)
	}
	if holds == nil {
		return nil, s.opErr("wait", errors.New("the condition is nil"))
	}
	snap, err := s.wait(ctx, holds)
	return snap, s.opErr("wait", err)
}

func (s *Scope) wait(ctx context.Context, holds func(*Snapshot) bool) (*Snapshot, error) {
	if s.bad != nil {
		return nil, s.bad
	}
	for snap := s.snap.Load(); snap != nil; snap = s.next(ctx, snap) {
		if holds(snap) {
			return snap, nil
		}
	}
	return nil, s.bus.endedOr(ctx)
}

// WaitFor waits until at least n nodes have a role, and returns nil; at once if they have, or if n is not positive. It fails as
// [Scope.Wait] does, and its error tells who has the role, and whether the scope is joined. A role that cannot be one matches
// [ErrBadName].
func (s *Scope) WaitFor(ctx context.Context, role Role, n int) error {
	if err := s.usable(ctx); err != nil {
		return failed("wait for role", err)
	}
	if n <= 0 {
		return nil
	}
	op := fmt.Sprintf("wait for role %q", clip(string(role)))
	if err := role.check(); err != nil {
		return s.opErr(op, err)
	}
	var last *Snapshot
	_, err := s.wait(ctx, func(snap *Snapshot) bool {
		last = snap
		return snap.count(role) >= n
	})
	if err != nil && last != nil {
		err = fmt.Errorf("%s: %w", last.found(role, n), err)
	}
	return s.opErr(op, err)
}

// found tells how many of the nodes that were waited for have a role, and who a few of them are.
func (snap *Snapshot) found(role Role, n int) string {
	const few = 3
	nodes, text, state := snap.Nodes(role), "", "joined"
	var names []string
	for _, n := range nodes.list[:min(nodes.Len(), few)] {
		names = append(names, clip(n.name))
	}
	if nodes.Len() > few {
		names = append(names, "...")
	}
	if len(names) > 0 {
		text = " (" + strings.Join(names, ", ") + ")"
	}
	if !snap.joined {
		state = "not joined"
	}
	return fmt.Sprintf("found %d of %d%s, the scope is %s", nodes.Len(), n, text, state)
}

// Err returns nil while the scope is joined, an error that matches [ErrNotJoined] if it is not, or not any more, one that matches
// [ErrBadName] if its name cannot be that of a scope, and what [Bus.Err] says, or is going to say, if the Bus has stopped or is about
// to. So why a watch ended can be asked. Of the default scope it is b.Scope.Err(): [Bus.Err] is that of the Bus.
func (s *Scope) Err() error {
	switch {
	case s.made() != nil:
		return errNotMade
	case s.bus.ctx.Err() != nil:
		return context.Cause(s.bus.ctx)
	case s.bad != nil:
		return s.bad
	case !s.snap.Load().joined:
		return ErrNotJoined
	}
	return nil
}

// next waits for the snapshot that follows on one; nil if ctx or the Bus ends first.
func (s *Scope) next(ctx context.Context, snap *Snapshot) *Snapshot {
	select {
	case <-snap.superseded:
		return s.snap.Load()
	case <-ctx.Done():
	case <-s.bus.ctx.Done():
	}
	return nil
}
