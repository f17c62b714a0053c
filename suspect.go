package rolebus

import (
	"maps"
	"slices"
	"time"
)

// What a snapshot keeps of those who live by their lease, but whom this process cannot reach: they are hidden, not forgotten.

// verdict is what this process found out about a node by asking the node itself.
type verdict struct {
	node        string
	incarnation uint64
	reachable   bool
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
	case v.reachable && hidden:
		back := *known
		back.heard = d.old.serial + 1
		d.change(v.node, &back)
	case !v.reachable && !hidden && d.believe && known.heard <= v.began && d.maySuspect():
		suspect := *known
		suspect.hidden = d.now
		d.hide(&suspect)
	}
}

// blackout is for how long suspects count as a mass. By then a process that only lost its connection has another one.
const blackout = 3 * time.Second

// maySuspect says whether there is room for one more suspect. Who suddenly cannot reach most of the others is more likely
// to be cut off itself: more than half of them are not hidden at once.
func (d *draft) maySuspect() bool {
	others, sudden := 0, 0
	for _, n := range d.old.members {
		if _, changed := d.nodes[n.name]; !changed && n.name != d.old.self {
			others++
		}
	}
	for name, n := range d.nodes {
		if n != nil && name != d.old.self {
			others++
		}
	}
	for _, n := range slices.AppendSeq(slices.Collect(maps.Values(d.hidden)), slices.Values(d.old.suspects)) {
		_, changed := d.nodes[n.name]
		if (!changed || d.hidden[n.name] == n) && d.now.Sub(n.hidden) < blackout {
			sudden++
		}
	}
	return sudden < (others+sudden+1)/2
}

// hide keeps a node, but does not list it.
func (d *draft) hide(n *Node) {
	d.change(n.name, nil)
	if d.hidden == nil {
		d.hidden = map[string]*Node{}
	}
	d.hidden[n.name] = n
}

// suspected says whether a known node is hidden.
func (d *draft) suspected(name string) bool {
	if n, ok := d.nodes[name]; ok {
		return n == nil && d.hidden[name] != nil
	}
	return find(d.old.suspects, name) != nil
}
