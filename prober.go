package rolebus

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
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
}

// seen is what a node's last answer said.
type seen struct {
	incarnation uint64
	server      string
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
		if n := snap.successor(p.self); n != nil && p.self != "" && n != p.met && !p.quiet() {
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
			if !p.quiet() {
				p.round(ctx, round%2 == 0)
				round++
			}
			timer.Reset(jitter(p.pace()))
		}
	}
}

// quiet says whether this process suspects nobody now, because it may be the one that is cut off.
func (p *prober) quiet() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused || !p.trust.believes(time.Now())
}

// round asks the successor, and if that does not answer the one after it. With more it asks one more node at the same time,
// so that who is a successor tomorrow has been heard today. An observer, who has no place in the ring, asks that one only.
func (p *prober) round(ctx context.Context, more bool) {
	snap := p.snap()
	var first, other *Node
	if p.self != "" {
		first = snap.successor(p.self)
	}
	if more || p.self == "" {
		if other = snap.successor(p.next); other != nil {
			p.next = other.name
		}
		if other == first || other != nil && other.name == p.self {
			other = nil
		}
	}
	var second question
	if other != nil {
		second = p.question(ctx, other).ahead(p.wg)
	}
	for n, step := first, 0; n != nil && n.name != p.self && step < stepsPerRound; n, step = snap.successor(n.name), step+1 {
		if p.find(ctx, p.question(ctx, n)) == answered {
			break
		}
	}
	if other != nil {
		p.find(ctx, second)
	}
	for name := range p.seen {
		if snap.live(name) == nil {
			delete(p.seen, name)
		}
	}
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
			p.seen[n.name] = seen{n.id.incarnation, a.server}
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
	if !ok || p.quiet() {
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

// hear takes in a hint, and asks the one whom somebody else suspects. It never waits: what is too much is dropped.
func (p *prober) hear(h hint) {
	n := p.snap().named.get(h.node)
	if n == nil || h.node == p.self || h.incarnation != 0 && h.incarnation != n.id.incarnation || p.quiet() || !p.take(h.node) {
		return
	}
	p.wg.Go(func() {
		p.examine(p.ctx, n, h)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.checking, h.node)
	})
}

// take says whether a node may be asked because of a hint: not if it is being asked already, and not too often, so that
// no flood of hints becomes a flood of probes.
func (p *prober) take(node string) bool {
	now, pace := time.Now(), p.pace()
	p.mu.Lock()
	defer p.mu.Unlock()
	rounds := float64(now.Sub(p.filled)) / float64(pace)
	p.budget, p.filled = min(checksInBurst, p.budget+rounds*checksPerRound), now
	if p.checking[node] || p.budget < 1 {
		return false
	}
	p.budget--
	p.checking[node] = true
	return true
}

// examine asks a node that somebody else could not reach: after the witness, so that it is known that the way to it is good.
func (p *prober) examine(ctx context.Context, n *Node, h hint) {
	began := p.snap().serial
	if h.closed {
		if !p.closed(ctx, n) {
			return
		}
	} else if !p.unreachable(ctx, n, h.server) {
		return
	}
	h.incarnation = n.id.incarnation
	p.blame(ctx, h, began)
}

// unreachable says whether a node cannot be reached, though its server works.
func (p *prober) unreachable(ctx context.Context, n *Node, server string) bool {
	if !sleep(ctx, rand.N(1+checkAfter*time.Duration(p.snap().members.len()))) || p.snap().live(n.name) != n {
		return false
	}
	way, ok := p.vouched(ctx, server)
	if !ok {
		return false
	}
	_, err := p.ask(ctx, n.name, probePatience)
	return unreached(err, way)
}

// unreached says whether an attempt to ask a node tells something about that node, when the way to it took so long. Whoever
// has much to do, or whose machine has, is not gone.
func unreached(err error, way time.Duration) bool {
	return errors.Is(err, errAbsent) || errors.Is(err, errSilent) && way < quickWay
}

// closed says whether nobody listens for a node any more whose connection was closed. The server that told of it works, so
// nobody need vouch for it.
func (p *prober) closed(ctx context.Context, n *Node) bool {
	absent := 0
	for _, patience := range closedPatience {
		switch _, err := p.ask(ctx, n.name, patience); {
		case errors.Is(err, errSilent):
		case !errors.Is(err, errAbsent):
			return false
		case !p.peers.clustered():
			return true
		default:
			if absent++; absent == absentTries || !sleep(ctx, movedGrace) {
				return absent == absentTries
			}
		}
	}
	return false
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
