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
	silentTries   = 3                      // so often no answer comes before that is a hint

	// A connection that its own side closed may be that of a process that lives and connects anew, which takes a few
	// messages there and back.
	closedAgain    = 2 * time.Millisecond // at least
	closedRTTs     = 6
	closedLimit    = time.Second
	closedTries    = 4
	closedPatience = 100 * time.Millisecond

	witnessTries    = 4 // one may be asked that hangs, too
	witnessPatience = 250 * time.Millisecond

	probesPerSecond = 2000 // of a whole scope: from then on the interval grows
	probesPerRound  = 2    // of one process: its successor, and one more
	revisitsAtOnce  = 4    // suspects that are asked again in a round
	checksAtOnce    = 8
	checksPerRound  = 8  // hints that are checked, beyond
	checksInBurst   = 64 // that many at first
)

// prober finds out, for one stay in a scope, who cannot be reached. It asks its neighbours, and tells all others whom it
// suspects; whom others suspect it asks itself. What it finds is a verdict for the scope's loop, which hides the node
// or lists it again.
//
//	own round:  the successor has no listener, twice, or is silent three times ---+--> verdict
//	            and the server that it was on has another who answers             |
//	                                                                              v
//	others:     a hint, or a closed connection ---> is silent or has no     hint to all
//	                                                listener when asked ---> verdict
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

	hinted chan hint
	slots  chan struct{}   // one for each check that runs
	wg     *sync.WaitGroup // the stay's

	mu       sync.Mutex
	checking map[string]bool // nodes that are being asked because of a hint
	budget   float64         // hints that may be checked now
	filled   time.Time       // when the budget was last made up
	refused  bool            // this process may not probe: it suspects nobody

	seen map[string]seen // rounds only: who answered, so that who does not answer any more can be told from who never could
	next string          // rounds only: the last one asked beside the successor
	turn string          // rounds only: the last suspect asked again
}

// seen is what a node's last answer said.
type seen struct {
	incarnation uint64
	server      string
}

func newProber(m *member) *prober {
	b, s := m.bus, m.scope
	return &prober{
		peers: b.peers, scope: s.name, self: b.self(), interval: b.opts.probe, trust: m.trust,
		log: b.opts.log.With("scope", s.name), snap: s.snap.Load, deliver: m.judge, wg: &m.wg,
		hinted: make(chan hint, peerBacklog), slots: make(chan struct{}, checksAtOnce),
		checking: map[string]bool{}, budget: checksInBurst, filled: time.Now(), seen: map[string]seen{},
	}
}

// pace is the time from one round to the next.
func (p *prober) pace() time.Duration {
	return max(p.interval, time.Duration(len(p.snap().members))*time.Second*probesPerRound/probesPerSecond/2)
}

// run probes, a round after another, until ctx is over.
func (p *prober) run(ctx context.Context) {
	for sleep(ctx, jitter(p.pace())) {
		if p.quiet() {
			continue
		}
		p.revisit(ctx)
		if p.self != "" {
			p.round(ctx)
		}
	}
}

// quiet says whether this process suspects nobody now, because it may be the one that is cut off.
func (p *prober) quiet() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused || !p.trust.believes(time.Now())
}

// round asks the successor, and if that is gone the one after it, and one more node, so that who is a successor tomorrow
// has been heard today.
func (p *prober) round(ctx context.Context) {
	snap := p.snap()
	for at := p.self; ; {
		n := snap.successor(at)
		if n == nil || n.name == p.self || !p.gone(ctx, n) {
			break
		}
		at = n.name
	}
	if n := snap.successor(p.next); n != nil {
		p.next = n.name
		if n.name != p.self && n != snap.successor(p.self) {
			p.gone(ctx, n)
		}
	}
	for name := range p.seen {
		if snap.live(name) == nil {
			delete(p.seen, name)
		}
	}
}

