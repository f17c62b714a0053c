package call

import (
	"math/rand/v2"
	"sync"

	"github.com/rolebus/rolebus"
)

// How one of the nodes that come into question is picked. What each of them promises stands at its option.

// picker picks one of at least one node. Many goroutines call it at the same time.
type picker interface {
	pick(nodes rolebus.Nodes, key string) (*rolebus.Node, error)
}

type anyOne struct{}

func (anyOne) pick(nodes rolebus.Nodes, _ string) (*rolebus.Node, error) { return nodes.Pick(), nil }

type owner struct{}

func (owner) pick(nodes rolebus.Nodes, key string) (*rolebus.Node, error) {
	return nodes.Owner(key), nil
}

// rotation goes round. It remembers whom it picked last, not only where that was: so it goes on behind that one in any other list.
type rotation struct {
	mu   sync.Mutex
	last string // "" before the first
	at   int    // where that was
}

func (r *rotation) pick(nodes rolebus.Nodes, _ string) (*rolebus.Node, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.last == "":
		r.at = rand.IntN(nodes.Len())
	case r.at < nodes.Len() && nodes.At(r.at).Name() == r.last:
		r.at++
	default:
		r.at = behind(nodes, r.last)
	}
	if r.at >= nodes.Len() {
		r.at = 0
	}
	n := nodes.At(r.at)
	r.last = n.Name()
	return n, nil
}

// behind returns the place of the first node whose name comes after a name.
func behind(nodes rolebus.Nodes, name string) int {
	from, to := 0, nodes.Len()
	for from < to {
		if middle := (from + to) / 2; nodes.At(middle).Name() <= name {
			from = middle + 1
		} else {
			to = middle
		}
	}
	return from
}

// choice is the user's own.
type choice func(rolebus.Nodes) *rolebus.Node

func (f choice) pick(nodes rolebus.Nodes, _ string) (n *rolebus.Node, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			n, err = nil, because(ErrChoice, "panic: %v", fault)
		}
	}()
	if n = f(nodes); n == nil {
		return nil, because(ErrChoice, "nil of %d nodes", nodes.Len())
	}
	found := lifeOf(nodes, n)
	if found == nil {
		return nil, because(ErrChoice, "node %s is none of the %d that were offered", clip(n.Name()), nodes.Len())
	}
	return found, nil
}

// lifeOf returns the very life of a node, as it is in a list; nil if it is not there.
func lifeOf(nodes rolebus.Nodes, n *rolebus.Node) *rolebus.Node {
	if found := nodes.Find(n.Name()); found != nil && found.Incarnation() == n.Incarnation() {
		return found
	}
	return nil
}
