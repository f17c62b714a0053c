package rolebus

import "iter"

// The lists of a snapshot, when its names have changed.

// relist brings the lists of the next snapshot to what its names say.
func (d *draft) relist(next *Snapshot) {
	steps := stepsOf(d.touched, &d.old.named, &next.named)
	for _, s := range steps {
		next.bare += bare(s.is) - bare(s.was)
	}
	next.members = next.members.with(steps, sieve{everybody: true}, nil)
	if next.bare == 0 {
		next.nodes = next.members
	} else {
		next.nodes = next.nodes.with(steps, sieve{}, &next.members)
	}
	before := next.holders.len()
	others := false // a role that nobody had, or nobody has any more
	for role, of := range byRole(steps) {
		held := next.holders.edit(d.by, string(role))
		others = others || held.len() == 0
		if *held = held.with(of, sieve{role: role}, &next.members); held.len() == 0 {
			next.holders.drop(d.by, string(role))
		}
	}
	if others || next.holders.len() != before {
		next.held = &roleNames{}
	}
}

// roles yields every role that it touches, once.
func (s step) roles() iter.Seq[Role] {
	return func(yield func(Role) bool) {
		if s.was != nil {
			for _, role := range s.was.roles {
				if (s.is == nil || !s.is.Has(role)) && !yield(role) {
					return
				}
			}
		}
		if s.is != nil {
			for _, role := range s.is.roles {
				if !yield(role) {
					return
				}
			}
		}
	}
}

// byRole yields the roles that steps touch, in no order, and which steps, in theirs.
func byRole(steps []step) iter.Seq2[Role, []step] {
	return func(yield func(Role, []step) bool) {
		if len(steps) == 1 {
			for role := range steps[0].roles() {
				if !yield(role, steps) {
					return
				}
			}
			return
		}
		of := map[Role]*[]step{} // pointers: most roles are looked up to be appended to
		for _, s := range steps {
			for role := range s.roles() {
				held := of[role]
				if held == nil {
					held = new([]step)
					of[role] = held
				}
				*held = append(*held, s)
			}
		}
		for role, held := range of {
			if !yield(role, *held) {
				return
			}
		}
	}
}

// bare returns 1 for a node without roles, else 0.
func bare(n *Node) int {
	if n != nil && len(n.roles) == 0 {
		return 1
	}
	return 0
}
