package rolebus

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	probePatience = 700 * time.Millisecond // for one answer
	absentTries   = 2                      // so often nobody listens before that is a hint
	absentAgain   = 200 * time.Millisecond // between them
	silentTries   = 2                      // so often no answer comes, before the last time, which makes it a hint

	witnessTries    = 4 // one may be asked that hangs, too
	witnessPatience = 250 * time.Millisecond
	quickWay        = probePatience / 3 // where a witness takes longer to answer, silence tells nothing of a node

	checkAfter = 100 * time.Microsecond // for each node, at the most, a hint is checked: not by all at the same moment

	nodesPerSecond = 1000 // begin a round in a scope: from then on the interval grows
	probesPerRound = 2    // of one process at the most: its successor, and in every other round one more
	stepsPerRound  = 8    // past so many that do not answer the next one is looked for
	revisitsAtOnce = 4    // suspects that are asked again in a round
	checksPerRound = 8    // hints that are checked, beyond
	checksInBurst  = 64   // that many at first
	lookAgain      = 10   // looks for a new successor between two rounds, when much changes
)

// closedPatience is for how long an answer is waited for, time after time, once a server has told that a node's connection
// was closed. It may tell so a moment before it has forgotten that the node listened, and another server learns it later
// still: meanwhile nothing answers, which counts for nothing.
var closedPatience = [...]time.Duration{30 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond}

// movedGrace is what a process that lost its connection may take to be known again through another server.
const movedGrace = 10 * time.Millisecond

// prober finds out, for one stay in a scope, who cannot be reached. It asks its neighbours, and tells all others whom it
// suspects; whom others suspect it asks itself. What it finds is a verdict for the scope's loop, which hides the node
// or lists it again.
//
//	own rounds: the successor has no listener, twice, or is silent three times, ---+---> verdict
//	            and the server that it was on works                                |
//	                                                                               v
//	others:     a hint, in a message of its own or in the answer of a neighbour <- hint to all
//	            -> its server works, and it has no listener or is silent --------------> verdict
//	servers:    its connection was closed, and it has no listener (in a cluster: twice) -> verdict
//
// Answers name the suspects too, so that a hint that was lost, or is older than a process that has just joined, still
// gets round.
//
// A server that stops takes its clients with it, and they are alive: hence a node counts as gone only while the very
// server that it was connected to still works, as another process that is connected there shows, or as that server itself
// says.
type prober struct {
	peers    peers
	scope    string
	self     string // "" for an observer, who has no place in the ring
	interval time.Duration
	trust    *trust
	log      *slog.Logger
	snap     func() *Snapshot
	deliver  func(context.Context, verdict)

	ctx context.Context // over when the stay begins to end
	wg  *sync.WaitGroup // the stay's

	mu       sync.Mutex
	checking map[string]bool // nodes that are being asked because of a hint
	budget   float64         // hints that may be checked now
	filled   time.Time       // when the budget was last made up
	refused  bool            // this process may not probe: it suspects nobody

	blamed map[string]hint // why nodes were found to be gone

	// Of the rounds only.
	seen map[string]seen // who answered, so that who does not answer any more can be told from who never could
	next string          // the last one asked beside the successor
	turn string          // the last suspect asked again
	met  *Node           // the last successor that was asked at once

	stopped string // the last one asked in the ring, if the round ended before somebody answered who asks in turn
}

// seen is what a node's last answer said.
type seen struct {
	incarnation uint64
	server      string
	passive     bool
}

// finding is what came of asking a node in a round.
type finding int

const (
	unknown  finding = iota // it does not answer, but it may be that it never did, or that this process is cut off
	answered                // it is there
	gone                    // it answered before, and does not any more
)

func newProber(m *member) *prober {
	b, s := m.bus, m.scope
	return &prober{
		peers: b.peers, scope: s.name, self: b.self(), interval: b.opts.probe, trust: m.trust,
		log: b.opts.log.With("scope", s.name), snap: s.snap.Load, deliver: m.judge, ctx: m.kctx, wg: &m.wg,
		checking: map[string]bool{}, blamed: map[string]hint{}, budget: checksInBurst, filled: time.Now(), seen: map[string]seen{},
	}
}

