package rolebus

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
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
	greetsPerRound = 8    // of those who are new are asked, too
	greetTries     = 3    // so often each of them, while no answer comes
	acquaintances  = 64   // as long as so many who are there were not asked in that way
	revisitsAtOnce = 8    // suspects that are asked again in a round
	checksPerRound = 8    // hints that are checked, beyond
	checksInBurst  = 64   // that many at first
	lookAgain      = 10   // looks for a new successor between two rounds, when much changes
)

// closedPatience is for how long an answer is waited for, time after time, once a server has told that a node's connection
// was closed. It may tell so a moment before it has forgotten that the node listened, and another server learns it later
// still: meanwhile nothing answers, which counts for nothing.
var closedPatience = [...]time.Duration{30 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond}

// backAgain is what a process whose connection broke may take to have another one, and to be known through its server.
const backAgain = 20 * time.Millisecond

// prober finds out, for one stay in a scope, who cannot be reached. It asks its neighbours, and tells all others whom it
// suspects; whom others suspect it asks itself. What it finds is a verdict for the scope's loop, which hides the node
// or lists it again.
//
//	own rounds: the successor has no listener, twice, or is silent three times, ---+---> verdict
//	            and the server that it was on works                                |
//	                                                                               v
//	others:     a hint, in a message of its own or in the answer of a neighbour <- hint to all
//	            -> its server works, and it has no listener or is silent --------------> verdict
//	servers:    its connection was closed, and it has no listener, twice ----------------> verdict
//	itself:     it is there, and was hidden: it is asked, and answers -------------------> verdict
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
	self     string        // "" for an observer, who has no place in the ring
	own      func() uint64 // this node's incarnation, 0 before it has one
	say      func()        // tells the others that this node is there
	interval time.Duration
	trust    *trust
	log      *slog.Logger
	snap     func() *Snapshot
	deliver  func(context.Context, verdict)

	ctx context.Context // over when the stay begins to end
	wg  *sync.WaitGroup // the stay's

	mu       sync.Mutex
	checking map[string]bool   // nodes that are being asked because of a hint
	asking   map[string]bool   // nodes that are being asked because of a round
	seen     map[string]seen   // who answered, so that who does not answer any more can be told from who never could
	took     time.Duration     // what the last answer took
	blamed   map[string]hint   // why nodes were found to be gone
	returned map[string]uint64 // how often a node said that it is there
	budget   float64           // hints that may be checked now
	filled   time.Time         // when the budget was last made up
	spoke    time.Time         // when this node last said that it is there, because it heard a hint
	refused  bool              // this process may not probe: it suspects nobody

	// Of the rounds only.
	next    string              // the last one asked beside the successor
	turn    string              // the last suspect asked again
	met     *Node               // the last successor that was asked at once
	greeted map[string]greeting // who was asked because it was new

	stopped string // the last one asked in the ring, if the round ended before somebody answered who asks in turn; or by an observer
}

// seen is what a node's last answer said.
type seen struct {
	incarnation uint64
	server      string
}

// greeting is how often a node was asked because it was new.
type greeting struct {
	incarnation uint64
	times       int
}

// finding is what came of asking a node in a round.
type finding int

const (
	unknown    finding = iota // it does not answer
	answered                  // it is there, and asks nobody itself
	asksInTurn                // it is there
)

