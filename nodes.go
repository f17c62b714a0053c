package rolebus

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
)

// Nodes is a list of nodes that cannot be changed, sorted by name: a value to be passed on and kept as it is. The zero Nodes is
// empty. All methods may be called from any goroutine, and but for Slice, Filter and String they do not allocate.
type Nodes struct{ list []*Node }

// Len returns how many nodes there are.
func (ns Nodes) Len() int { return len(ns.list) }

// At returns the node at a place, from 0 on. It panics if there is none.
func (ns Nodes) At(i int) *Node { return ns.list[i] }

// All yields the nodes, sorted by name.
func (ns Nodes) All() iter.Seq[*Node] { return slices.Values(ns.list) }

// Slice returns the nodes as a new slice, which is the caller's own.
func (ns Nodes) Slice() []*Node { return slices.Clone(ns.list) }

// Find returns the node of a name, nil if it is not in the list.
func (ns Nodes) Find(name string) *Node { return find(ns.list, name) }

// Filter returns the nodes for which a function holds, such as those that have not been asked yet. It allocates.
func (ns Nodes) Filter(holds func(*Node) bool) Nodes {
	var list []*Node
	for _, n := range ns.list {
		if holds(n) {
			list = append(list, n)
		}
	}
	return Nodes{list}
}

// Pick returns one of the nodes at random, each as likely as any other; nil of none.
func (ns Nodes) Pick() *Node {
	if len(ns.list) == 0 {
		return nil
	}
	return ns.list[rand.IntN(len(ns.list))]
}

// String returns the names, as fmt prints a slice of them.
func (ns Nodes) String() string { return fmt.Sprint(ns.list) }

// Roles is a set of roles that cannot be changed, sorted: a value to be passed on and kept as it is. The zero Roles is empty. All
// methods may be called from any goroutine, and but for Slice and String they do not allocate.
type Roles struct{ list []Role }

// Len returns how many roles there are.
func (rs Roles) Len() int { return len(rs.list) }

// At returns the role at a place, from 0 on. It panics if there is none.
func (rs Roles) At(i int) Role { return rs.list[i] }

// All yields the roles, sorted.
func (rs Roles) All() iter.Seq[Role] { return slices.Values(rs.list) }

// Slice returns the roles as a new slice, which is the caller's own.
func (rs Roles) Slice() []Role { return slices.Clone(rs.list) }

// Has says whether a role is among them.
func (rs Roles) Has(role Role) bool { return holds(rs.list, role) }

// String returns the roles, as fmt prints a slice of them.
func (rs Roles) String() string { return fmt.Sprint(rs.list) }