// pace is the time from one round to the next.
func (p *prober) pace() time.Duration {
	return max(p.interval, time.Duration(p.snap().members.len())*time.Second/nodesPerSecond)
}

// run probes, a round after another, until ctx is over. A successor that is new is asked at once: it might be dead by the
// next round, and never have been heard.
func (p *prober) run(ctx context.Context) {
	timer := time.NewTimer(spread(p.pace()))
	defer timer.Stop()
	for round := 0; ; {
		snap := p.snap()
		if n := snap.successor(p.self); n != nil && p.self != "" && n != p.met && p.may(n) {
			p.met = n
			if p.seen[n.name].incarnation != n.id.incarnation {
				p.find(ctx, p.question(ctx, n))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-snap.superseded:
			sleep(ctx, p.pace()/lookAgain) // one look for all that happens at about the same time
		case <-timer.C:
			p.revisit(ctx)
			if p.round(ctx, round%2 == 0) {
				round++
			}
			timer.Reset(jitter(p.pace()))
		}
	}
}

// may says whether this process may suspect a node now. It may not where it may be the one that is cut off.
func (p *prober) may(n *Node) bool {
	p.mu.Lock()
	refused := p.refused
	p.mu.Unlock()
	return !refused && p.trust.calm(time.Now()) >= graceOf(n.ttl)
}

// round asks the successor, and if that does not answer, or asks nobody itself, the one after it. With more it asks one more
// node at the same time, so that who is a successor tomorrow has been heard today. An observer, who has no place in the ring,
// asks that one only. It returns false if there was nobody to ask.
func (p *prober) round(ctx context.Context, more bool) (asked bool) {
	snap := p.snap()
	var other *Node
	if more || p.self == "" {
		if other = snap.successor(p.next); other != nil {
			p.next = other.name
		}
		if other != nil && (other.name == p.self || p.self != "" && other == snap.successor(p.self) || !p.may(other)) {
			other = nil
		}
	}
	var second question
	if other != nil {
		second = p.question(ctx, other).ahead(p.wg)
	}
	if p.self != "" {
		asked = p.walk(ctx, snap)
	}
	if other != nil {
		p.find(ctx, second)
	}
	for name := range p.seen {
		if snap.live(name) == nil {
			delete(p.seen, name)
		}
	}
	return asked || other != nil
}

// walk asks those that follow in the ring, up to the first that answers and asks in its turn. The next one after it is that
// one's to ask. Where there are many that ask nobody it goes on in the next round where it stopped.
func (p *prober) walk(ctx context.Context, snap *Snapshot) (asked bool) {
	from := p.stopped
	if snap.named.get(from) == nil {
		from = p.self
	}
	p.stopped = ""
	n := snap.successor(from)
	for range stepsPerRound {
		if n == nil || n.name == p.self {
			return asked
		}
		if p.may(n) {
			asked = true
			if p.find(ctx, p.question(ctx, n)) == answered && !p.seen[n.name].passive {
				return asked
			}
		}
		p.stopped = n.name
		if n = snap.successor(n.name); n.name == p.self {
			p.stopped = ""
		}
	}
	return asked
}

// question is one to a node.
type question struct {
	node  *Node
	began uint64                 // the serial of the snapshot when it was asked
	said  func() (answer, error) // waits for the answer
}

func (p *prober) question(ctx context.Context, n *Node) question {
	return question{n, p.snap().serial, func() (answer, error) { return p.ask(ctx, n.name, probePatience) }}
}

// ahead asks at once, while something else is done.
func (q question) ahead(wg *sync.WaitGroup) question {
	var a answer
	var err error
	ask, done := q.said, make(chan struct{})
	wg.Go(func() {
		defer close(done)
		a, err = ask()
	})
	q.said = func() (answer, error) {
		<-done
		return a, err
	}
	return q
}

// find asks a node. If it is gone, the others are told.
func (p *prober) find(ctx context.Context, q question) finding {
	n := q.node
	for absent, silent := 0, 0; absent < absentTries && silent < silentTries; {
		a, err := q.said()
		q.said = p.question(ctx, n).said
		switch {
		case err == nil && a.incarnation != n.id.incarnation:
			return unknown // it has begun another life, of which the bucket will tell
		case err == nil:
			p.seen[n.name] = seen{n.id.incarnation, a.server, a.passive}
			if n.deaf {
				p.deliver(ctx, verdict{node: n.name, incarnation: n.id.incarnation, reachable: true})
			}
			for _, h := range a.suspects {
				p.hear(h)
			}
			return answered
		case p.seen[n.name].incarnation != n.id.incarnation:
			return unknown
		case errors.Is(err, errAbsent):
			if absent++; absent < absentTries && !sleep(ctx, absentAgain) {
				return unknown
			}
		case errors.Is(err, errSilent):
			silent++
		default:
			return unknown
		}
	}
	h := hint{node: n.name, incarnation: n.id.incarnation, server: p.seen[n.name].server}
	way, ok := p.vouched(ctx, h.server)
	if !ok || !p.may(n) {
		return unknown
	}
	// Once more, now that the way is known to be good: it may have come back since the node was asked last.
	if _, err := p.ask(ctx, n.name, probePatience); !unreached(err, way) {
		return unknown
	}
	p.log.Info("a node cannot be reached", "node", n.name, "incarnation", n.id.incarnation)
	_ = p.peers.hint(p.scope, h) // if it is lost, answers tell it
	p.blame(ctx, h, q.began)
	return gone
}

// blame says that a node is gone.
func (p *prober) blame(ctx context.Context, h hint, began uint64) {
	p.mu.Lock()
	p.blamed[h.node] = h
	p.mu.Unlock()
	p.deliver(ctx, verdict{node: h.node, incarnation: h.incarnation, began: began})
}

// suspects returns hints at those whom this process suspects now.
func (p *prober) suspects() []hint {
	suspects := p.snap().suspects
	p.mu.Lock()
	defer p.mu.Unlock()
	var hints []hint
	for _, n := range suspects {
		if h := p.blamed[n.name]; h.incarnation == n.id.incarnation {
			hints = append(hints, h)
		}
	}
	if len(p.blamed) > 2*len(suspects)+maxSuspects {
		p.blamed = map[string]hint{}
		for _, h := range hints {
			p.blamed[h.node] = h
		}
	}
	return hints
}

// ask asks a node whether it is there.
func (p *prober) ask(ctx context.Context, node string, patience time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	a, err := p.peers.probe(ctx, p.scope, node)
	if errors.Is(err, nats.ErrPermissionViolation) {
		p.mu.Lock()
		first := !p.refused
		p.refused = true
		p.mu.Unlock()
		if first {
			p.log.Warn("no node will be suspected", "error", err)
		}
	}
	return a, err
}

// vouched says whether a server works: it carries a message to a process that is connected there, and its answer back. It
// tells how long that took.
func (p *prober) vouched(ctx context.Context, server string) (way time.Duration, ok bool) {
	if server == "" {
		return 0, false
	}
	if p.self != "" && server == p.peers.server() {
		asked := time.Now()
		_, err := p.ask(ctx, p.self, probePatience)
		return time.Since(asked), err == nil
	}
	for range witnessTries {
		asked := time.Now()
		wctx, cancel := context.WithTimeout(ctx, witnessPatience)
		err := p.peers.witness(wctx, server)
		cancel()
		if err == nil {
			return time.Since(asked), true
		}
		if !errors.Is(err, errSilent) {
			return 0, false
		}
	}
	return 0, false
}

// revisit asks some of the suspects again.
func (p *prober) revisit(ctx context.Context) {
	suspects := p.snap().suspects
	for range min(revisitsAtOnce, len(suspects)) {
		n := following(suspects, p.turn)
		p.turn = n.name
		p.wg.Go(func() {
			if a, err := p.ask(ctx, n.name, probePatience); err == nil && a.incarnation == n.id.incarnation {
				p.deliver(ctx, verdict{node: n.name, incarnation: n.id.incarnation, reachable: true})
			}
		})
	}
}
