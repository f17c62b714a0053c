package rolebus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// How a node is asked whether it is there.

// look asks a node, unless it is being asked, and goes on in the background until it is known what it is. The first reply, if any is
// wanted, is told at once. If it is gone, the others are told, too.
func (p *prober) look(ctx context.Context, n *Node, first chan<- finding) {
	tell := func(f finding) {
		if first != nil {
			first <- f
		}
	}
	p.mu.Lock()
	already := p.asking[n.name]
	p.asking[n.name] = true
	p.mu.Unlock()
	if already {
		tell(unknown)
		return
	}
	began := p.now(n)
	p.wg.Go(func() {
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.asking, n.name)
		}()
		h, silent, gone := p.find(ctx, n, tell)
		if !gone {
			return
		}
		p.log.Info("a node cannot be reached", "node", n.name, "incarnation", n.id.incarnation)
		_ = p.peers.hint(p.scope, h) // if it is lost, answers tell it
		p.blame(ctx, h, silent, began)
	})
}

// find asks a node, again and again if need be, and says whether it is gone, and whether only its silence says so.
func (p *prober) find(ctx context.Context, n *Node, tell func(finding)) (h hint, silent, gone bool) {
	for absences, silences := 0, 0; absences < absentTries && silences < silentTries; {
		f, err := p.call(ctx, n)
		if absences+silences == 0 {
			tell(f)
		}
		switch {
		case err == nil || !p.knows(n):
			return h, false, false
		case errors.Is(err, errAbsent):
			if absences++; absences < absentTries && !sleep(ctx, absentAgain) {
				return h, false, false
			}
		case errors.Is(err, errSilent):
			silences++
		default:
			return h, false, false
		}
	}
	h = hint{node: n.name, incarnation: n.id.incarnation, server: p.sawAt(n)}
	way, ok := p.vouched(ctx, h.server)
	if !ok || !p.may(n) {
		return h, false, false
	}
	// Once more, now that the way is known to be good: it may have come back since the node was asked last.
	_, err := p.ask(ctx, n.name, probePatience)
	return h, errors.Is(err, errSilent), unreached(err, way)
}

// call asks a node, and takes in what it says. An error may be that it has begun another life, of which the bucket will tell.
func (p *prober) call(ctx context.Context, n *Node) (finding, error) {
	asked := time.Now()
	a, err := p.ask(ctx, n.name, probePatience)
	if err == nil && a.incarnation != n.id.incarnation {
		err = errAnother
	}
	if err != nil {
		return unknown, err
	}
	p.saw(n, a)
	p.mu.Lock()
	p.took = time.Since(asked)
	p.mu.Unlock()
	if n.deaf {
		p.deliver(ctx, verdict{node: n.name, incarnation: n.id.incarnation, reachable: true})
	}
	for _, h := range a.suspects {
		p.hear(h)
	}
	if a.passive {
		return answered, nil
	}
	return asksInTurn, nil
}

// saw takes note of where a node is that answers.
func (p *prober) saw(n *Node, a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[n.name] = seen{n.id.incarnation, a.server}
}

// sawAt returns the server where a node was that answered last; "" if it never did.
func (p *prober) sawAt(n *Node) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[n.name].server
}

var errAnother = errors.New("another life answers")

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

// unreached says whether an attempt to ask a node tells something about that node, when the way to it took so long. Whoever
// has much to do, or whose machine has, is not gone.
func unreached(err error, way time.Duration) bool {
	return errors.Is(err, errAbsent) || errors.Is(err, errSilent) && way < quickWay
}
