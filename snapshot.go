package rolebus

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Snapshot is an immutable view of one scope: which node has which role at one instant. Every answer of one Snapshot
// fits every other. Its methods may be called from any goroutine; they never lock, wait or fail, and they do not allocate,
// with one exception: a list of more than 128 nodes, and that of all roles, is put together by whoever asks for it first after
// it changed.
type Snapshot struct {
	scope   string
	self    string       // this process's node, "" for an observer
	named   table[*Node] // every node that is listed, by name
	members list         // the same, sorted by name
	nodes   list         // those with at least one role
	bare    int          // how many have none; if that is 0, nodes is members
	holders table[list]  // those with a role, by role
	held    *roleNames   // the roles that somebody has

	suspects []*Node // live by their lease, but this process cannot reach them; not listed, sorted by name

	ends   table[end]   // the last end heard of, by node name
	doubts table[doubt] // nodes that the bucket lacks or calls expired, which is not believed yet
	due    time.Time    // when the first doubt runs out, or the first suspicion; zero if there is none

	fleet   string // the identity of the bucket that this is known from
	adopted uint64 // the serial since which it is; what was begun to be read before may be of another one

	serial     uint64        // counts the snapshots of this scope
	stay       uint64        // counts the joins: snapshots of two stays are not compared
	stale      time.Time     // when contact with the bucket was lost; zero while it lasts
	joined     bool          // the join has completed, and the scope was not left since
	superseded chan struct{} // closed when a newer snapshot has taken this one's place
}

// end is what is remembered of a node that went: a tombstone beats every state of the node up to the one it names.
type end struct {
	id         life
	generation uint64
	reason     Reason
	at         time.Time // when this process heard of it
	judged     bool      // by a tombstone that was judged: see Buried
	lapsed     bool      // only by its lease: the record stands
	lease      uint64    // of that lease, the generation
}

// doubt is the time that a node's owner has to write its record again before the node is dropped.
type doubt struct {
	id         life   // the newest that the bucket said, or the known state
	generation uint64 // of what the bucket says instead, 0 if nothing
	until      time.Time
	lapsed     bool   // the record stands, without a lease that buries it
	lease      uint64 // lapsed: the generation of the one that stands, 0 if none does
	elsewhere  bool   // the node is known from another bucket: there it may be well
}

func newSnapshot(scope, self string) *Snapshot {
	return &Snapshot{scope: scope, self: self, held: &roleNames{}, superseded: make(chan struct{})}
}

// roleNames is a sorted list of the roles that somebody has. The snapshots between which none appears or disappears share it:
// whoever asks first makes it for all of them.
type roleNames struct{ made atomic.Pointer[[]Role] }

// Nodes returns the nodes that have a role.
func (snap *Snapshot) Nodes(role Role) Nodes {
	if snap == nil {
		panic(notMade)
	}
	if e := snap.holders.find(string(role)); e != nil {
		return Nodes{e.value.all(&snap.members)}
	}
	return Nodes{}
}

// AllNodes returns every node with at least one role.
func (snap *Snapshot) AllNodes() Nodes {
	if snap == nil {
		panic(notMade)
	}
	if long := snap.nodes.long; long == nil { // as all does, but for one call
		return Nodes{snap.nodes.nodes}
	} else if made := long.made.Load(); made != nil {
		return Nodes{*made}
	}
	return Nodes{snap.nodes.all(&snap.members)}
}

// Members returns every node that is listed, also those without a role.
func (snap *Snapshot) Members() Nodes { return Nodes{snap.members.all(nil)} }

// Node returns the node of a name, also one without a role; nil if it is not listed.
func (snap *Snapshot) Node(name string) *Node { return snap.named.get(name) }

// AllRoles returns the roles that somebody has.
func (snap *Snapshot) AllRoles() Roles {
	if snap.holders.len() == 0 { // nor has the zero Snapshot, which nobody made, a place to keep them
		return Roles{}
	}
	if made := snap.held.made.Load(); made != nil {
		return Roles{*made}
	}
	roles := make([]Role, 0, snap.holders.len())
	for role := range snap.holders.all() {
		roles = append(roles, Role(role))
	}
	slices.Sort(roles)
	snap.held.made.Store(&roles)
	return Roles{roles}
}

// count returns how many nodes have a role.
func (snap *Snapshot) count(role Role) int {
	if e := snap.holders.find(string(role)); e != nil {
		return e.value.len()
	}
	return 0
}

// Roles returns the roles of a node, sorted; none if the node is not known.
func (snap *Snapshot) Roles(node string) Roles {
	if snap == nil {
		panic(notMade)
	}
	if n := snap.named.get(node); n != nil {
		return n.Roles()
	}
	return Roles{}
}

// MyRoles returns the roles of this process's own node, sorted; none for an observer.
func (snap *Snapshot) MyRoles() Roles {
	if snap == nil {
		panic(notMade)
	}
	if n := snap.named.get(snap.self); n != nil {
		return n.Roles()
	}
	return Roles{}
}

// Generation returns the KV revision of this process's own record; 0 if it has none.
func (snap *Snapshot) Generation() uint64 {
	if snap == nil {
		panic(notMade)
	}
	if n := snap.named.get(snap.self); n != nil {
		return n.generation
	}
	return 0
}

// Stale returns for how long this process has had no contact with the bucket, so that the snapshot may be behind; 0 while all is
// well. It counts from the last time that the bucket took a heartbeat of this process, or answered an observer, and that is
// some time before the loss was noticed: so it begins not at 0, but with anything up to about half a TTL. It ends when a heartbeat
// got through again and the bucket was read since. That of the last snapshot of a closed Bus counts from the end, if it was 0
// until then.
func (snap *Snapshot) Stale() time.Duration {
	if snap.stale.IsZero() {
		return 0
	}
	return time.Since(snap.stale)
}

// Suspects returns the nodes that this process leaves out of every other answer, because it cannot reach them although
// their lease still runs: see [WithProbeInterval]. Sorted by name.
func (snap *Snapshot) Suspects() Nodes { return Nodes{snap.suspects} }

// Joined says whether the scope is joined: for a member that its own record is seen, for an observer that the bucket was read as a
// whole. It is false while a join is under way, of which the snapshot may show a part, and when the scope was left. The last
// snapshot of a closed Bus stays as it was.
func (snap *Snapshot) Joined() bool { return snap.joined }

// Superseded returns a channel that is closed when a newer snapshot has taken this one's place: [Scope.Snapshot] returns that
// one then. Of the last snapshot of a closed Bus, and of one made by hand, it is never closed.
func (snap *Snapshot) Superseded() <-chan struct{} { return snap.superseded }

// live returns the node of this name, listed or suspected; nil if there is none.
func (snap *Snapshot) live(name string) *Node {
	if n := snap.named.get(name); n != nil {
		return n
	}
	return find(snap.suspects, name)
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

// asJoined returns the snapshot, as that with which a join has completed.
func (snap *Snapshot) asJoined() *Snapshot {
	next := *snap
	next.joined, next.serial, next.superseded = true, snap.serial+1, make(chan struct{})
	return &next
}
