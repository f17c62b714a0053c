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

// longList is a list as it follows from an earlier one. All may ask for it at once: whoever is first leaves what it made.
type longList struct {
	count   int
	fits    sieve
	steps   []step // sorted by name; some may not concern it
	pending int    // so many steps lie between it and the last one that was made
	made    atomic.Pointer[[]*Node]
	prev    atomic.Pointer[longList] // what the steps lead from, else
	among   atomic.Pointer[list]     // where its nodes are among others; both nil once made
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

// all returns the nodes, with no spare capacity.
func (l *list) all() []*Node {
	if l.long == nil {
		return l.nodes
	}
	if made := l.long.made.Load(); made != nil {
		return *made
	}
	return l.long.make()
}

// with returns the list, of nodes that fit, that follows from steps, sorted by name, of which each name has one at the most.
// If so many have come together that nobody seems to ask for the list, it is made of the list of all nodes, should somebody
// ask, or at once, if it is that list.
func (l *list) with(steps []step, fits sieve, everybody *list) list {
	count := l.len()
	for _, s := range steps {
		if fits.passes(s.was) {
			count--
		}
		if fits.passes(s.is) {
			count++
		}
	}
	if count <= shortList {
		return list{nodes: merged(l.all(), steps, fits, count)}
	}
	next := &longList{count: count, fits: fits, steps: steps, pending: len(steps)}
	prev := l.long
	if prev == nil {
		nodes := l.nodes
		prev = &longList{count: len(nodes)}
		prev.made.Store(&nodes)
	} else if prev.made.Load() == nil {
		next.pending += prev.pending
	}
	switch {
	case next.pending <= count/maxSteps:
		next.prev.Store(prev)
	case everybody == nil:
		next.prev.Store(prev)
		next.make()
		next.steps = nil
	default:
		among := *everybody // not everybody itself, which is part of a snapshot
		next.steps, next.pending = nil, 0
		next.among.Store(&among)
	}
	return list{long: next}
}

// make makes the slice.
func (l *longList) make() []*Node {
	var chain [][]step // the newest first
	at := l
	base, ok := at.base()
	for !ok {
		if prev := at.prev.Load(); prev != nil { // else it was made just now
			chain = append(chain, at.steps)
			at = prev
		}
		base, ok = at.base()
	}
	steps := slices.Concat(chain...)
	if len(chain) > 1 {
		slices.SortStableFunc(steps, func(a, b step) int { return strings.Compare(a.name(), b.name()) })
		steps = slices.CompactFunc(steps, func(a, b step) bool { return a.name() == b.name() })
	}
	if len(steps) > 0 {
		base = merged(base, steps, l.fits, l.count)
	}
	l.made.Store(&base)
	l.prev.Store(nil) // after that: whoever finds none finds the slice
	l.among.Store(nil)
	return base
}

// base returns the slice, if no steps lead to it.
func (l *longList) base() (nodes []*Node, ok bool) {
	if made := l.made.Load(); made != nil {
		return *made, true
	}
	others := l.among.Load()
	if others == nil {
		return nil, false
	}
	nodes = make([]*Node, 0, l.count)
	for _, n := range others.all() {
		if l.fits.passes(n) {
			nodes = append(nodes, n)
		}
	}
	return nodes, true
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
