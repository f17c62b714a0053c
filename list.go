package rolebus

import (
	"slices"
	"strings"
	"sync/atomic"
)

// list is a list of nodes, sorted by name. A short one is a slice, copied when it changes. A long one is not copied: it
// keeps what was changed, and becomes a slice when somebody asks for it, or when many changes have come together.
type list struct {
	nodes []*Node
	long  *longList // if not nil, instead of nodes
}

// longList is a list as it follows from an earlier one. All may ask for it at once: whoever is first leaves what it made. It
// keeps little of what came before it, however seldom anybody asks: of an earlier list only one that was asked for, and no
// more steps from there than one for some of its nodes.
type longList struct {
	count   int
	fits    sieve
	steps   []step // sorted by name; some may not concern it
	pending int    // so many steps lie between it and the last one that was made
	made    atomic.Pointer[[]*Node]
	prev    atomic.Pointer[longList] // what the steps lead from; nil once made
	sifted  bool                     // no steps lead to it: it is sifted out of all members, if anybody asks
}

const (
	shortList = 128 // up to so many nodes a list is short
	maxSteps  = 8   // steps are not kept when they are more than one for so many of its nodes
)

// step is what became of a node name: the node that was listed, and the one that is; nil stands for none.
type step struct{ was, is *Node }

func (s step) name() string {
	if s.is != nil {
		return s.is.name
	}
	return s.was.name
}

// stepsOf returns what became of names from one table to another, sorted by name, each once.
func stepsOf(names []string, before, after *table[*Node]) []step {
	slices.Sort(names)
	names = slices.Compact(names)
	steps := make([]step, 0, len(names))
	for _, name := range names {
		if s := (step{before.get(name), after.get(name)}); s.was != s.is {
			steps = append(steps, s)
		}
	}
	return steps
}

// sieve says which nodes belong to a list: those with a role or, without one, those with any role.
type sieve struct {
	role      Role
	everybody bool // also those without
}

func (f sieve) passes(n *Node) bool {
	switch {
	case n == nil:
		return false
	case f.everybody:
		return true
	case f.role == "":
		return len(n.roles) > 0
	}
	return n.Has(f.role)
}

func (l *list) len() int {
	if l.long != nil {
		return l.long.count
	}
	return len(l.nodes)
}

// all returns the nodes, with no spare capacity. The members are those of any snapshot that has this very list: as soon as one of
// its nodes changes, so does the list. The list of members itself needs none.
func (l *list) all(members *list) []*Node {
	if l.long == nil {
		return l.nodes
	}
	if made := l.long.made.Load(); made != nil {
		return *made
	}
	return l.long.make(members)
}

// with returns the list, of nodes that fit, that follows from steps, sorted by name, of which each name has one at the most.
// The members are those that the steps lead to, nil if the list is that of members itself. If so many steps have come together
// that nobody seems to ask for the list, they are forgotten; a list of members is made then.
func (l *list) with(steps []step, fits sieve, members *list) list {
	count := l.len()
	for _, s := range steps {
		if fits.passes(s.was) {
			count--
		}
		if fits.passes(s.is) {
			count++
		}
	}
	prev := l.long
	switch {
	case count <= shortList && prev != nil && prev.gone():
		return list{nodes: sift(members.all(nil), fits, count)}
	case count <= shortList:
		return list{nodes: merged(l.all(members), steps, fits, count)}
	case prev == nil:
		nodes := l.nodes
		prev = &longList{count: len(nodes)}
		prev.made.Store(&nodes)
	}
	next := &longList{count: count, fits: fits, steps: steps, pending: len(steps)}
	if prev.made.Load() == nil {
		next.pending += prev.pending
	}
	if members != nil && (prev.gone() || next.pending > count/maxSteps) {
		return list{long: &longList{count: count, fits: fits, sifted: true}}
	}
	next.prev.Store(prev)
	if next.pending > count/maxSteps {
		next.make(nil)
		next.steps = nil
	}
	return list{long: next}
}

// gone says whether no steps can lead from the list: nobody has asked for it, and what was before it is forgotten.
func (l *longList) gone() bool { return l.sifted && l.made.Load() == nil }

// make makes the slice.
func (l *longList) make(members *list) []*Node {
	nodes := l.nodes(members)
	l.made.Store(&nodes)
	l.prev.Store(nil) // after that: whoever finds none finds the slice
	return nodes
}

func (l *longList) nodes(members *list) []*Node {
	if l.sifted {
		return sift(members.all(nil), l.fits, l.count)
	}
	var chain [][]step // the newest first
	at := l
	made := at.made.Load()
	for made == nil {
		if prev := at.prev.Load(); prev != nil { // else it was made just now
			chain = append(chain, at.steps)
			at = prev
		}
		made = at.made.Load()
	}
	steps := slices.Concat(chain...)
	if len(chain) > 1 {
		slices.SortStableFunc(steps, func(a, b step) int { return strings.Compare(a.name(), b.name()) })
		steps = slices.CompactFunc(steps, func(a, b step) bool { return a.name() == b.name() })
	}
	if len(steps) == 0 {
		return *made
	}
	return merged(*made, steps, l.fits, l.count)
}

// sift returns the nodes, so many, that fit.
func sift(nodes []*Node, fits sieve, count int) []*Node {
	if count == 0 {
		return nil
	}
	out := make([]*Node, 0, count)
	for _, n := range nodes {
		if fits.passes(n) {
			out = append(out, n)
		}
	}
	return out
}

// merged returns a list of so many nodes: another one, as steps make it.
func merged(nodes []*Node, steps []step, fits sieve, count int) []*Node {
	if count == 0 {
		return nil
	}
	out := make([]*Node, 0, count)
	for _, s := range steps {
		at, found := slices.BinarySearchFunc(nodes, s.name(), byName)
		out = append(out, nodes[:at]...)
		if fits.passes(s.is) {
			out = append(out, s.is)
		}
		if found {
			at++
		}
		nodes = nodes[at:]
	}
	return append(out, nodes...)
}
