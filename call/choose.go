package call

import (
	"slices"
	"sync/atomic"

	"github.com/rolebus/rolebus"
)

// chooser says which node an attempt goes to:
//
//	the newest snapshot -> those of the role, and of the given names -> without those that failed this call, if any are left
//	-> the one it sticks to -> this process's own -> those with the preferred metadata -> one of them is picked
type chooser struct {
	scope  *rolebus.Scope
	role   rolebus.Role
	self   string
	opts   *options
	picker picker

	stuck     atomic.Pointer[rolebus.Node] // Sticky
	sifted    atomic.Pointer[sifted]       // Nodes
	preferred atomic.Pointer[sifted]       // PreferMeta
}

// sifted is a part of a list that is asked for again and again, as long as the snapshot is the same.
type sifted struct {
	snap  *rolebus.Snapshot
	value string
	nodes rolebus.Nodes
}

// choose returns the node for an attempt of a call in which some lives have failed; ErrNoNode if there is none.
func (c *chooser) choose(snap *rolebus.Snapshot, failed []life, key string) (*rolebus.Node, error) {
	all, err := c.candidates(snap)
	if err != nil {
		return nil, err
	}
	if all.Len() == 0 {
		return nil, ErrNoNode
	}
	left := all
	if len(failed) > 0 {
		left = c.untried(all, failed)
	}
	if c.opts.sticky {
		return c.stick(all, left, snap, failed, key)
	}
	return c.pick(left, snap, failed, key)
}

// candidates are the nodes that come into question.
func (c *chooser) candidates(snap *rolebus.Snapshot) (rolebus.Nodes, error) {
	if !c.opts.named {
		return snap.Nodes(c.role), nil
	}
	if c.opts.namesFunc != nil {
		names, err := namesBy(c.opts.namesFunc)
		return c.named(snap, names), err
	}
	if s := c.sifted.Load(); s != nil && s.snap == snap {
		return s.nodes, nil
	}
	s := &sifted{snap: snap, nodes: c.named(snap, c.opts.names)}
	c.sifted.Store(s)
	return s.nodes, nil
}

func (c *chooser) named(snap *rolebus.Snapshot, names []string) rolebus.Nodes {
	from := snap.Members()
	if c.role != "" {
		from = snap.Nodes(c.role)
	}
	return from.Filter(func(n *rolebus.Node) bool { return slices.Contains(names, n.Name()) })
}

func namesBy(f func() []string) (names []string, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			names, err = nil, because(ErrChoice, "panic: %v", fault)
		}
	}()
	return f(), nil
}

// untried leaves out the lives that failed this call. If none is left, all but the one that failed last come into question again.
func (c *chooser) untried(all rolebus.Nodes, failed []life) rolebus.Nodes {
	left := all.Filter(func(n *rolebus.Node) bool { return !slices.Contains(failed, lifeIn(n)) })
	if left.Len() == 0 && all.Len() > 1 {
		last := failed[len(failed)-1]
		left = all.Filter(func(n *rolebus.Node) bool { return lifeIn(n) != last })
	}
	if left.Len() == 0 {
		return all
	}
	return left
}

// others says whether there is a node that has not failed this call.
func (c *chooser) others(failed []life) bool {
	all, err := c.candidates(c.scope.Snapshot())
	if err != nil {
		return true // which the next attempt tells
	}
	for n := range all.All() {
		if !slices.Contains(failed, lifeIn(n)) {
			return true
		}
	}
	return false
}

func (c *chooser) pick(left rolebus.Nodes, snap *rolebus.Snapshot, failed []life, key string) (*rolebus.Node, error) {
	if left.Len() == 1 && c.opts.picked != "Choose" {
		return left.At(0), nil
	}
	if c.opts.local {
		if own := c.own(left.Find(c.self)); own != nil {
			return own, nil
		}
	}
	if c.opts.meta != "" {
		left = c.prefer(left, snap, len(failed) == 0)
	}
	return c.picker.pick(left, key)
}

// own returns a node if it is this process's own, not that of another one of the same name.
func (c *chooser) own(n *rolebus.Node) *rolebus.Node {
	if n == nil || n.Incarnation() != c.scope.Incarnation() {
		return nil
	}
	return n
}

// prefer leaves those with the preferred metadata, if there are any. What is left of all is kept.
func (c *chooser) prefer(left rolebus.Nodes, snap *rolebus.Snapshot, all bool) rolebus.Nodes {
	value := ""
	switch own := c.own(snap.Node(c.self)); {
	case c.opts.metaValue != nil:
		value = *c.opts.metaValue
	case own == nil || own.Meta(c.opts.meta) == "":
		return left
	default:
		value = own.Meta(c.opts.meta)
	}
	all = all && c.opts.namesFunc == nil
	if s := c.preferred.Load(); all && s != nil && s.snap == snap && s.value == value {
		return s.nodes
	}
	near := left.Filter(func(n *rolebus.Node) bool { return n.Meta(c.opts.meta) == value })
	if near.Len() == 0 {
		near = left
	}
	if all {
		c.preferred.Store(&sifted{snap, value, near})
	}
	return near
}

// stick returns the node that was picked first, while it is there and has not failed this call.
func (c *chooser) stick(all, left rolebus.Nodes, snap *rolebus.Snapshot, failed []life, key string) (*rolebus.Node, error) {
	for {
		stuck := c.stuck.Load()
		if stuck != nil {
			if n := lifeOf(left, stuck); n != nil {
				return n, nil
			}
			if lifeOf(all, stuck) != nil { // it failed this call only just now, or is hedged: it is not ours to let go of it
				return c.pick(left, snap, failed, key)
			}
		}
		n, err := c.pick(left, snap, failed, key)
		if err != nil || c.stuck.CompareAndSwap(stuck, n) {
			return n, err
		}
	}
}

// unstick lets go of a life.
func (c *chooser) unstick(of life) {
	if stuck := c.stuck.Load(); stuck != nil && lifeIn(stuck) == of {
		c.stuck.CompareAndSwap(stuck, nil)
	}
}
