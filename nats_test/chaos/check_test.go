//go:build linux

package chaos_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	grace = ttl + ttl/3 // what a doubted node has left, as the product has it

	// expiry is the bound of promise 4.
	expiry = ttl + 500*time.Millisecond
	// promptly is the bound of promise 5: one message.
	promptly = 500 * time.Millisecond
	// convergence is the bound of promise 1. It counts from when every process runs, every link is good, and the
	// servers have a leader and current replicas again: how long these take for that is theirs.
	convergence = 10 * time.Second

	// recovery is what a process may take, after its link or its server is good again, to be connected and to be heard:
	// the client waits up to 0.5 s between attempts, and an attempt at a server that hangs takes 2 s.
	recovery = 3 * time.Second
	// quiet is how long servers, links and observers must have been well before the promises of times hold: until then
	// an observer believes no tombstone. To the grace comes the contact that must be back first.
	quiet = grace + 2*time.Second
	// silence is how long a process that heartbeats every TTL/3 must have been without a way to the bucket, at least,
	// before a lease of it may run out.
	silence = ttl - ttl/3 - 200*time.Millisecond
)

// violation is a promise that the history breaks.
type violation struct {
	promise int // as numbered in the design; 0 for what nobody may do
	at      instant
	about   []string // names of processes, and jobs
	text    string
}

func (v violation) String() string {
	if v.promise == 0 {
		return v.text
	}
	return fmt.Sprintf("promise %d (%s): %s", v.promise, promises[v.promise], v.text)
}

var promises = map[int]string{
	1: "convergence", 2: "no going back", 3: "no false loss", 4: "bounded loss", 5: "leaving is immediate", 6: "one life",
	7: "isolation", 8: "nothing lost", 15: "a call runs at most once",
}

// check holds a history against the promises, and returns what is broken in the order of time.
func check(records []record) ([]violation, map[int]int) {
	w := newWorld(records)
	var found []violation
	for _, promise := range []func(*world) []violation{
		checkOrder, checkLoss, checkBound, checkDead, checkLeaving, checkLives, checkScopes, checkBucket, checkLease, checkForeign, checkBroken,
		checkCalls,
	} {
		found = append(found, promise(w)...)
	}
	slices.SortStableFunc(found, func(a, b violation) int { return cmp.Compare(a.at, b.at) })
	return found, w.judged
}

// checkBroken passes on what nobody may do.
func checkBroken(w *world) []violation {
	var found []violation
	for _, r := range w.records {
		if r.Kind == broken {
			found = append(found, violation{0, r.At, []string{r.Name}, r.line()})
		}
	}
	return found
}

// world is what the history says of processes, faults, connections and wanted states.
type world struct {
	records  []record
	end      instant
	procs    map[int]*proc
	faults   []fault
	unwell   []span           // the servers did not serve the bucket, or were at fault
	behind   []connection     // servers whose replica was not current
	headless []span           // nobody could be written to: merged, in order
	stalls   []record         // of the machine
	states   map[state]record // every state that was ordered
	lives    map[incarnation]int
	judged   map[int]int // how often a promise was put to the test
}

// proc is one process of a node or an observer.
type proc struct {
	number     int
	name       string
	from, to   instant
	ended      instant // when its bus stopped
	outcome    string
	online     []connection
	stalls     []span
	disturbed  []span            // it did not run, or its link did not work: merged, in order, with the time to recover
	unsettled  []span            // the same, and links that worked badly
	doubts     map[string][]span // by scope: it says that it had no contact with the bucket
	certain    map[string][]span // by scope: it says that it is certain to be listed
	superseded instant
	writes     bool    // it is, or wants to be, a member
	said       instant // when it told something last
}

type connection struct {
	span
	server string // "" while it has none
}

type fault struct {
	span
	effect
	text string
}

// state is what was wanted once: its sequence number is a role.
type state struct{ scope, node, seq string }

type incarnation struct {
	scope, node string
	life        uint64
}

func newWorld(records []record) *world {
	w := &world{records: records, procs: map[int]*proc{}, states: map[state]record{}, lives: map[incarnation]int{}, judged: map[int]int{}}
	open := map[int]int{}
	for _, r := range records {
		w.end = max(w.end, r.At)
		p := w.procs[r.Proc]
		if r.Kind == started {
			w.procs[r.Proc] = &proc{number: r.Proc, name: r.Name, from: r.At, to: forever, ended: forever, superseded: forever,
				online: []connection{{span: span{r.At, forever}}}}
			for _, older := range w.procs {
				if older.name == r.Name && older.number != r.Proc {
					older.superseded = min(older.superseded, r.At)
				}
			}
		}
		if p != nil && r.Kind != started && r.Kind != ordered && r.Kind != exited {
			p.said = r.At
		}
		switch r.Kind {
		case exited:
			p.to = r.At
		case ended:
			p.ended, p.outcome = r.At, r.Outcome
		case online, offline:
			if p != nil {
				p.online[len(p.online)-1].to = r.At
				p.online = append(p.online, connection{span{r.At, forever}, r.Server})
			}
		case doubting:
			if p == nil {
				break
			}
			if p.doubts == nil {
				p.doubts = map[string][]span{}
			}
			if doubts := p.doubts[r.Scope]; len(doubts) > 0 && doubts[len(doubts)-1].to == forever {
				doubts[len(doubts)-1].to = r.At
			} else {
				p.doubts[r.Scope] = append(doubts, span{r.At.add(-ttl / 5), forever}) // so long it waited in vain
			}
		case certain:
			if p.certain == nil {
				p.certain = map[string][]span{}
			}
			if spans := p.certain[r.Scope]; len(spans) > 0 && spans[len(spans)-1].to == forever {
				spans[len(spans)-1].to = r.Began
			} else {
				p.certain[r.Scope] = append(spans, span{r.At, forever})
			}
		case stalled:
			if p == nil {
				w.stalls = append(w.stalls, r)
			} else {
				p.stalls = append(p.stalls, span{r.Began, r.At})
			}
		case ordered:
			if p != nil {
				p.writes = p.writes || r.Op == opSet
			}
			if seq := seqOf(r.Roles); seq != "" {
				w.states[state{r.Scope, r.Name, seq}] = r
			}
		case sees:
			if order, found := w.states[state{r.Scope, r.Node, seqOf(r.Roles)}]; found {
				w.lives[incarnation{r.Scope, r.Node, r.Life}] = order.Proc
			}
		case faulted:
			open[r.Fault] = len(w.faults)
			w.faults = append(w.faults, fault{span{r.At, forever}, r.Effect, r.Text})
		case healed:
			if i, found := open[r.Fault]; found {
				w.faults[i].to = r.At
			}
		}
	}
	w.sickness()
	for _, p := range w.procs {
		w.disturb(p)
	}
	return w
}

