package rolebustest

import "github.com/rolebus/rolebus"

// Node makes a node by hand, to test without a server what chooses among nodes. It is in its first incarnation. What could not be
// a node is a mistake in the test: Node panics and says what is wrong. [rolebus.NewNode] has more choices.
func Node(name string, meta map[string]string, roles ...rolebus.Role) *rolebus.Node {
	n, err := rolebus.NewNode(rolebus.NodeState{Name: name, Meta: meta, Roles: roles})
	if err != nil {
		panic("rolebustest: " + err.Error())
	}
	return n
}

// Snapshot makes a snapshot by hand, as of a scope that is joined. It panics and says what is wrong if it cannot be one: two nodes
// of one name, a nil node, a bad name.
func Snapshot(scope string, nodes ...*rolebus.Node) *rolebus.Snapshot {
	snap, err := rolebus.NewSnapshot(scope, nodes...)
	if err != nil {
		panic("rolebustest: " + err.Error())
	}
	return snap
}
