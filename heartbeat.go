package rolebus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	// leaseAhead is how many versions a lease may bury beyond the one that stood when it was armed. So a change of
	// roles needs no new lease, and a crash right after it still finds a switch that fits.
	leaseAhead = 1000

	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second

	minPatience = 400 * time.Millisecond
)

// incarnations are those that a process has had in its scopes.
type incarnations struct{ first, newest atomic.Uint64 }

func (l *incarnations) add(incarnation uint64) {
	l.first.CompareAndSwap(0, incarnation)
	for {
		newest := l.newest.Load()
		if newest >= incarnation || l.newest.CompareAndSwap(newest, incarnation) {
			return
		}
	}
}

// keeper brings this node's record in one scope to what the node wants to be, and keeps its lease. All its fields are
// its goroutine's own once run has started.
//
//	         role change            refused
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
	meta  map[string]string
	ttl   time.Duration
	want  *intent
	nudge chan struct{} // the record may not be what was written: look at it, do not trust its generation
	moved func()        // contact was lost or regained
	log   *slog.Logger
	last  *atomic.Uint64 // the incarnation of this process's newest stay in the scope, 0 if there was none
	own   *atomic.Uint64 // that of this stay, 0 before it has one
	lives *incarnations
	told  atomic.Uint64 // the highest version that a tombstone of this life named, wherever it was seen

	id         life
	generation uint64
	roles      []Role    // as the record has them
	bound      uint64    // the highest version that a lease of this life may bury
	tried      uint64    // the highest version of this life that was ever sent: somebody may have heard of it
	written    bool      // a record of this life may be in the bucket
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
	if err == nil || errors.Is(err, errDeleted) {
		return found, generation, err
	}
	return k.store.get(ctx, k.scope, k.node)
}

func (k *keeper) ensure(ctx context.Context) error {
	ctx, cancel := k.within(ctx)
	defer cancel()
	return k.store.ensure(ctx)
}