func seqOf(roles []string) string {
	for _, role := range roles {
		if strings.Contains(role, "/seq=") {
			return role
		}
	}
	return ""
}

func (w *world) sickness() {
	for _, f := range w.faults {
		if f.servers {
			w.unwell = append(w.unwell, f.span)
		}
	}
	from, behind := instant(0), ""
	end := func(at instant) {
		if from == forever {
			return
		}
		trouble := span{from, at}
		w.unwell = append(w.unwell, trouble)
		if behind != "" {
			w.behind = append(w.behind, connection{trouble, behind})
		} else {
			w.headless = append(w.headless, trouble)
		}
	}
	for _, r := range w.records {
		switch r.Kind {
		case sick:
			end(r.At)
			from, behind = r.At.add(-2*visit), "" // when it was asked last
			_, _ = fmt.Sscanf(r.Text, "replica %s is not current", &behind)
		case well:
			end(r.At)
			from, behind = forever, ""
		}
	}
	end(forever)
	w.headless = merge(w.headless)
}

func later(i instant, d time.Duration) instant {
	if i == forever {
		return forever
	}
	return i.add(d)
}

// disturb finds out when a process did not run or did not reach NATS, through no fault of anybody's but its own
// process's, link's or server's, which hangs, is split off, or catches up after damage. That servers are stopped or
// started is not among it.
func (w *world) disturb(p *proc) {
	for _, f := range w.faults {
		s := span{f.from, later(f.to, recovery)}
		if f.kills && slices.Contains(f.procs, p.number) {
			s.to = forever
		}
		if slices.Contains(f.procs, p.number) || slices.Contains(f.nodes, p.name) {
			p.disturbed = append(p.disturbed, s)
		}
		if slices.Contains(f.bends, p.name) {
			p.unsettled = append(p.unsettled, s)
		}
		for _, c := range p.online {
			// One that has no connection may be trying the server that hangs.
			if len(f.cuts) > 0 && (c.server == "" || slices.Contains(f.cuts, c.server)) && c.meets(s) {
				p.disturbed = append(p.disturbed, span{max(c.from, s.from), min(later(c.to, recovery), s.to)})
			}
		}
	}
	for _, b := range w.behind { // a server that catches up may not carry anything to the others for seconds
		for _, c := range p.online {
			if c.server == b.server && c.meets(b.span) {
				p.disturbed = append(p.disturbed, span{max(c.from, b.from), min(c.to, b.to)})
			}
		}
	}
	for _, s := range p.stalls {
		if w.paused(s) {
			continue
		}
		p.disturbed = append(p.disturbed, span{s.from, s.to.add(recovery / 3)})
	}
	for _, r := range w.stalls {
		if r.At.since(r.Began) > ttl/3 {
			p.disturbed = append(p.disturbed, span{r.Began, r.At.add(recovery)})
		}
	}
	p.unsettled = merge(append(p.unsettled, p.disturbed...))
	p.disturbed = merge(p.disturbed)
}

// paused says whether everything stood still then.
func (w *world) paused(s span) bool {
	return slices.ContainsFunc(w.faults, func(f fault) bool { return f.pauses && f.meets(s) })
}

// merge joins spans that meet.
func merge(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// slack is what the machine, or the observer's process, was late in a span.
func (w *world) slack(observer *proc, s span) time.Duration {
	most := w.stalledIn(s)
	for _, stall := range observer.stalls {
		if stall.meets(s) {
			most += stall.to.since(stall.from)
		}
	}
	return most
}

// stalledIn is how long the machine had no time for the controller in a span.
func (w *world) stalledIn(s span) time.Duration {
	var sum time.Duration
	for _, r := range w.stalls {
		if (span{r.Began, r.At}).meets(s) {
			sum += r.At.since(r.Began)
		}
	}
	return sum
}

// calm says whether the servers, and an observer, were well in a span and for a while before.
func (w *world) calm(observer *proc, s span) bool {
	s.from = s.from.add(-quiet)
	return observer.from < s.from && observer.to > s.to && observer.superseded > s.to && observer.ended > s.to &&
		!meetsAny(w.unwell, s) && !meetsAny(observer.unsettled, s)
}
