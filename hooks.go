package rolebus

import "time"

// Hook is anything that has one or more of the methods of the Hook interfaces below, to count, measure and trace what a Bus
// does: see [WithHooks]. Each event is an interface of its own with one method, which takes one struct, so that neither a new
// event nor a new field breaks a hook that exists.
//
// A hook's methods are called one after another, never two at a time, in the order in which the events happened, on a goroutine
// of the hook's own. They may block and take as long as they like, and call anything of the Bus: nothing waits for them but
// [Bus.Close]. Up to 1,024 events wait for a hook; those that come while as many do are missed, and [HookMissed] tells how many.
// If a method panics or calls [runtime.Goexit], that is logged, on standard error if the logger does not take errors, and the
// next event follows. A hook that is given to two Buses, or twice to one, is called by each on its own, at the same time.
//
// Close delivers what waits, and returns when the hooks have returned, or after the request timeout: then its error says so, and
// the hook is called no more.
//
// A method may keep what it is given, and must not change it. Durations are by this process's monotonic clock unless it is said
// otherwise. Errors are for people and metrics: match them with errors.Is, as those that calls return.
type Hook any

// HookStarted is told when Connect or New has succeeded, just before they return. What they did until then is told first. A
// failure is told to the caller only.
type HookStarted interface{ OnStarted(StartedInfo) }

// StartedInfo is the event of [HookStarted].
type StartedInfo struct {
	Node     string        // this process's node, also of an observer, whom others do not see
	Observer bool          // see [WithObserver]
	Scopes   []string      // that are joined, sorted; also those of [WithAllScopes]
	Roles    Roles         // that the node has in the default scope from the start
	Took     time.Duration // from the call of Connect or New on
}

// HookScopeJoined is told when a scope is joined, at the start or later.
type HookScopeJoined interface{ OnScopeJoined(ScopeJoinedInfo) }

// ScopeJoinedInfo is the event of [HookScopeJoined].
type ScopeJoinedInfo struct {
	Scope string
	Nodes int           // listed then, also those without roles
	Took  time.Duration // from the call that joined on, with every attempt
}

// HookScopeLeft is told when a scope was left: by Leave, by Close, or because the Bus stops. Nodes that were up in it are not
// told as down.
type HookScopeLeft interface{ OnScopeLeft(ScopeLeftInfo) }

// ScopeLeftInfo is the event of [HookScopeLeft].
type ScopeLeftInfo struct {
	Scope string
	Nodes int           // listed until then, also those without roles
	Took  time.Duration // with the goodbye
	Err   error         // the goodbye did not get through: matches [ErrNotConfirmed]
}

// HookRolesAdded is told when the bucket has confirmed roles that this node added, those of a join among them. It comes before
// the call that added them returns.
type HookRolesAdded interface{ OnRolesAdded(RolesAddedInfo) }

// RolesAddedInfo is the event of [HookRolesAdded].
type RolesAddedInfo struct {
	Scope      string
	Node       string // this process's own
	Roles      Roles  // those that were added, never none
	Generation uint64 // of the record that has them
}

// HookRolesRemoved is told when the bucket has confirmed that this node has some roles no more. Of one change it comes before
// [HookRolesAdded]. Roles that end with a stay in a scope are not told one by one: see [HookScopeLeft].
type HookRolesRemoved interface{ OnRolesRemoved(RolesRemovedInfo) }

// RolesRemovedInfo is the event of [HookRolesRemoved].
type RolesRemovedInfo struct {
	Scope      string
	Node       string // this process's own
	Roles      Roles  // those that were removed, never none
	Generation uint64 // of the record that has them no more
}

// HookNodeUp is told of each node that a scope lists, as [NodeJoined] is: first of those that are there when it is joined, among
// them this process's own. Each is the view of this process.
//
// Node up and down in a scope come in the order of [Scope.Watch], but not in one order with other events: they may come a
// little later. They are never missed one by one, while the scope is joined. A hook that is slow misses steps, a node that came
// and went, say, but never the end.
type HookNodeUp interface{ OnNodeUp(NodeUpInfo) }

// NodeUpInfo is the event of [HookNodeUp].
type NodeUpInfo struct {
	Scope      string
	Node       *Node  // as it was when it came
	Generation uint64 // of its record
}

// HookNodeDown is told of each node that a scope lists no more, as [NodeLeft] is. Its order is that of [HookNodeUp].
type HookNodeDown interface{ OnNodeDown(NodeDownInfo) }

// NodeDownInfo is the event of [HookNodeDown].
type NodeDownInfo struct {
	Scope      string
	Node       *Node // as it was last
	Reason     Reason
	Generation uint64 // of the tombstone; 0 if nothing in the bucket says that it is gone
}

