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
	server time.Time // what the server said
	at     time.Time // when it was asked; zero: ask again
}

const clockAge = time.Minute

// now returns the server's time, too late by one round trip at the most.
func (c *clock) now(ctx context.Context) (time.Time, error) {
	c.mu.Lock()
	server, at := c.server, c.at
	c.mu.Unlock()
	if !at.IsZero() && time.Since(at) < clockAge {
		return server.Add(time.Since(at)), nil
	}
	at = time.Now()
	server, err := c.ask(ctx)
	if err != nil {
		return time.Time{}, err
	}
	c.mu.Lock()
	c.server, c.at = server, at
	c.mu.Unlock()
	return server.Add(time.Since(at)), nil
}

func (c *clock) reset() {
	c.mu.Lock()
	c.at = time.Time{}
	c.mu.Unlock()
}
