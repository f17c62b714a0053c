package rolebus

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	// leaseAhead is how many versions a lease may bury beyond the one that stood when it was armed. So a change of
	// roles needs no new lease, and a crash right after it still finds a switch that fits.
	leaseAhead = 1000

	// lastVersion is the largest of an incarnation: there is room above it for what leases bury.
	lastVersion = 1 << 52

	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second

	minPatience = 400 * time.Millisecond
)

// keeper brings this node's record in one scope to what the node wants to be, and keeps its lease. All its fields are
// its goroutine's own once run has started.
//
//	         change                 refused
//	kept  ----------------> write ----------> recover: read the record. If it is
//	 ^  \                     |                  a newer life's: stop, ErrSuperseded
//	 |   \ every TTL/3        | done             anything else:  write it again, above
//	 |    +------> arm -------+                                  all that a lease may bury
//	 +-------------- done ----+
type keeper struct {
	store store
	clock *clock
	trust *trust
	lease *lease
	scope string
	node  string
	named string // where the node's name came from, for whoever has to find out who else has it
	ttl   time.Duration
	want  *intent
	nudge chan struct{} // the record may not be what was written: look at it, do not trust its generation
	moved func()        // contact was lost or regained
	log   *slog.Logger
	last  *atomic.Uint64 // the incarnation of this process's newest stay in the scope, 0 if there was none
	own   *atomic.Uint64 // that of this stay, 0 before it has one
	lives *incarnations
	fleet func() string // the bucket's identity, as it was told last
	wall  func() time.Time
	hooks *hooks
	told  atomic.Uint64 // the highest version that a tombstone of this life named, wherever it was seen

	id         life
	generation uint64
	under      string    // the bucket's identity when rewrite last wrote the record
	held       wanted    // what the record says
	bound      uint64    // the highest version that a lease of this life may bury
	tried      uint64    // the highest version of this life that was ever sent: somebody may have heard of it
	written    bool      // a record of this life may be in the bucket
	shown      []Role    // as hooks were told
	scheduled  time.Time // for when the heartbeat was that is to come; hooks only
	armed      time.Time // the lease in the bucket cannot end before, by this process's own clock
}

// requestPatience is what one request for the sake of a lease may take. Requests to a server that is going away are never
// answered: several must fit into a lease.
func requestPatience(ttl time.Duration) time.Duration { return max(ttl/5, minPatience) }

// within bounds one request.
func (k *keeper) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, requestPatience(k.ttl))
}

func (k *keeper) put(ctx context.Context, c change, replaces uint64) (uint64, error) {
	ctx, cancel := k.within(ctx)
	defer cancel()
	return k.store.put(ctx, k.scope, c, replaces)
}

// get reads this node's own record at the stream's leader, because a replica may lag. Without a meta leader JetStream's API
// does not carry the question: then what any replica has must do, and a write that goes by too old a generation is refused.
func (k *keeper) get(ctx context.Context) (change, uint64, error) {
	ctx, cancel := k.within(ctx)
	defer cancel()
	half, stop := context.WithTimeout(ctx, requestPatience(k.ttl)/2)
	defer stop()
	found, generation, err := k.store.lead(half, k.scope, k.node)
	if err == nil || errors.Is(err, ErrNoBucket) {
		return found, generation, err
	}
	return k.store.get(ctx, k.scope, k.node)
}

func (k *keeper) ensure(ctx context.Context) error {
	ctx, cancel := k.within(ctx)
	defer cancel()
	return k.store.ensure(ctx)
}