// join takes the node's place in the scope: a new life, with a record and a lease.
func (k *keeper) join(ctx context.Context) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		try := k.tryJoin
		if k.written {
			try = k.recover // nobody knows how far it got: for the others it is the same life
		}
		err := try(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errNoBucket):
			err = k.ensure(ctx)
		}
		if err == nil {
			err = errConflict // again, with a bucket
		}
		if !errors.Is(err, errConflict) {
			if !passing(err) {
				return err
			}
			k.trust.fail() // others may be as badly off
		}
		if !sleep(ctx, jitter(wait)) {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

func (k *keeper) tryJoin(ctx context.Context) error {
	var found change
	var generation uint64
	err := calmly(ctx, func() (err error) {
		found, generation, err = k.get(ctx)
		return err
	})
	if err != nil {
		return err
	}
	// One process is one life, in every scope the same: else two of one name, that join two scopes at about the same time,
	// could supersede each other, one in this scope and one in that.
	first, last := k.lives.first.Load(), k.last.Load()
	id := life{incarnation: max(first, found.id.incarnation+1, last+1)}
	switch live := found.kind == kindState; {
	case live && found.id.incarnation == last:
		// An earlier attempt to join, or to leave, of which nobody knows how far it got. For the others it is one life.
		id = life{last, found.id.version + leaseAhead}
	case live && first > 0 && found.id.incarnation > k.lives.newest.Load():
		return k.superseded(found.id.incarnation, first)
	case first == 0:
		id.incarnation = max(id.incarnation, uint64(time.Now().UnixMilli()))
	}
	k.begin(id)
	if err := k.rewrite(ctx, generation); err != nil {
		return err
	}
	if found.kind == kindState {
		// The life before this one may have armed the lease once more before its record was taken over.
		if err := k.arm(ctx, k.generation); err != nil {
			return err
		}
	}
	k.succeeded()
	return nil
}

// begin begins a life. Everybody who needs its number has it before it is used.
func (k *keeper) begin(id life) {
	k.id, k.bound, k.tried = id, 0, 0
	k.told.Store(0)
	k.own.Store(id.incarnation)
	k.last.Store(id.incarnation)
	k.lives.add(id.incarnation)
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
	roles, rev, pending := k.want.current()
	if !pending {
		return nil
	}
	c := change{
		kind: kindDelta, node: k.node, id: life{k.id.incarnation, max(k.id.version, k.tried) + 1}, base: k.id.version,
		roles: roles, meta: k.meta, added: missing(roles, k.roles), removed: missing(k.roles, roles),
	}
	if len(c.added)+len(c.removed) > 0 {
		if c.id.version > k.bound {
			poke(k.want.wake) // again, with a lease that reaches as far
			return k.beat(ctx)
		}
		k.tried = c.id.version
		generation, err := k.put(ctx, c, k.generation)
		if errors.Is(err, errConflict) || errors.Is(err, errNoBucket) {
			poke(k.want.wake) // again, unless recovering does it
			return k.recover(ctx)
		}
		if err != nil {
			return err
		}
		k.id, k.generation, k.roles = c.id, generation, roles
		k.succeeded()
	}
	k.want.confirm(rev, k.id)
	return nil
}

// beat arms the lease anew. If that is refused, the record is not what it was: find out and put it right.
func (k *keeper) beat(ctx context.Context) error {
	err := k.arm(ctx, k.generation)
	if errors.Is(err, errConflict) || errors.Is(err, errNoBucket) {
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
	c := change{kind: kindExpired, node: k.node, id: life{k.id.incarnation, bound}, due: now.Add(k.ttl)}
	if err := k.store.arm(ctx, k.scope, c, record); err != nil {
		return err
	}
	k.armed = began.Add(k.ttl - k.ttl/leaseReserve)
	return nil
}

// look compares the record itself with what was written. The condition of a heartbeat is not enough: a bucket that goes
// back gives the same generation to another message, even to this node's tombstone.
func (k *keeper) look(ctx context.Context) error {
	found, generation, err := k.get(ctx)
	if err != nil && !errors.Is(err, errNoBucket) {
		return err
	}
	if told := k.told.Load(); told >= k.id.version {
		// Whoever heard of it takes this life for over, also if the bucket has forgotten it since.
		k.bound = max(k.bound, told)
		return k.recover(ctx)
	}
	if err != nil || found.kind != kindState || found.id != k.id {
		return k.recover(ctx)
	}
	k.generation, k.roles = generation, found.roles // stored, perhaps, by a write that seemed to fail
	return k.beat(ctx)
}

// recover finds out why the record is not what it was.
func (k *keeper) recover(ctx context.Context) error {
	found, generation, err := k.get(ctx)
	if errors.Is(err, errNoBucket) {
		found, generation, err = change{}, 0, k.ensure(ctx)
	}
	if err != nil {
		return err
	}
	if found.id.incarnation > k.id.incarnation {
		err := k.superseded(found.id.incarnation, k.id.incarnation)
		k.lease.end(err)
		return err
	}
	if found.kind != kindState || found.id != k.id {
		k.lease.lose(time.Time{}, fmt.Errorf("%w: the record is not what this node wrote", ErrLeaseLost))
	}
	if found.id.incarnation == k.id.incarnation {
		if found.kind == kindExpired {
			k.clock.forget()
			if now := time.Now(); k.trust.staleSince(now).IsZero() {
				k.trust.shake(now) // buried, but never late
			}
		}
		k.bound = max(k.bound, found.id.version)
	}
	k.log.Warn("the record is not as it was written, writing it again", "found", found.kind.String(), "version", found.id.version,
		"generation", generation)
	// Also if the record is this life's own: its acknowledgement was lost, so its announcement may be, too.
	if err := k.rewrite(ctx, generation); err != nil {
		return err
	}
	if generation == 0 {
		// Whatever took the record away may have taken the lease that was armed before it was written again.
		if err := k.arm(ctx, k.generation); err != nil {
			return err
		}
	}
	k.succeeded()
	return nil
}

func (k *keeper) superseded(found, own uint64) error {
	return fmt.Errorf("scope %q: %w: incarnation %d, this is %d", k.scope, ErrSuperseded, found, own)
}

// rewrite says in one record what is so, whatever the bucket says now. The lease comes first, so that no record ever
// stands without a switch; the version is above everything that an earlier lease of this life could bury.
func (k *keeper) rewrite(ctx context.Context, replaces uint64) error {
	roles, rev, _ := k.want.current()
	k.id.version = max(k.id.version, k.bound, k.tried) + 1
	if k.id.version > maxNumber/2 {
		// Only somebody else's tombstone can have brought it so far. Another life has room again.
		k.begin(life{k.id.incarnation + 1, 1})
	}
	if err := k.arm(ctx, replaces); err != nil {
		return err
	}
	c := change{kind: kindState, node: k.node, id: k.id, roles: roles, meta: k.meta}
	k.written, k.tried = true, k.id.version
	generation, err := k.put(ctx, c, replaces)
	if err != nil {
		return err
	}
	k.generation, k.roles = generation, roles
	k.want.confirm(rev, k.id)
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

// goodbye takes the record down, if it is still there and this life's. It is called when run has returned.
func (k *keeper) goodbye(ctx context.Context) error {
	if !k.written {
		return nil
	}
	c := change{kind: kindLeft, node: k.node, id: life{k.id.incarnation, max(k.id.version, k.bound)}}
	generation := k.generation
	for wait := firstRetry; ; wait *= 2 {
		err := k.store.bury(ctx, k.scope, c, generation)
		if errors.Is(err, errNoBucket) {
			if _, gone := k.store.now(ctx); errors.Is(gone, errDeleted) {
				return nil // and the record with it
			}
			if !sleep(ctx, wait) {
				return err
			}
			continue // there is no leader: it may be back in time
		}
		if !errors.Is(err, errConflict) {
			return err
		}
		found, now, err := k.get(ctx)
		if err != nil {
			return err
		}
		if found.kind != kindState || found.id.incarnation != k.id.incarnation {
			return nil
		}
		generation = now
		if !sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}
