//go:build linux

package chaos_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// kinds of records.
const (
	started  = "started"  // a process was started; Name, Proc
	joined   = "joined"   // it is in the fleet
	ordered  = "ordered"  // the controller told it to do something; Call, Op, Scope, Roles
	returned = "returned" // a call has ended; Call, Op, Scope, Outcome, Text, Began
	sees     = "sees"     // it sees a node's state; Scope, Node, Life, Roles
	misses   = "misses"   // it sees that a node has gone; Scope, Node, Life, Reason
	rewatch  = "rewatch"  // it sees a scope anew, from nothing; Scope
	online   = "online"   // it is connected to a server; Server
	offline  = "offline"  // it is not connected
	stalled  = "stalled"  // it did not run from Began to At: the machine's, or a SIGSTOP's, fault
	ended    = "ended"    // its bus has stopped; Outcome, Text
	exited   = "exited"   // the process is gone; Text
	doubting = "doubting" // it says that it has no contact with the bucket in a scope, or has again; Scope, Text
	certain  = "certain"  // it says that it is certain to be listed in a scope, or is not any more and was last at Began; Scope, Text
	called   = "called"   // it has called a method; Op, Scope, Node and Life that it asked last, Job, Began, Within, Outcome, Text, Answer; Reason: what is claimed
	ran      = "ran"      // it runs a job; Op, Scope, Job
	tried    = "tried"    // a stranger tried to use the foreign bucket since Began; Outcome, Text
	broken   = "broken"   // it did what nobody may do: panic, race, a read that makes no sense; Text
	faulted  = "faulted"  // a fault begins; Fault, Effect, Text
	healed   = "healed"   // and is over; Fault
	sick     = "sick"     // the servers do not serve the bucket; Text
	well     = "well"     // they do
	holds    = "holds"    // what the bucket's settings are found to be: Text is one of the three below
	noted    = "noted"    // for the reader; Text
	answered = "answered" // to a question of the controller; Call, Dump
)

// what the bucket's settings are.
const (
	sound   = ""                   // it is there, and takes records and leases
	missing = "there is no bucket" // says a server that knows
	maimed  = "the bucket does not take leases"
	unasked = "nobody knows"
)

// operations that are ordered.
const (
	opSet   = "set"   // make these the roles in a scope, joining it if need be
	opLeave = "leave" // leave a scope
	opClose = "close" // close the bus and exit
	opDump  = "dump"  // tell the snapshots
	opStats = "stats" // tell what is in use
	opCall  = "call"  // call every node that it sees, and tell what failed
	// of a server, with Limit, 0 for what it was at first
	opLimit       = "limit"       // so many bytes are what the account may store
	opPayload     = "payload"     // of one message
	opConnections = "connections" // of clients
	opLameDuck    = "lame duck"   // end, but say goodbye first
)

// outcomes of calls and buses.
const (
	ok          = "ok"
	unconfirmed = "unconfirmed" // still wanted
	refused     = "refused"     // not wanted
	superseded  = "superseded"
	closed      = "closed"
	unnamed     = "unnamed" // a call failed with none of the errors to act on

	notRun = "did not run" // what the error of a call claims
)

// record is one fact of the history.
type record struct {
	At      instant  `json:"t"`
	Kind    string   `json:"k"`
	Proc    int      `json:"-"` // which process, 0 for the controller; numbers are never used twice
	Name    string   `json:"-"` // its name
	Scope   string   `json:"s,omitempty"`
	Node    string   `json:"n,omitempty"`
	Life    uint64   `json:"l,omitempty"` // incarnation
	Roles   []string `json:"r,omitempty"`
	Reason  string   `json:"why,omitempty"`
	Call    int      `json:"c,omitempty"`
	Op      string   `json:"o,omitempty"`
	Outcome string   `json:"out,omitempty"`
	Text    string   `json:"x,omitempty"`
	Server  string   `json:"srv,omitempty"`
	Began   instant  `json:"b,omitempty"`
	Dump    *dump    `json:"d,omitempty"`
	Stats   *stats   `json:"st,omitempty"`

	Job    uint64        `json:"j,omitempty"`
	Within time.Duration `json:"in,omitempty"`
	Answer done          `json:"a,omitzero"`

	Fault  int    `json:"-"`
	Effect effect `json:"-"`
}

// dump is all that a process sees: by scope, by node.
type dump struct {
	Scopes map[string]map[string]view `json:"scopes"`
	Stale  bool                       `json:"stale"`
}

type view struct {
	Life  uint64   `json:"l"`
	Roles []string `json:"r"`
}

// effect is what a fault means for the promises.
type effect struct {
	at       instant  // since when, if not since the fault began
	procs    []int    // these processes do not run
	nodes    []string // the links of these do not work
	silences bool     // nothing of those reaches NATS, so that their leases run out
	kills    bool     // and they do not come back
	bends    []string // the links of these work, but not as links should
	cuts     []string // who is connected to these servers does not reach the bucket by them
	servers  bool     // the servers, or the bucket, are not what they should be
	pauses   bool     // everything stood still at once: so nobody was late
	mends    bool     // the fleet is to put that right by itself, while the fault lasts
}

// history is everything that was recorded.
type history struct {
	mu      sync.Mutex
	records []record
	live    func(record)
}

func (h *history) add(r record) {
	if r.At == 0 {
		r.At = now()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, r)
	if h.live != nil {
		h.live(r)
	}
}

// all returns the records in the order of their times.
func (h *history) all() []record {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.Clone(h.records)
	slices.SortStableFunc(all, func(a, b record) int { return cmp.Compare(a.At, b.At) })
	return all
}

// line tells a record to a reader.
func (r record) line() string {
	who := r.Name
	if r.Proc > 0 {
		who = fmt.Sprintf("%s#%d", r.Name, r.Proc)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %-8s", who, r.Kind)
	for _, part := range []struct{ name, value string }{
		{"", r.Op}, {"in ", r.Scope}, {"", r.Node}, {"", told(r.Roles)}, {"", r.Reason}, {"to ", r.Server},
		{"", r.Outcome}, {"", r.Text},
	} {
		if part.value != "" {
			b.WriteString(" " + part.name + part.value)
		}
	}
	if r.Life > 0 {
		fmt.Fprintf(&b, " life %d", r.Life)
	}
	if r.Call > 0 {
		fmt.Fprintf(&b, " call %d", r.Call)
	}
	b.WriteString(r.job())
	if r.Fault > 0 {
		fmt.Fprintf(&b, " fault %d", r.Fault)
	}
	if r.Began > 0 {
		fmt.Fprintf(&b, " (%.3f s)", r.At.since(r.Began).Seconds())
	}
	return b.String()
}

// job names the job of a record to a reader; "" if it has none.
func (r record) job() string {
	if r.Job == 0 {
		return ""
	}
	return fmt.Sprintf(" job %x", r.Job)
}

// told tells roles to a reader.
func told(roles []string) string {
	const most = 30
	short := slices.Clone(roles)
	for i, role := range short {
		if len(role) > most {
			short[i] = role[:most] + "…"
		}
	}
	return strings.Join(short, ",")
}
