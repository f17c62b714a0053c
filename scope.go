package rolebus

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Scope is a handle on a named world of nodes and roles. A process sees what happens in the scopes that it has joined,
// and nothing of any other. All methods may be called from any goroutine.
//
// The reading methods answer from the newest [Snapshot]: they never lock, wait or fail, whatever NATS does, nor do
// they allocate, but for a long list that is asked for the first time after a change.
// In a scope that is not joined they find nothing; while it is being joined, what was read so far ([Snapshot.Joined]).
type Scope struct {
	bus  *Bus
	name string
	bad  error // the name cannot be that of a scope

	snap   atomic.Pointer[Snapshot]
	member atomic.Pointer[member] // nil while not joined
	turn   chan struct{}          // held by whoever joins or leaves
	last   atomic.Uint64          // the incarnation of the newest stay
	asked  bool                   // under the lock of the Bus: a user may have this handle
	guard  guard
	ears   ears
	exits  exits
	kept   kept
}

func newScope(b *Bus, name string) *Scope {
	s := &Scope{bus: b, name: name, bad: checkName("scope", name), turn: make(chan struct{}, 1)}
	s.ears = newEars(s)
	s.snap.Store(newSnapshot(name, b.self()))
	return s
}

// Name returns the scope's name.
func (s *Scope) Name() string {
	must(s.made())
	return s.name
}

// Snapshot returns the view of this instant, to ask several things of one and the same state. Never nil.
func (s *Scope) Snapshot() *Snapshot {
	snap := s.current()
	if snap == nil {
		panic(notMade)
	}
	return snap
}

// Nodes returns the nodes that have a role, this process's own among them, sorted by name; none if nobody has it.
func (s *Scope) Nodes(role Role) Nodes { return s.current().Nodes(role) }

// AllNodes returns every node with at least one role, sorted by name. Those without are in [Snapshot.Members], too.
func (s *Scope) AllNodes() Nodes { return s.current().AllNodes() }

// Roles returns the roles of a node, sorted; none if the node is not known.
func (s *Scope) Roles(node string) Roles { return s.current().Roles(node) }

// MyRoles returns this node's own roles, sorted, as everybody else sees them; none for an observer.
func (s *Scope) MyRoles() Roles { return s.current().MyRoles() }

// Generation returns the KV revision of this node's own record, 0 if it has none. It moves when this node's roles move.
func (s *Scope) Generation() uint64 { return s.current().Generation() }

// LeaseLeft returns for how long this node is still certain to be listed in the scope: what is left of its lease, by this
// process's own monotonic clock, less a tenth of the TTL for clocks that run apart. 0 if it is not certain: no heartbeat
// got through in time, the record was buried or taken over, this machine has slept or its clock or the server's was set, or the
// scope is not joined. A heartbeat makes it nearly a whole [WithTTL] again.
//
// It is about the lease alone: a process that cannot reach this one may leave it out of its own snapshot for a while
// ([ReasonUnreachable]). Nor does it exclude that a newer process of the same name is listed instead.
func (s *Scope) LeaseLeft() time.Duration {
	must(s.made())
	if m := s.member.Load(); m != nil {
		return m.lease.left()
	}
	return 0
}

// LeaseContext returns a context for work that only a listed node may do. It is cancelled as soon as this node is not certain
// any more to be listed in the scope, and context.Cause then tells why: an error that matches [ErrLeaseLost] if the lease
// was not renewed in time, the record was buried, this machine has slept, or the server's clock was set ahead, [ErrNotJoined] if
// the scope is not joined or was left, [ErrReadOnly] for an observer, and what [Bus.Err] says if the Bus stops, such as
// [ErrSuperseded]. Once the node is certain again, a new call returns a new context.
//
// A process that was frozen, or whose machine slept, learns of it only when it runs again, and its other goroutines may run
// first: before something that cannot be taken back, ask [Scope.LeaseLeft].
func (s *Scope) LeaseContext() context.Context {
	must(s.made())
	switch m := s.member.Load(); {
	case s.bus.ctx.Err() != nil:
		return over(context.Cause(s.bus.ctx))
	case s.bus.opts.observer:
		return over(ErrReadOnly)
	case m == nil:
		return over(ErrNotJoined)
	default:
		return m.lease.context()
	}
}

