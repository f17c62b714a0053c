package rolebus

import (
	"slices"
	"strings"
	"time"
)

// Snapshot is an immutable view of one scope: which node has which role at one instant. Every answer of one Snapshot
// fits every other. Its methods may be called from any goroutine; they never lock, wait or fail, and they do not allocate,
// with one exception: a list of more than 128 nodes is put together by whoever asks for it first after it changed.
type Snapshot struct {
	scope   string
	self    string       // this process's node, "" for an observer
	named   table[*Node] // every node that is listed, by name
	members list         // the same, sorted by name
	nodes   list         // those with at least one role
	bare    int          // how many have none; if that is 0, nodes is members
	holders table[list]  // those with a role, by role

	suspects []*Node // live by their lease, but this process cannot reach them; not listed, sorted by name

	ends   table[end]   // the last end heard of, by node name
	doubts table[doubt] // nodes that the bucket lacks or calls expired, which is not believed yet
	due    time.Time    // when the first doubt runs out, or the first suspicion; zero if there is none

	fleet   string // the identity of the bucket that this is known from
	adopted uint64 // the serial since which it is; what was begun to be read before may be of another one

	serial     uint64        // counts the snapshots of this scope
	stay       uint64        // counts the joins: snapshots of two stays are not compared
	stale      time.Time     // when contact with the bucket was lost; zero while it lasts
	over       bool          // the scope was left: nothing follows
	superseded chan struct{} // closed when a newer snapshot has taken this one's place
}

// end is what is remembered of a node that went: a tombstone beats every state of the node up to the one it names.
type end struct {
	id         life
	generation uint64
	reason     Reason
	at         time.Time // when this process heard of it
}

// doubt is the time that a node's owner has to write its record again before the node is dropped.
type doubt struct {
	id         life   // the newest that the bucket said, or the known state
	generation uint64 // of what the bucket says instead, 0 if nothing
	until      time.Time
	elsewhere  bool // the node is known from another bucket: there it may be well
}

func newSnapshot(scope, self string) *Snapshot {
	return &Snapshot{scope: scope, self: self, superseded: make(chan struct{})}
}

// Nodes returns the nodes that have a role.
func (snap *Snapshot) Nodes(role Role) Nodes {
	if e := snap.holders.find(string(role)); e != nil {
		return Nodes{e.value.all(&snap.members)}
	}
	return Nodes{}
}

// AllNodes returns every node with at least one role.
func (snap *Snapshot) AllNodes() Nodes { return Nodes{snap.nodes.all(&snap.members)} }

// count returns how many nodes have a role.
func (snap *Snapshot) count(role Role) int {
	if e := snap.holders.find(string(role)); e != nil {
		return e.value.len()
	}
	return 0
}

// Roles returns the roles of a node, sorted; none if the node is not known.
func (snap *Snapshot) Roles(node string) Roles {
	if n := snap.named.get(node); n != nil {
		return n.Roles()
	}
	return Roles{}
}

// MyRoles returns the roles of this process's own node, sorted; none for an observer.
func (snap *Snapshot) MyRoles() Roles { return snap.Roles(snap.self) }

// Generation returns the KV revision of this process's own record; 0 if it has none.
func (snap *Snapshot) Generation() uint64 {
	if n := snap.named.get(snap.self); n != nil {
		return n.generation
	}
	return 0
}

// Stale returns for how long this process has had no contact with the bucket, so that the snapshot may be behind; 0
// while all is well.
func (snap *Snapshot) Stale() time.Duration {
	if snap.stale.IsZero() {
		return 0
	}
	return time.Since(snap.stale)
}

// Suspects returns the nodes that this process leaves out of every other answer, because it cannot reach them although
// their lease still runs: see [WithProbeInterval]. Sorted by name.
func (snap *Snapshot) Suspects() Nodes { return Nodes{snap.suspects} }

// live returns the node of this name, listed or suspected; nil if there is none.
func (snap *Snapshot) live(name string) *Node {
	if n := snap.named.get(name); n != nil {
		return n
	}
	return find(snap.suspects, name)
}

// successor returns the node that follows on a name in the ring of those listed; nil if there is nobody else.
func (snap *Snapshot) successor(name string) *Node {
	if n := following(snap.members.all(nil), name); n != nil && n.name != name {
		return n
	}
	return nil
}

// following returns the node that comes after a name in a sorted list, after the last the first; nil if there is none.
func following(list []*Node, name string) *Node {
	if len(list) == 0 {
		return nil
	}
	at, found := slices.BinarySearchFunc(list, name, byName)
	if found {
		at++
	}
	return list[at%len(list)]
}

func byName(n *Node, name string) int { return strings.Compare(n.name, name) }

func find(list []*Node, name string) *Node {
	if at, ok := slices.BinarySearchFunc(list, name, byName); ok {
		return list[at]
	}
	return nil
}

// withStale returns the snapshot with another time of lost contact.
func (snap *Snapshot) withStale(since time.Time) *Snapshot {
	next := *snap
	next.stale, next.serial, next.superseded = since, snap.serial+1, make(chan struct{})
	return &next
}