// HookSync is told each time the bucket was asked whether anything was missed: every sync interval, and whenever there is a
// reason, such as a connection that is back. Syncs that end with the stay in the scope are not told.
type HookSync interface{ OnSync(SyncInfo) }

// SyncKind says what a sync asked the bucket for.
type SyncKind int

// The kinds of syncs, from the cheapest on.
const (
	SyncCheck  SyncKind = iota + 1 // the generation of the newest record: whether there is anything that was not announced
	SyncRecord                     // the record of one node, of whom something was missed
	SyncNewer                      // all records that are newer than the last one read
	SyncWhole                      // the whole scope
)

// String returns the kind as one lower-case word.
func (k SyncKind) String() string {
	switch k {
	case SyncCheck:
		return "check"
	case SyncRecord:
		return "record"
	case SyncNewer:
		return "newer"
	case SyncWhole:
		return "whole"
	}
	return "SyncKind(?)"
}

// SyncInfo is the event of [HookSync].
type SyncInfo struct {
	Scope string
	Kind  SyncKind // what was asked for; a check that finds something goes on to read it
	Node  string   // SyncRecord: whose record
	Took  time.Duration
	Err   error // it is tried again

	// Changed says whether the bucket held something that the snapshot did not, or lacked something that it held: an announcement
	// was missed, or is under way. A SyncRecord is made only when one was, so it is true unless there is an error.
	Changed bool
}

// HookRead is told each time the whole scope was read: when it is joined, by a [SyncWhole], and when another sync shows that what
// was read last is not there any more. It comes before the [HookSync] that it is part of.
type HookRead interface{ OnRead(ReadInfo) }

// ReadInfo is the event of [HookRead].
type ReadInfo struct {
	Scope   string
	Records int // that came, tombstones among them; 0 after an error
	Took    time.Duration
	Err     error // it is tried again, unless a join fails by it
}

// HookChange is told of each change that is announced in a scope, by any node, also by this process's own.
type HookChange interface{ OnChange(ChangeInfo) }

// ChangeInfo is the event of [HookChange].
type ChangeInfo struct {
	Scope string
	Node  string

	// What was announced: "state", a record that is whole in itself, as of a node that joined; "delta", roles that were added or
	// removed; "notice", a change that is too large to be announced; "left" and "expired", the ends.
	Kind       string
	Generation uint64    // of the record
	Stored     time.Time // by the clock of the server that stored it

	// Age is how long after that this process took it in, with the time that it waited here behind others. It is reckoned by this
	// process's estimate of the server's clock, and too large by Slack at the most: how long the server's answer took when it
	// was last asked for the time. Besides it is wrong by what the two clocks have gone apart since then, which is mostly less
	// than a minute (a member asks with the first heartbeat after one minute, an observer every quarter of its TTL), and by
	// what the clocks of two servers differ if another one has become the stream's leader since. So it may be less than 0.
	Age   time.Duration
	Slack time.Duration
	Timed bool // false if the server's clock is not known just now: then Age and Slack are 0
}

// HookSnapshot is told of each snapshot that takes the place of another one while the scope is joined, and of the one that a join
// begins with once it is read.
type HookSnapshot interface{ OnSnapshot(SnapshotInfo) }

// SnapshotInfo is the event of [HookSnapshot]. Snapshots share what they have in common; a hook that is slow keeps
// those that wait for it in memory.
type SnapshotInfo struct {
	Scope    string
	Snapshot *Snapshot
	Changes  int           // changes, heard or read, that led to it; 0 if a suspicion did, or contact that was lost or is back
	Took     time.Duration // to apply them, without what it took to decode them
}

// HookHeartbeat is told of each attempt to renew this node's lease in a scope on schedule, every third of the TTL, and of those
// that follow on one that failed.
type HookHeartbeat interface{ OnHeartbeat(HeartbeatInfo) }

// HeartbeatInfo is the event of [HookHeartbeat].
type HeartbeatInfo struct {
	Scope string
	Late  time.Duration // how long after its time it began; an attempt that follows on a failed one has the time of that one
	Took  time.Duration // with whatever else had to be put right before the lease could be renewed
	Err   error         // it is tried again at once, and then once in a while
}

// HookLeaseLost is told when this node is not certain any more to be listed in a scope: see [Scope.LeaseContext]. That the
// scope was left, or the Bus closed, is no loss.
type HookLeaseLost interface{ OnLeaseLost(LeaseLostInfo) }

