package rolebus

import (
	"context"
	"iter"
	"slices"
)

// EventKind says what happened.
type EventKind int

// The kinds of events.
const (
	NodeJoined  EventKind = iota + 1 // a node is listed that was not; a new life of a known name counts as new
	NodeLeft                         // a node is gone; comes after RoleRemoved for each of its roles
	RoleAdded                        // a node has a role that it had not; comes after NodeJoined
	RoleRemoved                      // a node has no longer a role that it had
)

// String returns the kind's name, such as "NodeJoined".
func (k EventKind) String() string {
	switch k {
	case NodeJoined:
		return "NodeJoined"
	case NodeLeft:
		return "NodeLeft"
	case RoleAdded:
		return "RoleAdded"
	case RoleRemoved:
		return "RoleRemoved"
	}
	return "EventKind(?)"
}

// Reason says why a node went.
type Reason int

// The reasons why a node went. An event that is not about a node that went has the zero Reason.
const (
	ReasonLeft        Reason = iota + 1 // it said goodbye: Leave or Close
	ReasonExpired                       // it fell silent for longer than its TTL, or a newer life took its name
	ReasonUnreachable                   // this process cannot reach it, although its lease still runs
)

// String returns the reason as one lower-case word.
func (r Reason) String() string {
	switch r {
	case ReasonLeft:
		return "left"
	case ReasonExpired:
		return "expired"
	case ReasonUnreachable:
		return "unreachable"
	}
	return ""
}

// Event is one step from one snapshot of a scope to a later one.
type Event struct {
	Kind       EventKind
	Scope      string
	Node       *Node  // as it is now; of a node that went, as it was last
	Role       Role   // RoleAdded, RoleRemoved
	Reason     Reason // why the node went: NodeLeft, and the RoleRemoved before it
	Generation uint64 // of the record, or of the tombstone, that says so; 0 if nothing in the bucket does
}

// Watch returns what is in the scope now, as joins, and then what changes. Each step is the difference between two
// snapshots, so a reader that is slow skips steps, never the end state, and holds nobody up. Within a step the events
// are sorted by node name; of one node come first the roles that it lost, then that it left, that it joined, and the
// roles that it got.
//
// The sequence blocks between events. It ends when ctx is over, when the scope is left, and when the Bus stops
// ([Bus.Err] says why). On a scope that is not joined yet it waits for the join. It may be called any number of times,
// from any goroutine.
func (s *Scope) Watch(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		prev, cur := newSnapshot(s.name, s.bus.self()), s.snap.Load()
		if cur.over {
			cur = s.next(ctx, cur)
		}
		for cur != nil && !cur.over && s.bus.ctx.Err() == nil {
			if cur.stay != prev.stay {
				if prev.members.len() > 0 {
					return // the scope was left, and joined again before we looked
				}
				prev = newSnapshot(s.name, s.bus.self())
				prev.stay = cur.stay
			}
			for ev := range difference(prev, cur) {
				if ctx.Err() != nil || !yield(ev) {
					return
				}
			}
			prev, cur = cur, s.next(ctx, cur)
		}
	}
}

// WaitFor waits until at least n nodes have a role, and returns nil; at once if they have. If ctx is over first, it
// returns ctx's error; if the Bus stops, an error that matches [ErrClosed].
func (s *Scope) WaitFor(ctx context.Context, role Role, n int) error {
	for snap := s.snap.Load(); snap.count(role) < n; {
		next := s.next(ctx, snap)
		if next == nil {
			return s.opErr("wait for role", s.bus.endedOr(ctx))
		}
		snap = next
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

// difference yields the events that lead from one snapshot to another. It costs what differs, not what is there.
func difference(prev, cur *Snapshot) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		names := slices.Collect(changed(&prev.named, &cur.named))
		for _, s := range stepsOf(names, &prev.named, &cur.named) {
			if !tell(cur, s.was, s.is, yield) {
				return
			}
		}
	}
}

// tell yields the events that lead one node name from what it was to what it is; nil stands for absent.
func tell(cur *Snapshot, was, is *Node, yield func(Event) bool) bool {
	if was != nil && is != nil && was.id.incarnation != is.id.incarnation {
		return tell(cur, was, nil, yield) && tell(cur, nil, is, yield)
	}
	if is == nil {
		ev := Event{Scope: cur.scope, Node: was, Reason: ReasonExpired}
		if n := find(cur.suspects, was.name); n != nil && n.id.incarnation == was.id.incarnation {
			ev.Reason = ReasonUnreachable
		} else if e := cur.ends.get(was.name); e.id.incarnation == was.id.incarnation {
			ev.Reason, ev.Generation = e.reason, e.generation
		}
		ev.Kind = RoleRemoved
		for _, ev.Role = range was.roles {
			if !yield(ev) {
				return false
			}
		}
		ev.Kind, ev.Role = NodeLeft, ""
		return yield(ev)
	}
	ev := Event{Scope: cur.scope, Node: is, Generation: is.generation}
	if was == nil {
		ev.Kind = NodeJoined
		if !yield(ev) {
			return false
		}
		was = &Node{}
	}
	ev.Kind = RoleRemoved
	for _, ev.Role = range missing(was.roles, is.roles) {
		if !yield(ev) {
			return false
		}
	}
	ev.Kind = RoleAdded
	for _, ev.Role = range missing(is.roles, was.roles) {
		if !yield(ev) {
			return false
		}
	}
	return true
}
