package rolebus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// How a caller asks for one node, and the process learns from the answer.

// Probe asks a node of this scope whether it is there, in this very life, and returns nil if it answers. It is one message and its
// answer, whether the node is in the snapshot or not, and whether the scope is joined or not. This process's own node is not asked.
//
// The error matches [ErrNodeGone] if nobody listens for the node, as the servers say (then it matches nats.ErrNoResponders, too), if another life of
// it answers, or if the node is nil. Silence says nothing of the node: whoever waits until ctx is over gets ctx's error. Other errors are
// those of NATS, as of a connection that is down or a subject that is refused, and match [ErrClosed] if the Bus has stopped, [ErrBadName]
// if the scope's name is bad.
//
// What comes of it counts in a scope that is joined, unless [WithProbeInterval] is 0: a node that was left out as unreachable and answers
// is listed again, and one for which nobody listens is examined at once, without Probe waiting for that, as if another process had hinted at it: if the
// server that it was connected to still works, as far as this process knows which one that was, it is left out.
func (s *Scope) Probe(ctx context.Context, n *Node) error {
	if err := s.usable(ctx); err != nil {
		return failed("probe", err)
	}
	if n == nil {
		return s.opErr("probe", fmt.Errorf("%w: there was none", ErrNodeGone))
	}
	return s.opErr("probe "+clip(n.name), s.probe(ctx, n))
}

func (s *Scope) probe(ctx context.Context, n *Node) error {
	switch {
	case s.bus.ctx.Err() != nil || ctx.Err() != nil:
		return s.bus.endedOr(ctx)
	case s.bad != nil:
		return s.bad
	case n.name == s.bus.self():
		return s.isOwn(n)
	case s.bus.peers == nil || s.bus.nc != nil && !s.bus.Connected(): // else nats.go, which dials, keeps it waiting for longer than ctx
		return nats.ErrDisconnected
	}
	a, err := s.bus.peers.probe(ctx, s.name, n.name)
	switch {
	case errors.Is(err, errAbsent):
		s.suspect(n)
		return fmt.Errorf("%w: %w", ErrNodeGone, err)
	case err != nil:
		return overBy(ctx, err)
	case a.server == "":
		return errors.New("it answers, but nothing that can be read")
	case a.incarnation != n.id.incarnation:
		return fmt.Errorf("%w: %w: %d, not %d", ErrNodeGone, errAnother, a.incarnation, n.id.incarnation)
	}
	s.acquit(ctx, n, a)
	return nil
}

// isOwn says whether a life is the one that this process has now.
func (s *Scope) isOwn(n *Node) error {
	own := uint64(0)
	if m := s.member.Load(); m != nil {
		own = m.own.Load()
	}
	switch own {
	case n.id.incarnation:
		return nil
	case 0:
		return fmt.Errorf("%w: it is this process: %w", ErrNodeGone, ErrNotJoined)
	}
	return fmt.Errorf("%w: it is this process: %w: %d, not %d", ErrNodeGone, errAnother, own, n.id.incarnation)
}

// suspect has a node examined for which nobody listens.
func (s *Scope) suspect(n *Node) {
	m := s.member.Load()
	if m == nil || m.prober == nil {
		return
	}
	h := hint{node: n.name, incarnation: n.id.incarnation, server: m.prober.sawAt(n)}
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if s.bus.stays[m] { // else nothing new begins
		m.prober.hear(h)
	}
}

// acquit takes in that a node answers, which is listed again if it was not.
func (s *Scope) acquit(ctx context.Context, n *Node, a answer) {
	m := s.member.Load()
	if m == nil || m.prober == nil {
		return
	}
	m.prober.saw(n, a)
	snap := s.snap.Load()
	if known := snap.live(n.name); known == nil || known == snap.named.get(n.name) && !known.deaf {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.kctx, cancel)()
	m.judge(ctx, verdict{node: n.name, incarnation: n.id.incarnation, reachable: true})
}
