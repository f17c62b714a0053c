package rolebus

import (
	"context"
	"sync"
	"time"
)

// clock is the server's clock: asked for now and then, carried on by this process's monotonic clock between.
type clock struct {
	ask func(context.Context) (time.Time, error)

	mu     sync.Mutex
	server time.Time     // what the server said
	at     time.Time     // when it was asked; zero: never
	took   time.Duration // until it had answered
	stale  bool          // ask again
}

const clockAge = time.Minute

// now returns the server's time, too late by one round trip at the most. If nobody tells it, what was told before is
// carried on: a heartbeat must not wait for JetStream's API, which without a meta leader does not answer.
func (c *clock) now(ctx context.Context) (time.Time, error) {
	c.mu.Lock()
	server, at, stale := c.server, c.at, c.stale
	c.mu.Unlock()
	known := !at.IsZero()
	if known && !stale && time.Since(at) < clockAge {
		return server.Add(time.Since(at)), nil
	}
	if deadline, ok := ctx.Deadline(); ok && known {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/3) // the rest is for the heartbeat
		defer cancel()
	}
	asked := time.Now()
	told, err := c.ask(ctx)
	if err != nil {
		if known {
			return server.Add(time.Since(at)), nil
		}
		return time.Time{}, err
	}
	c.tell(told, asked)
	return told.Add(time.Since(asked)), nil
}

// estimate returns what the server's time was at a moment, without asking: too late by slack at the most, and by what the two
// clocks have gone apart since it was asked. It is not known before it was asked.
func (c *clock) estimate(moment time.Time) (server time.Time, slack time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server.Add(moment.Sub(c.at)), c.took, !c.at.IsZero()
}

// tell makes it go by what the server has just said, when it was asked for something else.
func (c *clock) tell(server, asked time.Time) {
	c.mu.Lock()
	c.server, c.at, c.took, c.stale = server, asked, time.Since(asked), false
	c.mu.Unlock()
}

// reset makes it ask again, if it can.
func (c *clock) reset() {
	c.mu.Lock()
	c.stale = true
	c.mu.Unlock()
}

// forget makes it ask again in any case: what it was told was wrong, perhaps.
func (c *clock) forget() {
	c.mu.Lock()
	c.at = time.Time{}
	c.mu.Unlock()
}