func newProber(m *member) *prober {
	b, s := m.bus, m.scope
	return &prober{
		peers: b.peers, scope: s.name, self: b.self(), own: m.own.Load, say: m.speak, interval: b.opts.probe, trust: m.trust,
		log: b.opts.log.With("scope", s.name), snap: s.snap.Load, deliver: m.judge, ctx: m.kctx, wg: &m.wg,
		checking: map[string]bool{}, asking: map[string]bool{}, seen: map[string]seen{}, blamed: map[string]hint{},
		returned: map[string]uint64{}, budget: checksInBurst, filled: time.Now(), greeted: map[string]greeting{},
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
			if !p.knows(n) {
				p.look(ctx, n, nil)
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
func (p *prober) may(n *Node) bool { return p.mayAny(n.ttl) }

// mayAny is may, of any node with a TTL. Who may suspect nobody asks nobody, and says so.
func (p *prober) mayAny(ttl time.Duration) bool {
	p.mu.Lock()
	refused := p.refused
	p.mu.Unlock()
	return !refused && p.trust.calm(time.Now()) >= graceOf(ttl)
}

// knows says whether a node has answered in its present life.
func (p *prober) knows(n *Node) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[n.name].incarnation == n.id.incarnation
}

// round asks the successor, and if that does not answer, or asks nobody itself, the one after it. With more it asks one more
// node at the same time, so that who is a successor tomorrow has been heard today. An observer, who has no place in the ring,
// goes round it. It returns false if there was nobody to ask.
func (p *prober) round(ctx context.Context, more bool) (asked bool) {
	snap := p.snap()
	asked = p.greet(ctx, snap)
	if more && p.self != "" {
		other := snap.successor(p.next)
		if other != nil {
			p.next = other.name
		}
		if other != nil && other.name != p.self && other != snap.successor(p.self) && p.may(other) {
			p.look(ctx, other, nil)
			asked = true
		}
	}
	walked := p.walk(ctx, snap)
	p.forget(snap)
	return asked || walked
}

// greet asks those who are new, in a scope that is not large: when many die at once whoever is left has heard them all.
func (p *prober) greet(ctx context.Context, snap *Snapshot) (asked bool) {
	if len(p.greeted) >= acquaintances {
		return false
	}
	room := greetsPerRound
	list := snap.members.all(nil)
	at, _ := slices.BinarySearchFunc(list, p.self, byName) // not all ask the same ones first
	for i := range list {
		n := list[(at+i)%len(list)]
		g := p.greeted[n.name]
		if g.incarnation != n.id.incarnation {
			g = greeting{incarnation: n.id.incarnation}
		}
		if n.name == p.self || g.times == greetTries || !p.may(n) {
			continue
		}
		if g.times++; p.knows(n) {
			g.times = greetTries
		} else {
			p.look(ctx, n, nil)
			asked = true
			room--
		}
		p.greeted[n.name] = g
		if room == 0 || len(p.greeted) >= acquaintances {
			break
		}
	}
	return asked
}

// forget drops what is kept of nodes that are not there any more.
func (p *prober) forget(snap *Snapshot) {
	lacks := func(name string) bool { return snap.live(name) == nil }
	maps.DeleteFunc(p.greeted, func(name string, _ greeting) bool { return lacks(name) })
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.seen, func(name string, _ seen) bool { return lacks(name) })
	maps.DeleteFunc(p.returned, func(name string, _ uint64) bool { return lacks(name) })
}

// since is when it was begun to ask a node.
type since struct {
	serial   uint64 // the snapshot's
	returned uint64
}

func (p *prober) now(n *Node) since {
	p.mu.Lock()
	defer p.mu.Unlock()
	return since{p.snap().serial, p.returned[n.name]}
}

// blame says that a node is gone, unless it said meanwhile that it is there, and answers.
func (p *prober) blame(ctx context.Context, h hint, silent bool, began since) {
	said := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.returned[h.node] != began.returned
	}
	if said() {
		if a, err := p.ask(ctx, h.node, probePatience); err == nil && a.incarnation == h.incarnation {
			return
		}
	}
	p.mu.Lock()
	p.blamed[h.node] = h
	p.mu.Unlock()
	p.deliver(ctx, verdict{node: h.node, incarnation: h.incarnation, silent: silent, began: began.serial})
	if said() {
		p.recall(ctx, h.node, h.incarnation)
	}
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
	if len(hints) > maxSuspects { // an answer has room for so many: each time for others
		rand.Shuffle(len(hints), func(i, j int) { hints[i], hints[j] = hints[j], hints[i] })
	}
	return hints
}

// revisit asks some of the suspects again.
func (p *prober) revisit(ctx context.Context) {
	suspects := p.snap().suspects
	for range min(revisitsAtOnce, len(suspects)) {
		n := following(suspects, p.turn)
		p.turn = n.name
		p.wg.Go(func() { p.recall(ctx, n.name, n.id.incarnation) })
	}
}

// recall asks a suspect. If it answers it is listed again.
func (p *prober) recall(ctx context.Context, node string, incarnation uint64) (back bool) {
	a, err := p.ask(ctx, node, probePatience)
	if back = err == nil && a.incarnation == incarnation; back {
		p.deliver(ctx, verdict{node: node, incarnation: incarnation, reachable: true})
	}
	return back
}
