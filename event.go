package rolebus

// EventKind says what happened.
type EventKind int

// The kinds of events.
const (
	NodeJoined  EventKind = iota + 1 // a node is listed that was not; a new life of a known name counts as new
	NodeLeft                         // a node is not listed any more; comes after RoleRemoved for each of its roles
	NodeBuried                       // a node that left as unreachable, and no other, is gone for certain: see ReasonUnreachable
	RoleAdded                        // a node has a role that it had not; comes after NodeJoined
	RoleRemoved                      // a node has no longer a role that it had
	MetaChanged                      // a node has other metadata than before, in the same life
)

// String returns the kind's name, such as "NodeJoined".
func (k EventKind) String() string {
	switch k {
	case NodeJoined:
		return "NodeJoined"
	case NodeLeft:
		return "NodeLeft"
	case NodeBuried:
		return "NodeBuried"
	case RoleAdded:
		return "RoleAdded"
	case RoleRemoved:
		return "RoleRemoved"
	case MetaChanged:
		return "MetaChanged"
	}
	return "EventKind(?)"
}

// Reason says why a node went.
type Reason int

// The reasons why a node went. An event that is not about a node that went has the zero Reason.
const (
	// ReasonLeft: it said goodbye, by [Bus.Leave] or [Bus.Close].
	ReasonLeft Reason = iota + 1
	// ReasonExpired: it fell silent for longer than its TTL, so that its lease ended.
	ReasonExpired
	// ReasonUnreachable: this process cannot reach it, although its lease still runs. Exactly one event follows in the same
	// watch: [NodeJoined] when a node of this name is listed again, [NodeBuried] when it is gone for certain. So work is not sent
	// to it from now on, and what it had is handed to others when it is buried. If the node that joins has another incarnation,
	// it is a new life: then the one that left is gone for certain, too, and is not buried besides. All other reasons are certain at
	// once: no NodeBuried follows.
	ReasonUnreachable
	// ReasonSuperseded: a newer life took its name, that is, a process which was started later.
	ReasonSuperseded
)

// String returns the reason as one lower-case word.
func (r Reason) String() string {
	switch r {
	case ReasonLeft:
		return "left"
	case ReasonExpired:
		return "expired"
	case ReasonUnreachable:
		return "unreachable"
	case ReasonSuperseded:
		return "superseded"
	}
	return ""
}

// Event is one step from one snapshot of a scope to a later one.
type Event struct {
	Kind       EventKind
	Scope      string
	Node       *Node  // as it is now; of a node that went, as it was last
	Role       Role   // RoleAdded, RoleRemoved
	Reason     Reason // why the node went: NodeLeft, the RoleRemoved before it, and NodeBuried
	Generation uint64 // of the record, or of the tombstone, that says so; 0 if nothing in the bucket does

	snap *Snapshot
}

// Snapshot returns the snapshot that the step led to: what was so when the event came about, where [Scope.Snapshot] may have moved
// on. It is nil in an Event that was made by hand.
func (ev Event) Snapshot() *Snapshot { return ev.snap }