// AddRoles gives this node roles, all in one announcement, and returns when the bucket and the caller's own snapshot
// hold them. Roles that it has already are left alone; if it has them all, nothing is written. In a scope that is not
// joined it joins first, with these roles.
//
// If ctx is over first the error matches [ErrNotConfirmed], and the change is still wanted: it is written as soon as
// NATS can be reached. If that happens while it still joins, the error is only ctx's, the scope is not joined and nothing
// is wanted. Other errors change nothing: [ErrBadName] for a role that is empty, too long or not UTF-8, [ErrTooLarge] if
// the record would be larger than the server takes, [ErrReadOnly] for an observer. When the scope is left meanwhile, or a
// [Bus.Leave] is under way, the error matches [ErrNotJoined], and when the Bus stops [ErrClosed]: then nothing is wanted any more.
func (s *Scope) AddRoles(ctx context.Context, roles ...Role) error {
	more := roleSet(roles)
	return s.write(ctx, "add roles", roles, true, func(have []Role) []Role { return merge(have, more, nil) })
}

// RemoveRoles takes roles from this node, all in one announcement. Roles that it has not are ignored; if it has none of
// them, also because the scope is not joined, nothing is written. It waits and fails as [Scope.AddRoles] does.
func (s *Scope) RemoveRoles(ctx context.Context, roles ...Role) error {
	gone := roleSet(roles)
	return s.write(ctx, "remove roles", roles, false, func(have []Role) []Role { return merge(have, nil, gone) })
}

// SetRoles makes these the node's roles, adding and removing what differs in one announcement. Without roles the node
// stays in the scope, if it is in it, and has none. It joins, waits and fails as [Scope.AddRoles] does.
func (s *Scope) SetRoles(ctx context.Context, roles ...Role) error {
	return s.write(ctx, "set roles", roles, len(roles) > 0, func([]Role) []Role { return roleSet(roles) })
}

// ChangeRoles takes roles from this node and gives it others, all in one announcement: nobody sees the one without the other.
// The removal comes first, so that a role in both is had afterwards. If there is anything to add it joins as [Scope.AddRoles]
// does; if nothing changes, nothing is written. It waits and fails as AddRoles does.
func (s *Scope) ChangeRoles(ctx context.Context, add, remove []Role) error {
	more, gone := roleSet(add), roleSet(remove)
	return s.write(ctx, "change roles", slices.Concat(add, remove), len(add) > 0, func(have []Role) []Role {
		return merge(have, more, gone)
	})
}

// write changes what this node wants to be in the scope, joining it if need be.
func (s *Scope) write(ctx context.Context, op string, roles []Role, join bool, next func([]Role) []Role) error {
	if err := s.usable(ctx); err != nil {
		return failed(op, err)
	}
	err := s.writable(ctx)
	if err == nil {
		err = checkRoles(roles)
	}
	if err != nil || len(roles) == 0 && join {
		return s.opErr(op, err)
	}
	m := s.member.Load()
	if m == nil {
		if !join {
			return nil
		}
		if m, _, err = s.join(ctx, next(nil)); err != nil {
			return s.opErr(op, err)
		}
	}
	return s.opErr(op, m.change(ctx, next))
}

// made says if the scope is none, usable also if there is no context.
func (s *Scope) made() error {
	if s == nil || s.bus == nil {
		return errNotMade
	}
	return nil
}

func (s *Scope) usable(ctx context.Context) error { return cmp.Or(s.made(), given(ctx)) }

// current returns the newest snapshot for a read; nil if nobody made the scope. That it is nil is for the snapshot's method to
// tell: here it would make the read too much to be inlined.
func (s *Scope) current() *Snapshot {
	if s == nil {
		return nil
	}
	return s.snap.Load()
}

func (s *Scope) writable(ctx context.Context) error {
	switch {
	case s.bus.ctx.Err() != nil:
		return s.bus.endedOr(ctx)
	case s.bad != nil:
		return s.bad
	case s.bus.opts.observer:
		return ErrReadOnly
	}
	return ended(ctx)
}

// hold takes the scope's turn to join or leave, unless a context of the Bus is over, and returns how to give it back.
func (s *Scope) hold(ctx, open context.Context) (release func(), err error) {
	select {
	case s.turn <- struct{}{}:
		if open.Err() == nil {
			return func() { <-s.turn }, nil
		}
		<-s.turn
	case <-ctx.Done():
	case <-open.Done():
	}
	if open.Err() != nil {
		return nil, s.bus.refusedOr(ctx)
	}
	return nil, s.bus.endedOr(ctx)
}

// publish makes next the scope's snapshot.
func (s *Scope) publish(next *Snapshot) {
	if old := s.snap.Swap(next); old != next {
		close(old.superseded) // after the swap: whoever wakes must find next
	}
}

func (s *Scope) opErr(op string, err error) error {
	if err == nil {
		return nil // and nothing is put into words
	}
	return failed(fmt.Sprintf("%s in scope %q", op, clip(s.name)), err)
}
