package call

import (
	"context"
	"time"

	"github.com/rolebus/rolebus"
)

// What every call waits for beside its own answer: that its node goes, or that the Bus stops. One goroutine waits for that, and wakes the calls
// that it concerns: if each of them did, they would queue up at what they all wait for.

// lookOut runs while calls are under way, and a while longer.
func (c *client) lookOut(ctx context.Context) {
	idle := time.NewTicker(time.Second)
	defer idle.Stop()
	for tick := false; ; {
		snap := c.scope.Snapshot()
		if !c.tell(ctx, snap, tick) {
			return
		}
		tick = false
		select {
		case <-snap.Superseded():
		case <-ctx.Done():
		case <-idle.C:
			tick = true
		}
	}
}

// tell wakes the calls whose nodes have gone, or all if the Bus stops. It says whether to go on.
func (c *client) tell(ctx context.Context, snap *rolebus.Snapshot, tick bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	over := ctx.Err() != nil
	for _, p := range c.pending {
		if over || p.node != nil && !listed(snap, p.node) {
			p.wake()
		}
	}
	c.lookout = !over && !(tick && len(c.pending) == 0)
	return c.lookout
}

// lookedFor has somebody look out.
func (c *client) lookedFor() {
	if err := c.bus.Go(c.lookOut); err != nil {
		c.tell(c.bus.Context(), c.scope.Snapshot(), false) // the Bus stops
	}
}

func listed(snap *rolebus.Snapshot, n *rolebus.Node) bool {
	now := snap.Node(n.Name())
	return now != nil && now.Incarnation() == n.Incarnation()
}

// wake is called with the lock of the client held.
func (p *pending) wake() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}
