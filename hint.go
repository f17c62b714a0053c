package rolebus

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Whom others suspect: asked by this process itself, before it believes anything.

// hear takes in a hint, and asks the one whom somebody else suspects. It never waits: what is too much is dropped.
func (p *prober) hear(h hint) {
	n := p.snap().named.get(h.node)
	if n == nil || h.node == p.self || h.incarnation != 0 && h.incarnation != n.id.incarnation || n.deaf || !p.may(n) || !p.take(h.node) {
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
