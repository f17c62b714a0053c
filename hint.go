package rolebus

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Whom others suspect, and who says that it is there: asked by this process itself, before it believes anything.

// speakAgain is how soon a node says again that it is there: hints may come from all others at once.
const speakAgain = 100 * time.Millisecond

// hear takes in a hint, and asks the one whom somebody else suspects. It never waits: what is too much is dropped.
func (p *prober) hear(h hint) {
	if h.node == p.self {
		p.speak(h)
		return
	}
	snap := p.snap()
	n := snap.live(h.node)
	if n == nil || h.incarnation != 0 && h.incarnation != n.id.incarnation {
		return
	}
	hidden := snap.named.get(h.node) == nil || n.deaf
	if h.back {
		p.mu.Lock()
		p.returned[h.node]++
		p.mu.Unlock()
	}
	if h.back != hidden || !h.back && !p.may(n) || !p.take(h.node) {
		return
	}
	p.wg.Go(func() {
		right := false
		if h.back {
			right = p.recall(p.ctx, n.name, n.id.incarnation)
		} else {
			right = p.examine(p.ctx, n, h)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.checking, h.node)
		if right { // only what is false is bounded, not what is true of many
			p.budget++
		}
	})
}

// speak says that this node is there, if somebody suspects it: whoever has hidden it asks it then.
func (p *prober) speak(h hint) {
	now, own := time.Now(), p.own()
	if h.back || h.closed || own == 0 || h.incarnation != 0 && h.incarnation != own {
		return
	}
	p.mu.Lock()
	enough := now.Sub(p.spoke) < speakAgain
	if !enough {
		p.spoke = now
	}
	p.mu.Unlock()
	if !enough {
		p.say()
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

// examine asks a node that somebody else could not reach: after the witness, so that it is known that the way to it is good. It
// says whether it cannot be reached.
func (p *prober) examine(ctx context.Context, n *Node, h hint) bool {
	began := p.now(n)
	silent, gone := false, false
	if h.closed {
		gone = p.closed(ctx, n)
	} else {
		silent, gone = p.unreachable(ctx, n, h.server)
	}
	if gone {
		h.incarnation = n.id.incarnation
		p.blame(ctx, h, silent, began)
	}
	return gone
}

// unreachable says whether a node cannot be reached, though its server works, and whether only its silence says so.
func (p *prober) unreachable(ctx context.Context, n *Node, server string) (silent, gone bool) {
	if !sleep(ctx, rand.N(1+checkAfter*time.Duration(p.snap().members.len()))) || p.snap().live(n.name) != n {
		return false, false
	}
	way, ok := p.vouched(ctx, server)
	if !ok {
		return false, false
	}
	_, err := p.ask(ctx, n.name, probePatience)
	return errors.Is(err, errSilent), unreached(err, way)
}

// closed says whether nobody listens for a node any more whose connection was closed, also a moment later. The server that told of
// it works, so nobody need vouch for it.
func (p *prober) closed(ctx context.Context, n *Node) bool {
	for absences, silences := 0, 0; absences < absentTries; {
		switch _, err := p.ask(ctx, n.name, closedPatience[silences]); {
		case errors.Is(err, errSilent):
			if silences++; silences == len(closedPatience) {
				return false
			}
		case !errors.Is(err, errAbsent):
			return false
		default:
			if absences++; absences < absentTries && !sleep(ctx, backAgain) {
				return false
			}
		}
	}
	return true
}
