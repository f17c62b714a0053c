package rolebus

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// clock is the server's clock: asked for now and then, carried on by this process's monotonic clock between, as long as this
// process does not sleep. What the server says is held against what is carried on: when it was asked, and when it stored what it
// announces.
type clock struct {
	ask     func(context.Context) (time.Time, error)
	machine *machine
	jumped  func(by time.Duration) // what the server says differs from what is carried on; under the lock, so that nobody goes on before
	askAnew func()                 // after that, and under no lock
	awake   func()                 // this process has not slept, it was only its wall clock that was set
	log     *slog.Logger

	mu      sync.Mutex
	least   time.Duration // the shortest TTL that was heard of
	first   time.Time     // when the server was asked first; zero: never
	server  time.Time     // what the server said
	at      instant       // when it was asked; zero: never
	took    time.Duration // until it had answered
	stale   bool          // ask again
	wrong   bool          // ask again in any case
	doubted time.Time     // when an announcement was last ahead; zero: not since the server was asked
	refuted time.Time     // when the server last said that such a one was wrong

	dropped   time.Time // what the server had said when it was dropped, at the least; zero: not known, or not dropped
	droppedAt time.Time // when it was asked for that
}

const (
	clockAge = time.Minute

	// clocksApart is the part of a TTL, one in so many, by which two readings of the server's clock may differ.
	clocksApart = 10
)

func newClock(st store, machine *machine, o *options, jumped func(time.Duration), askAnew, awake func()) *clock {
	return &clock{ask: st.now, machine: machine, least: o.ttl, jumped: jumped, askAnew: askAnew, awake: awake, log: o.log}
}

// now returns the server's time, too late by one round trip at the most. If nobody tells it, what was told before is
// carried on: a heartbeat must not wait for JetStream's API, which without a meta leader does not answer.
func (c *clock) now(ctx context.Context) (time.Time, error) {
	asked := c.machine.now()
	c.mu.Lock()
	server, at, took, known, stale := c.server, c.at, c.took, c.knownLocked(asked) && !c.wrong, c.stale
	c.mu.Unlock()
	if known && !stale && asked.mono.Sub(at.mono) < clockAge {
		return server.Add(asked.mono.Sub(at.mono)), nil
	}
	if deadline, ok := ctx.Deadline(); ok && known {
		var cancel context.CancelFunc
		left := time.Until(deadline)
		ctx, cancel = context.WithTimeout(ctx, min(left, max(left/3, 2*took))) // the heartbeat waits for it
		defer cancel()
	}
	told, err := c.ask(ctx)
	if err != nil {
		if known {
			return server.Add(time.Since(at.mono)), nil
		}
		return time.Time{}, err
	}
	c.tell(told, asked)
	return told.Add(time.Since(asked.mono)), nil
}

// knownLocked says whether the clock can be carried on from when the server was asked.
func (c *clock) knownLocked(now instant) bool {
	return !c.at.mono.IsZero() && !c.machine.slept(now, c.at)
}

// followed returns for how long the server's clock has been known: whether it was set before that this process cannot know.
func (c *clock) followed(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first.IsZero() {
		return 0
	}
	return now.Sub(c.first)
}

// estimate returns what the server's time was at a moment, without asking: too late by slack at the most, and by what the two
// clocks have gone apart since it was asked. It is not known before it was asked.
func (c *clock) estimate(moment time.Time) (server time.Time, slack time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server.Add(moment.Sub(c.at.mono)), c.took, c.knownLocked(c.machine.now()) && !c.wrong
}

// tell makes it go by what the server has just said, when it was asked for something else.
func (c *clock) tell(server time.Time, asked instant) {
	c.mu.Lock()
	now := c.machine.now()
	took, by, near := now.mono.Sub(asked.mono), time.Duration(0), c.least/clocksApart
	if c.knownLocked(now) {
		by = server.Sub(c.server.Add(asked.mono.Sub(c.at.mono)))
		switch {
		case by <= took+near && by >= -c.took-near:
			by = 0
		case by < 0 && !c.doubted.IsZero() && !asked.mono.Before(c.doubted):
			by, c.refuted = 0, now.mono
		}
	}
	// By the server's clock hardly more time has passed than by the monotonic one, however long the answers took.
	wasAwake := !c.dropped.IsZero() && server.Sub(c.dropped)-asked.mono.Sub(c.droppedAt) <= near
	c.server, c.at, c.took, c.stale, c.wrong, c.doubted, c.dropped = server, asked, took, false, false, time.Time{}, time.Time{}
	if c.first.IsZero() {
		c.first = asked.mono
	}
	if by != 0 {
		c.jumped(by)
	}
	c.mu.Unlock()
	if wasAwake {
		c.awake()
	}
	c.afterJump(by)
}

func (c *clock) afterJump(by time.Duration) {
	if by != 0 {
		c.log.Warn("the server's clock is not what it was: asking anew", "by", by)
		c.askAnew()
	}
}

// hear holds the time at which the server stored what it has announced by now against what is carried on. A time that is yet to
// come shows that the server's clock is ahead, unless it is made up: the server is asked, and if it says so, such times do not
// count for a while. One that is past shows nothing, as news may be old; but if it is older than the way of a message is long, the
// server is asked with the next heartbeat.
func (c *clock) hear(stored time.Time, heard instant) {
	c.mu.Lock()
	by := time.Duration(0)
	if !stored.IsZero() && c.knownLocked(heard) {
		by = stored.Sub(c.server.Add(heard.mono.Sub(c.at.mono)))
	}
	near := c.least / clocksApart
	ahead := by > near && (c.refuted.IsZero() || heard.mono.Sub(c.refuted) > outagesApart*c.least)
	if ahead {
		c.server, c.at, c.wrong, c.doubted = stored, heard, true, heard.mono // so that the answer is no second jump
	}
	c.stale = c.stale || by < -2*c.took-near
	if !ahead {
		by = 0
	} else {
		by += c.took // at the most
		c.jumped(by)
	}
	c.mu.Unlock()
	c.afterJump(by)
}

// mind takes note of somebody's TTL: a small step of the server's clock is a large one for whoever has a short one.
func (c *clock) mind(ttl time.Duration) {
	c.mu.Lock()
	c.least = min(c.least, ttl)
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
	c.wrong = true
	c.mu.Unlock()
}

// drop makes it ask again in any case, and hold nothing against what is carried on: this process is wrong, and not the server.
func (c *clock) drop() {
	c.mu.Lock()
	if !c.at.mono.IsZero() {
		c.dropped, c.droppedAt = c.server.Add(-c.took), c.at.mono
		if c.wrong {
			c.dropped = time.Time{}
		}
	}
	c.at = instant{}
	c.mu.Unlock()
}
