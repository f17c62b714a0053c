package rolebus

import (
	"context"
	"fmt"
	"sync"
)

// While returns a context for work that another node does for this one: it is over as soon as this life of the node is not listed
// any more, be it dead, gone, unreachable or replaced by a newer one, and context.Cause then is an error that matches
// [ErrNodeGone] and says why; if that is because this process has left the scope, it matches [ErrNotJoined], too. If the node is
// nil, or not listed to begin with, it is over at once. It is also over when ctx is, and when the Bus stops, with the error of
// [Bus.Err]. Call cancel when the work is done.
//
// The node must be of this scope: for one of b.In("billing") it is b.In("billing").While. In any other scope the node is mostly not
// listed, or leaves at another time.
//
// What runs under such a context, a request of nats.go for instance, mostly returns no more than context.Canceled: look at the cause.
//
//	reply, err := bus.Conn().RequestWithContext(ctx, subject, data)
//	if errors.Is(context.Cause(ctx), rolebus.ErrNodeGone) {
//		// the node is gone: give the work to another one
//	}
//
// The node may still be listed for a moment after it was killed. Then NATS says at once that nobody listens: nats.ErrNoResponders.
//
// A node that answers and leaves at once may be gone before its answer is taken, though it is there.
//
// A node that is only suspected may still be at work: who must not do a thing twice waits for [NodeBuried].
func (s *Scope) While(ctx context.Context, n *Node) (context.Context, context.CancelFunc) {
	must(s.usable(ctx))
	ctx, cancel := context.WithCancelCause(ctx)
	if n == nil {
		cancel(fmt.Errorf("%w: there was none", ErrNodeGone))
		return ctx, func() {}
	}
	w := &ward{name: n.name, incarnation: n.id.incarnation, cancel: cancel}
	if err := s.guard.add(s, w); err != nil {
		cancel(err)
		return ctx, func() {}
	}
	context.AfterFunc(ctx, func() { s.guard.drop(w) })
	if snap := s.snap.Load(); !snap.lists(w) { // it may have gone before it was guarded
		cancel(snap.gone(n))
	}
	return ctx, func() { cancel(context.Canceled) }
}

// ward is a life that somebody depends on.
type ward struct {
	name        string
	incarnation uint64
	cancel      context.CancelCauseFunc
}

// lists says whether a snapshot lists the very life.
func (snap *Snapshot) lists(w *ward) bool {
	n := snap.named.get(w.name)
	return n != nil && n.id.incarnation == w.incarnation
}

// gone says why a node is not listed.
func (snap *Snapshot) gone(n *Node) error {
	reason := snap.farewell(NodeLeft, n).Reason
	switch {
	case !snap.joined: // which says nothing of the node
		return fmt.Errorf("%w: %s: %w", ErrNodeGone, clip(n.name), ErrNotJoined)
	case reason == ReasonExpired && snap.ends.get(n.name).id.incarnation != n.id.incarnation: // of its end nothing is known
		return fmt.Errorf("%w: %s is not listed", ErrNodeGone, clip(n.name))
	}
	return fmt.Errorf("%w: %s %s", ErrNodeGone, clip(n.name), reason)
}

// guard ends the contexts of a scope whose nodes have gone. Its goroutine runs while there are any.
type guard struct {
	mu      sync.Mutex
	wards   map[*ward]struct{}
	running bool
}

func (g *guard) add(s *Scope, w *ward) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.running {
		if err := s.bus.goWhileOpen(func() { g.run(s) }); err != nil {
			return err
		}
		g.running = true
	}
	if g.wards == nil {
		g.wards = map[*ward]struct{}{}
	}
	g.wards[w] = struct{}{}
	return nil
}

func (g *guard) drop(w *ward) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.wards, w)
}

// run looks at each snapshot, until nobody depends on anybody or the Bus stops.
func (g *guard) run(s *Scope) {
	for snap := s.snap.Load(); ; snap = s.snap.Load() {
		stopped := context.Cause(s.bus.ctx)
		gone, more := g.take(func(w *ward) bool { return stopped != nil || !snap.lists(w) })
		for _, w := range gone {
			cause := stopped
			if cause == nil {
				cause = snap.gone(&Node{name: w.name, id: life{incarnation: w.incarnation}})
			}
			w.cancel(cause) // not under the lock: it may run code of the user's
		}
		if !more {
			return
		}
		select {
		case <-snap.superseded:
		case <-s.bus.ctx.Done():
		}
	}
}

// take removes the wards for which it is over. It says whether there are more; if not, another run is needed for the next one.
func (g *guard) take(over func(*ward) bool) (gone []*ward, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for w := range g.wards {
		if over(w) {
			gone = append(gone, w)
			delete(g.wards, w)
		}
	}
	g.running = len(g.wards) > 0
	return gone, g.running
}
