package rolebus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// modelLink is a process's way to the bucket, on which requests take time, and can get stuck or lost.
type modelLink struct {
	*fakeLink
	fleet   *fleet
	process *process
	ended   chan struct{}

	// guarded by fleet.mu
	rng     *rand.Rand    // for the latency
	latency time.Duration // of a request or of its answer, at most
	frozen  chan struct{} // nil, or closed when the process runs again
	dead    bool
	refused bool   // its writes are not taken
	opsLeft int    // if not 0: the process dies after so many requests
	before  func() // called once, before the next record is stored
	loss    bool   // announcements to this process are lost
}

func (l *modelLink) kill() {
	l.fleet.mu.Lock()
	defer l.fleet.mu.Unlock()
	l.dead = true
}

// cutWrites lets no write through, or lets them through again.
func (l *modelLink) cutWrites(cut bool) {
	l.fleet.mu.Lock()
	defer l.fleet.mu.Unlock()
	l.refused = cut
}

// freeze stops the process: it neither asks nor hears, and does not notice. thaw lets it run again.
func (l *modelLink) freeze() {
	l.fleet.mu.Lock()
	defer l.fleet.mu.Unlock()
	l.frozen = make(chan struct{})
}

func (l *modelLink) thaw() {
	l.fleet.mu.Lock()
	defer l.fleet.mu.Unlock()
	if l.frozen != nil {
		close(l.frozen)
		l.frozen = nil
	}
}

// travel lets a request, or its answer, take its time. A frozen process sees no deadline pass.
func (l *modelLink) travel(ctx context.Context) error {
	l.fleet.mu.Lock()
	var d time.Duration
	if l.latency > 0 {
		d = time.Duration(l.rng.Int64N(int64(l.latency)))
	}
	frozen := l.frozen
	l.fleet.mu.Unlock()
	if frozen != nil {
		<-frozen
		time.Sleep(time.Millisecond) // what piled up is heard first
	}
	if d > 0 && !sleep(ctx, d) {
		return context.Cause(ctx)
	}
	return ctx.Err()
}

// request carries an operation to the bucket and its outcome back.
func (l *modelLink) request(ctx context.Context, what string, write bool, do func() error) error {
	if err := l.travel(ctx); err != nil {
		return err
	}
	l.fleet.mu.Lock()
	refused := l.dead || write && (l.refused || l.fleet.refusing)
	if l.opsLeft > 0 && !refused {
		l.opsLeft--
		l.dead = l.opsLeft == 0
		if l.dead {
			l.process.alive = false
		}
	}
	l.fleet.mu.Unlock()
	if refused {
		return errFakeDown
	}
	l.fleet.fakeBucket.mu.Lock()
	stuck := l.stuck
	l.fleet.fakeBucket.mu.Unlock()
	if write && stuck {
		<-ctx.Done() // before the gate, which readings pass
		return ctx.Err()
	}
	l.fleet.gate.Lock()
	err := do()
	l.fleet.gate.Unlock()
	if write {
		l.fleet.tell("  %s: %s: %v", l.process.label(), what, err)
	}
	l.fleet.mu.Lock()
	dead := l.dead
	l.fleet.mu.Unlock()
	if dead {
		return errFakeDown
	}
	if err := l.travel(ctx); err != nil {
		return err // the answer is lost
	}
	return err
}

func (l *modelLink) newest(ctx context.Context, scope string, sure bool) (n uint64, err error) {
	rerr := l.request(ctx, "newest", false, func() error { n, err = l.fakeLink.newest(ctx, scope, sure); return err })
	return n, rerr
}

func (l *modelLink) read(ctx context.Context, scope string, from, to uint64) (cs []change, last uint64, err error) {
	rerr := l.request(ctx, "read", false, func() error { cs, last, err = l.fakeLink.read(ctx, scope, from, to); return err })
	l.fleet.mu.Lock()
	lagging := l.fleet.lagging
	l.fleet.mu.Unlock()
	if lagging != nil && rerr == nil {
		cs = nil
		for key, r := range lagging {
			if key[0] == scope && r.generation >= from {
				cs = append(cs, r.c)
			}
		}
		slices.SortFunc(cs, func(a, b change) int { return int(a.generation) - int(b.generation) })
	}
	return cs, last, rerr
}