// gone says whether a node that used to answer cannot be reached any more. If so, the others are told.
func (p *prober) gone(ctx context.Context, n *Node) bool {
	began := p.snap().serial
	for absent, silent := 0, 0; absent < absentTries && silent < silentTries; {
		server, err := p.ask(ctx, n.name, probePatience)
		switch {
		case err == nil:
			p.seen[n.name] = seen{n.id.incarnation, server}
			return false
		case p.seen[n.name].incarnation != n.id.incarnation:
			return false
		case errors.Is(err, errAbsent):
			if absent++; absent < absentTries && !sleep(ctx, absentAgain) {
				return false
			}
		case errors.Is(err, errSilent):
			silent++
		default:
			return false
		}
	}
	server := p.seen[n.name].server
	if !p.vouched(ctx, server) || p.quiet() {
		return false
	}
	p.log.Info("a node cannot be reached", "node", n.name, "incarnation", n.id.incarnation)
	_ = p.peers.hint(p.scope, hint{node: n.name, incarnation: n.id.incarnation, server: server})
	p.deliver(ctx, verdict{node: n.name, incarnation: n.id.incarnation, began: began})
	return true
}

// ask asks a node whether it is there.
func (p *prober) ask(ctx context.Context, node string, patience time.Duration) (server string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	server, err = p.peers.probe(ctx, p.scope, node)
	if errors.Is(err, nats.ErrPermissionViolation) {
		p.mu.Lock()
		first := !p.refused
		p.refused = true
		p.mu.Unlock()
		if first {
			p.log.Warn("no node will be suspected", "error", err)
		}
	}
	return server, err
}

// vouched says whether a server works: it carries a message to a process that is connected there, and its answer back.
func (p *prober) vouched(ctx context.Context, server string) bool {
	if server == "" {
		return false
	}
	if p.self != "" && server == p.peers.server() {
		_, err := p.ask(ctx, p.self, probePatience)
		return err == nil
	}
	for range witnessTries {
		wctx, cancel := context.WithTimeout(ctx, witnessPatience)
		err := p.peers.witness(wctx, server)
		cancel()
		if err == nil {
			return true
		}
		if !errors.Is(err, errSilent) {
			return false
		}
	}
	return false
}

// hear takes in a hint. It never waits: what is too much is dropped.
func (p *prober) hear(h hint) {
	select {
	case p.hinted <- h:
	default:
	}
}

// check asks those whom others suspect, until ctx is over.
func (p *prober) check(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-p.hinted:
			n := p.snap().named[h.node]
			if n == nil || h.node == p.self || h.incarnation != 0 && h.incarnation != n.id.incarnation || p.quiet() || !p.take(h.node) {
				continue
			}
			p.slots <- struct{}{}
			p.wg.Go(func() {
				p.examine(ctx, n, h)
				p.mu.Lock()
				delete(p.checking, h.node)
				p.mu.Unlock()
				<-p.slots
			})
		}
	}
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

// examine asks a node that somebody else could not reach.
func (p *prober) examine(ctx context.Context, n *Node, h hint) {
	began := p.snap().serial
	if h.closed {
		if !p.closed(ctx, n, h.rtt) {
			return
		}
	} else if _, err := p.ask(ctx, n.name, probePatience); !unreached(err) || !p.vouched(ctx, h.server) {
		return
	}
	p.deliver(ctx, verdict{node: n.name, incarnation: n.id.incarnation, began: began})
}

// unreached says whether an attempt to ask a node tells something about that node.
func unreached(err error) bool { return errors.Is(err, errAbsent) || errors.Is(err, errSilent) }

// closed says whether a node that closed its connection has not come back. The server that told of it works, so nobody
// need vouch for it. Another server may take a moment longer to learn that nobody listens there any more: until then
// nothing answers, which counts for nothing.
func (p *prober) closed(ctx context.Context, n *Node, rtt time.Duration) bool {
	absent := 0
	for range closedTries {
		switch _, err := p.ask(ctx, n.name, closedPatience); {
		case !unreached(err):
			return false
		case errors.Is(err, errAbsent):
			if absent++; absent == absentTries {
				return true
			}
			if !sleep(ctx, min(max(closedAgain, closedRTTs*rtt), closedLimit)) {
				return false
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
			if _, err := p.ask(ctx, n.name, probePatience); err == nil {
				p.deliver(ctx, verdict{node: n.name, incarnation: n.id.incarnation, reachable: true})
			}
		})
	}
}
