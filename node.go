package rolebus

import "time"

// Node is one process as a snapshot knows it: its name, its roles in the scope, and its metadata. It never changes; a
// change of the process makes a new Node. All methods may be called from any goroutine.
type Node struct {
	name       string
	id         life
	generation uint64
	ttl        time.Duration // the owner's
	roles      []Role        // sorted, never changed
	hash       uint64        // of its name, for Nodes.Owner
	meta       map[string]string
	heard      uint64    // the serial of the snapshot that brought this state
	hidden     time.Time // of a suspect: since when it is not listed
	silent     bool      // and no server said so
	deaf       bool      // it has outlived a suspicion without an answer: silence tells nothing of it
}

// deafAs says whether a node is deaf that is of a life now.
func (n *Node) deafAs(id life) bool { return n != nil && n.deaf && n.id.incarnation == id.incarnation }

// Name returns the node's stable name, which a restarted process takes up again.
func (n *Node) Name() string { return n.name }

// Incarnation returns the number of this life of the node in the scope. It is larger than that of every earlier life,
// so two Nodes of one name are the same process if and only if their incarnations are equal.
func (n *Node) Incarnation() uint64 { return n.id.incarnation }

// Generation returns the KV revision of the node's record. It moves when the record is written, never by a heartbeat.
// It is not comparable across a bucket that was deleted and made anew.
func (n *Node) Generation() uint64 { return n.generation }

// TTL returns for how long the node may be silent before it is lost: its own [WithTTL].
func (n *Node) TTL() time.Duration { return n.ttl }

// Meta returns the node's metadata for a key, or "" if it has none; see [WithMeta]. It may change while the node lives, by
// [Bus.SetMeta]; a change makes a new Node, as any other does, and is told by [MetaChanged].
func (n *Node) Meta(key string) string { return n.meta[key] }

// Has says whether the node has a role in the scope.
func (n *Node) Has(role Role) bool { return holds(n.roles, role) }

// Roles returns the node's roles in the scope, sorted.
func (n *Node) Roles() Roles { return Roles{n.roles} }

// life places a state within a node's own history: the larger incarnation is newer, and within one incarnation the
// larger version. Only the node itself counts versions, so no server can turn the order round.
type life struct{ incarnation, version uint64 }

func (l life) before(other life) bool {
	return l.incarnation < other.incarnation || l.incarnation == other.incarnation && l.version < other.version
}