// run keeps the record and the lease until ctx is over, and then returns nil, or until a newer life has taken the
// record over, and then returns ErrSuperseded.
func (k *keeper) run(ctx context.Context) error {
	beatDue := time.Now().Add(k.interval())
	timer := time.NewTimer(time.Until(beatDue))
	defer timer.Stop()
	retry := firstRetry
	for suspicious := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-k.want.wake:
		case <-k.nudge:
			suspicious = true
		case <-timer.C:
		}
		attempted := k.attempt(ctx, beatDue)
		var err error
		if suspicious {
			err = k.look(ctx)
		}
		if err == nil {
			err = k.update(ctx)
		}
		if err == nil && !time.Now().Before(beatDue) {
			if err = k.beat(ctx); err == nil {
				beatDue = time.Now().Add(k.interval())
			}
		}
		attempted(err)
		suspicious = err != nil // who knows what was stored
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrSuperseded):
			return err
		case err != nil:
			if k.trust.fail() {
				k.log.Warn("the bucket does not take the heartbeat", "error", err)
				k.moved()
			}
			k.want.fail(err)
			timer.Reset(jitter(retry))
			retry = min(2*retry, lastRetry, k.ttl/6)
			beatDue = time.Now()
		default:
			retry = firstRetry
			timer.Reset(time.Until(beatDue))
		}
	}
}

func (k *keeper) interval() time.Duration { return jitter(k.ttl / 3) }

// jitter returns nine tenths of d or a little more.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/10+1) }

// update writes the record if the node wants to be something else. Several waiting changes leave in one write.
func (k *keeper) update(ctx context.Context) error {
	want, rev, pending := k.want.current()
	if !pending {
		return nil
	}
	c := change{
		kind: kindDelta, node: k.node, id: life{k.id.incarnation, max(k.id.version, k.tried) + 1}, base: k.id.version,
		ttl: k.ttl, roles: want.roles, meta: want.meta, added: missing(want.roles, k.held.roles), removed: missing(k.held.roles, want.roles),
	}
	if !maps.Equal(want.meta, k.held.meta) {
		c.kind, c.base, c.added, c.removed = kindState, 0, nil, nil // no delta can say so
	}
	if !want.equal(k.held) {
		if c.id.version > k.bound {
			poke(k.want.wake) // again, with a lease that reaches as far
			return k.beat(ctx)
		}
		k.tried = c.id.version
		generation, err := k.put(ctx, c, k.generation)
		if errors.Is(err, errConflict) || errors.Is(err, errUnanswered) {
			poke(k.want.wake) // again, unless recovering does it
			return k.recover(ctx)
		}
		if err != nil {
			return err
		}
		k.id, k.generation, k.held = c.id, generation, want
		k.succeeded()
	}
	k.tellRoles()
	k.want.confirm(rev, k.id)
	return nil
}

// beat arms the lease anew. If that is refused, the record is not what it was: find out and put it right.
func (k *keeper) beat(ctx context.Context) error {
	err := k.arm(ctx, k.generation)
	if errors.Is(err, errConflict) || errors.Is(err, errUnanswered) {
		return k.recover(ctx)
	}
	if err == nil {
		k.succeeded()
	}
	return err
}

// arm sets the lease, provided that the record is of a generation.
func (k *keeper) arm(ctx context.Context, record uint64) error {
	ctx, cancel := k.within(ctx)
	defer cancel()
	began := time.Now() // before the clock is read: the switch cannot fire within a TTL of it
	now, err := k.clock.now(ctx)
	if err != nil {
		return err
	}
	bound := k.id.version + leaseAhead
	k.bound = max(k.bound, bound) // also if this fails: it may have been stored
	c := change{kind: kindExpired, node: k.node, id: life{k.id.incarnation, bound}, due: dueAt(now.Add(k.ttl))}
	if err := k.store.arm(ctx, k.scope, c, record); err != nil {
		return err
	}
	k.armed = began.Add(k.ttl - k.ttl/leaseReserve)
	return nil
}

// succeeded says that the record stands in the bucket, and the lease beside it.
func (k *keeper) succeeded() {
	k.lease.renew(k.armed)
	if k.trust.succeed(time.Now()) {
		k.log.Info("the bucket takes heartbeats again")
		k.moved()
	}
}
