package rolebus

import (
	"context"
	"iter"
	"maps"
	"slices"
)

// Watch returns what is in the scope now, as joins, and then what changes. Each step is the difference between two
// snapshots, so a reader that is slow skips steps, never the end state, and holds nobody up; quick changes may be merged for a
// fast reader, too. Within a step the events are sorted by node name. Of one node come first the roles that it lost, then that it
// left, or was buried, that it joined, that it has other metadata, and last the roles that it got. A node that is
// suspected when the watch begins ([Snapshot.Suspects]) is told only if it is listed again.
//
// The sequence blocks between events. On a scope that is not joined yet it waits for the join, and begins when that has
// completed. It ends when ctx is over, when the scope is left, and when the Bus stops. Which of these it was can be asked
// then: ctx.Err() is not nil, or [Scope.Err] says why; if that is nil, too, the scope was left and has been joined again since.
// In a scope whose name cannot be one it ends at once. It may be called any number of times, from any goroutine.
func (s *Scope) Watch(ctx context.Context) iter.Seq[Event] {
	must(s.usable(ctx))
	return func(yield func(Event) bool) {
		if s.bad != nil {
			return // it would wait for a join that nobody can make
		}
		cur := s.snap.Load()
		for cur != nil && !cur.joined {
			cur = s.next(ctx, cur)
		}
		prev := newSnapshot(s.name, s.bus.self())
		if cur != nil {
			prev.stay = cur.stay
		}
		missed := map[string]bool{} // who left as unreachable, and is neither back nor buried
		for cur != nil && cur.joined && cur.stay == prev.stay && s.bus.ctx.Err() == nil {
			for ev := range difference(prev, cur) {
				switch name := ev.Node.name; {
				case ev.Kind == NodeLeft && ev.Reason == ReasonUnreachable:
					missed[name] = true
				case ev.Kind == NodeBuried && !missed[name]:
					continue // it never was in this watch
				case ev.Kind == NodeBuried, ev.Kind == NodeJoined:
					delete(missed, name)
				}
				if ctx.Err() != nil || !yield(ev) {
					return
				}
			}
			prev, cur = cur, s.next(ctx, cur)
		}
	}
}

// difference yields the events that lead from one snapshot to another. It costs what differs, not what is there. Of a node that was
// hidden and is gone it yields that it was buried, whether or not anybody was told that it had left.
func difference(prev, cur *Snapshot) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		names := slices.Collect(changed(&prev.named, &cur.named))
		if !sameSlice(prev.suspects, cur.suspects) {
			for _, n := range prev.suspects {
				names = append(names, n.name)
			}
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			if !tell(prev, cur, name, yield) {
				return
			}
		}
	}
}

// sameSlice says whether two lists are one.
func sameSlice(a, b []*Node) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// tell yields the events that lead one node name from what it was to what it is.
func tell(prev, cur *Snapshot, name string, yield func(Event) bool) bool {
	was, is := prev.named.get(name), cur.named.get(name)
	switch {
	case was == is && is != nil:
		return true
	case was == nil && is == nil:
		hidden := find(prev.suspects, name)
		return hidden == nil || find(cur.suspects, name) != nil || yield(cur.farewell(NodeBuried, hidden))
	case is == nil:
		return tellGone(cur, was, yield)
	case was == nil:
		return tellListed(cur, is, yield)
	case was.id.incarnation != is.id.incarnation:
		return tellGone(cur, was, yield) && tellListed(cur, is, yield)
	}
	ev := Event{Scope: cur.scope, Node: is, Generation: is.generation, snap: cur}
	return tellRoles(ev, RoleRemoved, missing(was.roles, is.roles), yield) &&
		(maps.Equal(was.meta, is.meta) || yield(ev.of(MetaChanged))) &&
		tellRoles(ev, RoleAdded, missing(is.roles, was.roles), yield)
}

func tellListed(cur *Snapshot, is *Node, yield func(Event) bool) bool {
	ev := Event{Scope: cur.scope, Node: is, Generation: is.generation, snap: cur}
	return yield(ev.of(NodeJoined)) && tellRoles(ev, RoleAdded, is.roles, yield)
}

func tellGone(cur *Snapshot, was *Node, yield func(Event) bool) bool {
	ev := cur.farewell(NodeLeft, was)
	return tellRoles(ev, RoleRemoved, was.roles, yield) && yield(ev)
}

func tellRoles(ev Event, kind EventKind, roles []Role, yield func(Event) bool) bool {
	ev.Kind = kind
	for _, ev.Role = range roles {
		if !yield(ev) {
			return false
		}
	}
	return true
}

func (ev Event) of(kind EventKind) Event {
	ev.Kind = kind
	return ev
}

// farewell is the event of a node that is not listed any more, with the reason.
func (snap *Snapshot) farewell(kind EventKind, was *Node) Event {
	ev := Event{Kind: kind, Scope: snap.scope, Node: was, Reason: ReasonExpired, snap: snap}
	e, is := snap.ends.get(was.name), snap.named.get(was.name)
	switch {
	case find(snap.suspects, was.name) != nil: // or a newer life that is: what becomes of it is told later
		ev.Reason = ReasonUnreachable
	case e.id.incarnation == was.id.incarnation:
		ev.Reason, ev.Generation = e.reason, e.generation
	case e.id.incarnation > was.id.incarnation, is != nil && is.id.incarnation > was.id.incarnation:
		ev.Reason = ReasonSuperseded
	}
	return ev
}
