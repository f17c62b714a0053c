package rolebus

import (
	"slices"
	"time"
)

// What a snapshot keeps of those who live by their lease, but whom this process cannot reach: they are hidden, not forgotten.

// verdict is what this process found out about a node by asking the node itself.
type verdict struct {
	node        string
	incarnation uint64
	reachable   bool
	silent      bool   // only its silence says that it is not: no server does
	began       uint64 // the snapshot's serial when it asked
}

// judge hides a node that could not be reached, or lists one again that could. A node that was heard of since it was
// asked is not hidden: it may be back.
func (d *draft) judge(v verdict) {
	known := d.known(v.node)
	if known == nil || known.id.incarnation != v.incarnation || v.node == d.old.self {
		return
	}
	switch hidden := d.suspected(v.node); {
	case v.reachable && (hidden || known.deaf):
		back := *known
		back.heard, back.deaf = d.old.serial+1, false
		d.list(&back)
	case !v.reachable && !hidden && !known.deaf && d.believes(known.ttl) && known.heard <= v.began:
		if !d.maySuspect(v.silent) {
			if !v.silent {
				d.gap.doubted = append(d.gap.doubted, v)
			}
			return
		}
		suspect := *known
		suspect.hidden, suspect.silent = d.now, v.silent
		d.hide(&suspect)
	}
}

// acquittal is when a suspicion ends of a node that the bucket still holds: its lease would have ended by then.
func (n *Node) acquittal() time.Time { return n.hidden.Add(n.ttl + maxLate) }

// outlives says whether a suspect outlives the suspicion, if the reading that holds its record shows that. Only where leases
// do end, because the bus is as it should be, does a record mean a lease.
func (d *draft) outlives(n *Node) bool {
	return d.whole && d.believes(n.ttl) && !d.due.Before(n.acquittal())
}

// acquit lists a suspect that lives by its lease for longer than the suspicion can be right. It answers no probes, so that
// silence and absence say nothing of it from now on.
func (d *draft) acquit(n *Node) {
	back := *n
	back.heard, back.deaf = d.old.serial+1, true
	d.list(&back)
}

// firstAcquittal returns when the first suspicion ends; zero if there is none.
func (d *draft) firstAcquittal() (first time.Time) {
	for _, n := range d.suspects {
		first = earlier(first, n.acquittal())
	}
	return first
}

// settles says whether a reading of the whole scope can settle anything now: a doubt that has run out, or a suspicion that is
// older than a lease, where the bus has been calm for the grace of the node in question.
func (snap *Snapshot) settles(now time.Time, calm time.Duration) bool {
	for name, d := range snap.doubts.all() {
		if n := snap.live(name); n != nil && !now.Before(d.until) && calm >= graceOf(n.ttl) {
			return true
		}
	}
	return slices.ContainsFunc(snap.suspects, func(n *Node) bool {
		return snap.doubts.find(n.name) == nil && !now.Before(n.acquittal()) && calm >= graceOf(n.ttl)
	})
}

// earlier returns the earlier of two times; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// blackout is for how long suspects count as a mass. By then a process that only lost its connection has another one.
const blackout = 3 * time.Second

// maySuspect says whether there is room for one more suspect. Who suddenly cannot reach most of the others is more likely
// to be cut off itself. So of those who are silent not more than half are hidden at once. What a working server says of a node needs
// no majority; but it may be the server that is cut off, so that beyond half of them the leader must have answered since.
func (d *draft) maySuspect(silent bool) bool {
	if !silent && d.vouched {
		return true
	}
	others, sudden := d.named.len(), 0
	if d.named.find(d.old.self) != nil {
		others--
	}
	for _, n := range d.suspects {
		if d.now.Sub(n.hidden) < blackout && (n.silent || !silent) {
			sudden++
		}
	}
	return sudden < (others+sudden+1)/2
}

// hide keeps a node, but does not list it.
func (d *draft) hide(n *Node) {
	d.unlist(n.name)
	at, _ := slices.BinarySearchFunc(d.suspects, n.name, byName)
	d.suspects = slices.Insert(slices.Clone(d.suspects), at, n)
}

// suspected says whether a known node is hidden.
func (d *draft) suspected(name string) bool { return find(d.suspects, name) != nil }
