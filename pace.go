package rolebus

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// How far the servers are away, and what follows from that.

const (
	// tripsInLease is how many round trips a lease must have room for. A heartbeat takes one, every third of a TTL at the most.
	tripsInLease = 3

	// tripsAdvised is of how many round trips a TTL should consist at least, so that one may be lost.
	tripsAdvised = 7
)

// requestPatience is what one request for the sake of a lease may take. Requests to a server that is going away are never
// answered: several must fit into a lease. To one that is far away there is time for fewer.
func requestPatience(ttl, trip time.Duration) time.Duration {
	return max(ttl/5, minPatience, min(3*trip, ttl/2))
}

// pace is how long an answer takes. A server that has much to do is not far away: of several answers the quickest counts.
type pace struct {
	ttl   time.Duration
	flush func(context.Context) error   // returns when the server has answered; nil where there is none
	later func(f func(context.Context)) // runs what takes long; its context is over when the Bus stops

	mu      sync.Mutex
	asking  bool             // measure runs
	answers [4]time.Duration // how long the leader took lately; 0 of those that are still to come
	next    int
	ping    time.Duration // how long the server took that this process is connected to
}

// took takes note of an answer of the leader.
func (p *pace) took(d time.Duration) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[p.next] = d
	p.next = (p.next + 1) % len(p.answers)
}

// trip returns the round trip, 0 if it is not known.
func (p *pace) trip() (trip time.Duration) {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.answers {
		if d > 0 && (trip == 0 || d < trip) {
			trip = d
		}
	}
	return max(trip, p.ping)
}

// way is the round trip to the server that this process is connected to: what that takes is not the leader's doing.
func (p *pace) way() time.Duration {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ping
}

// patience is what one request may take.
func (p *pace) patience() time.Duration { return requestPatience(p.ttl, p.trip()) }

// again measures again, because an answer did not come: the servers may be further away than they were.
func (p *pace) again() {
	if p == nil || p.flush == nil {
		return
	}
	p.mu.Lock()
	busy := p.asking
	p.asking = true
	p.mu.Unlock()
	if !busy {
		p.later(p.measure)
	}
}

// measure asks the server that this process is connected to, until it answers, but not for ever.
func (p *pace) measure(ctx context.Context) {
	defer func() {
		p.mu.Lock()
		p.asking = false
		p.mu.Unlock()
	}()
	quickest := forEver
	for range 3 {
		ctx, cancel := context.WithTimeout(ctx, max(p.ttl, minPatience))
		asked := time.Now()
		err := p.flush(ctx)
		cancel()
		if err != nil {
			return
		}
		if quickest = min(quickest, time.Since(asked)); quickest < minPatience/3 {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ping = quickest
}

// short says that the TTL has no room for the round trip, with the mend; nil if it has, as far as anybody can tell.
func (p *pace) short() error {
	if p == nil {
		return nil
	}
	trip := p.trip()
	if tripsInLease*trip <= p.ttl {
		return nil
	}
	least := (tripsAdvised*trip + time.Second - 1).Truncate(time.Second)
	return fmt.Errorf("a round trip of %v is too long for a TTL of %v: take one of at least %v (WithTTL)", trip.Round(time.Millisecond), p.ttl, least)
}
