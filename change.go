package rolebus

import "time"

// change is one fact about one node, in the only form that the inside knows: whatever the server sent has become a
// change, or an error, at the border.
type change struct {
	kind       kind
	node       string
	id         life
	generation uint64            // the record's revision; 0 in what is about to be written
	first      bool              // an announcement: the bucket held nothing of the node before
	stored     time.Time         // an announcement: when, by the server's clock; zero if it does not say
	ttl        time.Duration     // state: the owner's
	base       uint64            // delta: the version that it changes
	roles      []Role            // state: all roles, sorted
	meta       map[string]string // state
	added      []Role            // delta, sorted
	removed    []Role            // delta, sorted
	due        time.Time         // expired: when the lease ran out, by the server's clock, to the millisecond
	late       time.Duration     // expired: how long after that the server said so
}

type kind int

const (
	kindState   kind = iota + 1 // whole in itself: a join, or a record written again
	kindDelta                   // some roles added and removed
	kindNotice                  // the record changed, but is too large to announce: fetch it
	kindLeft                    // a tombstone: the node said goodbye
	kindExpired                 // a tombstone: the node's lease ran out
)

var kindNames = map[kind]string{
	kindState: "state", kindDelta: "delta", kindNotice: "notice", kindLeft: "left", kindExpired: "expired",
}

func (k kind) String() string    { return kindNames[k] }
func (k kind) isTombstone() bool { return k == kindLeft || k == kindExpired }

func (k kind) reason() Reason {
	if k == kindLeft {
		return ReasonLeft
	}
	return ReasonExpired
}

// graceOf is what a node in doubt has to write its record again: its lease and one heartbeat.
func graceOf(ttl time.Duration) time.Duration { return ttl + ttl/3 }
