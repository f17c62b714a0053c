package rolebus

import (
	"errors"
	"fmt"
	"maps"
	"time"
)

// Reader is what a [Snapshot], a [Scope] and a [Bus] have in common: a function that takes one is tested with a snapshot made by
// hand, see [NewSnapshot], or with a fake of one's own.
type Reader interface {
	Nodes(role Role) Nodes
	AllNodes() Nodes
	Roles(node string) Roles
}

var (
	_ Reader = (*Snapshot)(nil)
	_ Reader = (*Scope)(nil)
	_ Reader = (*Bus)(nil)
)

// NodeState is what [NewNode] makes a node of. As JSON it has the fields that a [Node] has.
type NodeState struct {
	Name        string            `json:"name"`
	Incarnation uint64            `json:"incarnation"` // 0 stands for 1
	Generation  uint64            `json:"generation"`  // 0 stands for 1
	Meta        map[string]string `json:"meta,omitempty"`
	Roles       []Role            `json:"roles"`
}

// NewNode makes a node by hand, for tests and for snapshots that come from elsewhere than a Bus. The error matches [ErrBadName] if a
// name or a role could not be one on a Bus.
func NewNode(state NodeState) (*Node, error) {
	n, err := state.node()
	return n, failed("node by hand", err)
}

func (state NodeState) node() (*Node, error) {
	err := errors.Join(checkName("node", state.Name), checkRoles(state.Roles), checkMeta(state.Meta),
		check(state.Incarnation <= maxNumber, "incarnation %d: at most %d", state.Incarnation, uint64(maxNumber)))
	if err != nil {
		return nil, err
	}
	return &Node{
		name: state.Name, hash: hashText(state.Name), id: life{max(state.Incarnation, 1), 1}, generation: max(state.Generation, 1),
		ttl: 15 * time.Second, roles: roleSet(state.Roles), meta: maps.Clone(state.Meta),
	}, nil
}

// NewSnapshot makes a snapshot of nodes by hand, as of a scope that is joined, by a process that has no node itself. The error matches
// [ErrBadName] if the scope's name, or that of a node, could not be one on a Bus; a nil node, and two of one name, are errors.
func NewSnapshot(scope string, nodes ...*Node) (*Snapshot, error) {
	snap, err := assemble(scope, nodes)
	return snap, failed("snapshot by hand", err)
}

func assemble(scope string, nodes []*Node) (*Snapshot, error) {
	empty := newSnapshot(scope, "")
	empty.joined = true
	d := newDraft(empty, news{})
	err := checkName("scope", scope)
	for i, n := range nodes {
		if n == nil {
			err = errors.Join(err, fmt.Errorf("node %d is nil", i+1))
			continue
		}
		err = errors.Join(err, checkName("node", n.name), check(d.named.find(n.name) == nil, "two nodes are named %q", clip(n.name)))
		d.list(n)
	}
	if err != nil {
		return nil, err
	}
	return d.finish(), nil
}