func (l *modelLink) get(ctx context.Context, scope, node string) (c change, generation uint64, err error) {
	rerr := l.request(ctx, "get", false, func() error { c, generation, err = l.fakeLink.get(ctx, scope, node); return err })
	return c, generation, rerr
}

func (l *modelLink) lead(ctx context.Context, scope, node string) (c change, generation uint64, err error) {
	rerr := l.request(ctx, "lead", false, func() error { c, generation, err = l.fakeLink.lead(ctx, scope, node); return err })
	return c, generation, rerr
}

func (l *modelLink) readLeases(ctx context.Context, scope string, ttl time.Duration, all bool) (found leases, err error) {
	rerr := l.request(ctx, "leases", false, func() error { found, err = l.fakeLink.readLeases(ctx, scope, ttl, all); return err })
	return found, rerr
}

func (l *modelLink) standing(ctx context.Context, scope string) (s standing, err error) {
	rerr := l.request(ctx, "standing", false, func() error { s, err = l.fakeLink.standing(ctx, scope); return err })
	return s, rerr
}

func (l *modelLink) newestLease(ctx context.Context, scope string) (newest uint64, err error) {
	rerr := l.request(ctx, "newest lease", false, func() error { newest, err = l.fakeLink.newestLease(ctx, scope); return err })
	return newest, rerr
}

func (l *modelLink) now(ctx context.Context) (now time.Time, err error) {
	rerr := l.request(ctx, "now", true, func() error { now, err = l.fakeLink.now(ctx); return err })
	return now, rerr
}

func (l *modelLink) put(ctx context.Context, scope string, c change, replaces uint64) (generation uint64, err error) {
	l.fleet.mu.Lock()
	before := l.before
	l.before = nil
	l.fleet.mu.Unlock()
	if before != nil {
		before()
	}
	if scope == modelScope {
		l.fleet.ownerWrites(c)
	}
	what := fmt.Sprintf("put %s %s over %d", c.kind, l.fleet.show(c.id), replaces)
	rerr := l.request(ctx, what, true, func() error {
		return l.fleet.storing(scope, c, func() error {
			generation, err = l.fakeLink.put(ctx, scope, c, replaces)
			return err
		})
	})
	return generation, rerr
}

func (l *modelLink) bury(ctx context.Context, scope string, c change, replaces uint64) error {
	what := fmt.Sprintf("bury %s over %d", l.fleet.show(c.id), replaces)
	return l.request(ctx, what, true, func() error {
		return l.fleet.storing(scope, c, func() error { return l.fakeLink.bury(ctx, scope, c, replaces) })
	})
}

func (l *modelLink) arm(ctx context.Context, scope string, c change, record uint64) error {
	what := fmt.Sprintf("arm %s on %d", l.fleet.show(c.id), record)
	return l.request(ctx, what, true, func() error { return l.fakeLink.arm(ctx, scope, c, record) })
}

// subscribe brings the announcements to a process, one after another, unless they are lost on the way or it is frozen.
func (l *modelLink) subscribe(ctx context.Context, scope string) (*feed, error) {
	inner, err := l.fakeLink.subscribe(ctx, scope)
	if err != nil {
		return nil, err
	}
	out, stopped := make(chan *nats.Msg, feedSize), make(chan struct{})
	go func() {
		for {
			var msg *nats.Msg
			select {
			case msg = <-inner.messages:
			case <-stopped:
				return
			}
			l.fleet.mu.Lock()
			frozen, lost := l.frozen, l.loss || l.dead
			l.fleet.mu.Unlock()
			if frozen != nil {
				<-frozen
			}
			if !lost {
				out <- msg
			}
		}
	}()
	return &feed{messages: out, dropped: inner.dropped, stop: func() { inner.stop(); close(stopped) }}, nil
}