// LeaseLostInfo is the event of [HookLeaseLost].
type LeaseLostInfo struct {
	Scope string
	Err   error // matches [ErrLeaseLost], or is what Bus.Err says, such as [ErrSuperseded]
}

// HookLeaseBack is told when this node is certain again to be listed.
type HookLeaseBack interface{ OnLeaseBack(LeaseBackInfo) }

// LeaseBackInfo is the event of [HookLeaseBack].
type LeaseBackInfo struct {
	Scope string
	After time.Duration // since the lease was lost
}

// HookSuspected is told when this process begins to leave a node out of its snapshot because it cannot reach it: see
// [WithProbeInterval].
type HookSuspected interface{ OnSuspected(SuspectedInfo) }

// SuspectedInfo is the event of [HookSuspected].
type SuspectedInfo struct {
	Scope string
	Node  *Node
}

// HookSuspicionEnded is told when a suspicion ends, but not if that is by leaving the scope.
type HookSuspicionEnded interface{ OnSuspicionEnded(SuspicionEndedInfo) }

// SuspicionEnd says how a suspicion ended.
type SuspicionEnd int

// The ends of a suspicion. All but SuspicionBuried have the node listed again.
const (
	SuspicionAnswered  SuspicionEnd = iota + 1 // the node answers again
	SuspicionChanged                           // it changed its record, or began another life
	SuspicionAcquitted                         // the bucket still holds it when its lease would have ended: it answers no probes, but lives
	SuspicionBuried                            // its lease ended, or it said goodbye
)

// String returns the end as one lower-case word.
func (e SuspicionEnd) String() string {
	switch e {
	case SuspicionAnswered:
		return "answered"
	case SuspicionChanged:
		return "changed"
	case SuspicionAcquitted:
		return "acquitted"
	case SuspicionBuried:
		return "buried"
	}
	return "SuspicionEnd(?)"
}

// SuspicionEndedInfo is the event of [HookSuspicionEnded].
type SuspicionEndedInfo struct {
	Scope string
	Node  *Node // as it is now; buried: as it was last
	End   SuspicionEnd
	After time.Duration // for how long it was suspected
}

// HookIgnored is told of each message that was ignored because it is not what it should be. Whoever may write to the fleet's
// subjects can make any number of them: they take at most half of the events that may wait for a hook.
type HookIgnored interface{ OnIgnored(IgnoredInfo) }

// IgnoredInfo is the event of [HookIgnored].
type IgnoredInfo struct {
	Subject string
	Err     error
	Total   uint64 // messages that this Bus has ignored so far; those of other fleets count, too, and are not told one by one
}

// HookConnected is told when this process has a connection to a server, first at the start, and then whenever it has one again.
type HookConnected interface{ OnConnected(ConnectedInfo) }

// ConnectedInfo is the event of [HookConnected].
type ConnectedInfo struct {
	Server  string        // its name
	Address string        // host and port
	After   time.Duration // for how long there was none; 0 at the start
}

// HookServers is told when the servers change that a connection with [WithDiscovery] may go to, when Connect has succeeded and later. What a
// strategy found, and why it did not, its own hooks tell: those of package discovery.
type HookServers interface{ OnServers(ServersInfo) }

// ServersInfo is the event of [HookServers]. Servers are told by host and port.
type ServersInfo struct {
	Servers    []string // all of them, in the order in which they are tried; never none
	Came, Went []string
}

// HookDisconnected is told when the connection is lost, but not when it is closed by [Bus.Close].
type HookDisconnected interface{ OnDisconnected(DisconnectedInfo) }

// DisconnectedInfo is the event of [HookDisconnected].
type DisconnectedInfo struct {
	Server  string // as told by [HookConnected]
	Address string

	// Err is why, as the NATS client says. It may be nil, and mostly is on a connection that was given to [New], whose handlers
	// are not touched; there nats.ErrConnectionClosed says that its owner closed it.
	Err error
}

// HookBucket is told when this process has made the bucket, or mended its settings, and when it sees that they are not as they
// must be and does not mend them.
type HookBucket interface{ OnBucket(BucketInfo) }

// BucketInfo is the event of [HookBucket].
type BucketInfo struct {
	Bucket string
	Made   bool     // it was missing
	Mended []string // the settings that were changed, such as "max age is 1h0m0s, must be none"
	Amiss  error    // what was found and not mended, with the command that does: matches [ErrBucketMismatch], or says why it failed
}

// HookMissed is told how many events the hook that has it has missed because it was slow, before the next one is told. It is no
// event of the Bus: a hook needs another method besides.
type HookMissed interface{ OnMissed(MissedInfo) }

// MissedInfo is the event of [HookMissed].
type MissedInfo struct {
	Events int // since the last one that was told
}
