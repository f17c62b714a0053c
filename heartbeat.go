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
//
// What the store confirmed, and what was only sent, are two things: a record that is either of them is this node's own, and the
// lease beside it runs on. See owns.
type keeper struct {
	store store
	clock *clock
	pace  *pace
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
	last  *atomic.Uint64                          // the incarnation of this process's newest stay in the scope, 0 if there was none
	own   *atomic.Uint64                          // that of this stay, 0 before it has one
	asks  *contact                                // asks the leader, when that refuses a heartbeat
	strip func(refused, before map[string]string) // takes metadata back, in all scopes
	lives *incarnations
	open  func(incarnation uint64) error // listens for a life
	fleet func() string                  // the bucket's identity, as it was told last
	wall  func() time.Time
	hooks *hooks
	told  atomic.Uint64 // the highest version that a tombstone of this life named, wherever it was seen

	// As the store confirmed it.
	id         life
	generation uint64
	held       wanted    // what the record says
	under      string    // the bucket's identity when rewrite last wrote the record
	armed      instant   // before the heartbeat was sent that was last acknowledged
	due        time.Time // when it ends, by the server's

	// As it was sent, and may be stored, whatever was answered: somebody may have heard of it.
	tried   uint64 // the highest version of this life that was ever sent
	bound   uint64 // the highest version that a lease of this life may bury
	written bool   // a record of this life may be in the bucket

	lapsed    bool      // the lease had ended for long, and the server did not bury this node: others may take it for over
	adrift    adrift    // writes that found no stream: before a record is looked at it is made, or mended
	buried    life      // as a tombstone named it that was found in the place of the record
	mentioned bool      // what is refused now was told
	unheard   bool      // it was told that no heartbeat gets through
	shown     []Role    // as hooks were told
	scheduled time.Time // for when the heartbeat was that is to come; hooks only
}

// within bounds one request.
func (k *keeper) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, requestPatience(k.ttl, k.pace.trip()))
}

// withinLease bounds one request that others may have to follow before the lease is renewed: it takes no more than half of what is left
// of that, if its answer can come so soon. Whose lease is over has nothing to lose by waiting.
func (k *keeper) withinLease(ctx context.Context) (context.Context, context.CancelFunc) {
	trip := k.pace.trip()
	patience := requestPatience(k.ttl, trip)
	if left := k.lease.left(); left > 0 {
		patience = min(patience, max(left/2, 3*trip))
	}
	return context.WithTimeout(ctx, patience)
}

func (k *keeper) put(ctx context.Context, c change, replaces uint64) (uint64, error) {
	ctx, cancel := k.within(ctx)
	defer cancel()
	k.tried = max(k.tried, c.id.version)
	generation, err := k.store.put(ctx, k.scope, c, replaces)
	k.adrift.records = drifts(k.adrift.records, err)
	return generation, err
}

// get reads this node's own record at the stream's leader, because a replica may lag. Without a meta leader JetStream's API
// does not carry the question: then what any replica has must do, if that is not older than what the leader has confirmed. It is asked while
// the lease can still be renewed: a leader that takes heartbeats but is long about what it is asked costs nobody his lease.
func (k *keeper) get(ctx context.Context) (change, uint64, error) {
	leading, cancel := k.withinLease(ctx)
	found, generation, err := k.store.lead(leading, k.scope, k.node)
	cancel()
	switch {
	case err == nil && k.older(generation):
		return k.confirmOlder(ctx, found, generation)
	case err == nil || errors.Is(err, ErrNoBucket):
		return found, generation, err
	}
	ctx, cancel = k.within(ctx)
	defer cancel()
	unled := err
	if found, generation, err = k.store.get(ctx, k.scope, k.node); err == nil && k.older(generation) {
		return change{}, 0, unled
	}
	return found, generation, err
}

// older says whether a generation is before the one that the leader of the same bucket has confirmed.
func (k *keeper) older(generation uint64) bool {
	return generation < k.generation && k.under == k.fleet()
}

// confirmOlder returns what was found if it is all that there is. Who may not ask the leader was told what some replica has, which may
// lag: the leader takes a heartbeat then. That does not prove that the record stands: a bucket that went back gives the same generation
// twice.
func (k *keeper) confirmOlder(ctx context.Context, found change, generation uint64) (change, uint64, error) {
	switch err := k.arm(ctx, max(k.id.version, k.tried), k.generation); {
	case err == nil:
		return change{}, 0, errUndecided
	case errors.Is(err, errUndecided) || !errors.Is(err, errConflict):
		return change{}, 0, err
	}
	return found, generation, nil
}

func (k *keeper) ensure(ctx context.Context) error {
	ctx, cancel := k.within(ctx)
	defer cancel()
	return k.store.ensure(ctx)
}

// run keeps the record and the lease until ctx is over, and then returns nil, or until a newer life has taken the
// record over, and then returns ErrSuperseded.
func (k *keeper) run(ctx context.Context) error {
	beatDue := k.nextBeat()
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
		beaten, unwritten, err := k.tend(ctx, suspicious, !time.Now().Before(beatDue))
		attempted(err)
		if beaten {
			beatDue = k.nextBeat()
		}
		suspicious = err != nil || unwritten != nil // who knows what was stored
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrSuperseded):
			return err
		case err != nil:
			k.failed(ctx, err, "the bucket does not take the heartbeat")
			timer.Reset(jitter(retry))
			retry = min(2*retry, lastRetry, k.ttl/6)
			beatDue = time.Now()
		case unwritten != nil && !isAnswer(unwritten):
			k.want.fail(unwritten)
			timer.Reset(jitter(retry))
			retry = min(2*retry, lastRetry, k.ttl/6)
		default:
			k.refused(unwritten) // and tried again beside each heartbeat
			retry = firstRetry
			timer.Reset(time.Until(beatDue))
		}
	}
}

// tend does what there is to do: it looks at the record if that is in question, renews the lease if that is due, and writes a change.
// The lease comes first, because it has a time: a change that is not answered may use up what is left of it. Whether the bus can be
// reached, and for how long this node is listed, hangs by the lease alone: err says why it is not renewed, unwritten why a change is
// not written.
func (k *keeper) tend(ctx context.Context, suspicious, due bool) (beaten bool, unwritten, err error) {
	switch {
	case suspicious:
		if err = k.hold(ctx); err == nil {
			err = k.look(ctx)
		}
	case due:
		err = k.beat(ctx)
	}
	if err != nil {
		return false, nil, err
	}
	beaten = suspicious || due
	unwritten = k.update(ctx)
	if errors.Is(unwritten, ErrSuperseded) {
		return beaten, nil, unwritten
	}
	if unwritten != nil {
		if err := k.beat(ctx); err != nil {
			return false, unwritten, err
		}
		beaten = true
	}
	return beaten, unwritten, nil
}

// hold renews the lease of a record that is in question, if somebody takes that: to find out what is so takes several requests, of
// which each may be late, and the lease runs meanwhile. It proves nothing, and who is not answered in time cannot find out either.
func (k *keeper) hold(ctx context.Context) error {
	err := k.arm(ctx, max(k.id.version, k.tried), k.generation)
	if isAnswer(err) || errors.Is(err, errConflict) || errors.Is(err, errUnanswered) {
		return nil
	}
	return err
}

// adrift says which writes nobody took, and none was taken since. While there is no leader nobody takes any; but then one of the same
// kind is taken again, soon after, and what is missing or amiss need not be found out.
type adrift struct{ records, leases bool }

// drifts is what adrift says of a kind after one more.
func drifts(before bool, err error) bool {
	return errors.Is(err, errUnanswered) || before && err != nil && !errors.Is(err, errConflict)
}

// nextBeat is a third of a TTL after the heartbeat began that was acknowledged last, however long that took.
func (k *keeper) nextBeat() time.Time {
	if k.armed.mono.IsZero() {
		return time.Now().Add(k.interval())
	}
	return k.armed.mono.Add(k.interval())
}

func (k *keeper) interval() time.Duration { return jitter(k.ttl / 3) }

// jitter returns nine tenths of d or a little more.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/10+1) }

// update writes the record if the node wants to be something else. Several waiting changes leave in one write.
func (k *keeper) update(ctx context.Context) error {
	want, rev, pending := k.want.current()
	if k.lapsed {
		return k.comeBack(ctx)
	}
	if !pending {
		return nil
	}
	c := change{
		kind: kindDelta, node: k.node, id: life{k.id.incarnation, max(k.id.version, k.tried) + 1}, base: k.id.version,
		ttl: k.ttl, roles: want.roles, meta: want.meta, added: missing(want.roles, k.held.roles), removed: missing(k.held.roles, want.roles),
	}
	unsure := k.tried > k.id.version // somebody may have heard of a change that the store does not have
	if unsure || !maps.Equal(want.meta, k.held.meta) {
		c.kind, c.base, c.added, c.removed = kindState, 0, nil, nil // no delta can say so
	}
	if unsure || !want.equal(k.held) {
		if c.id.version > k.bound {
			poke(k.want.wake) // again, with a lease that reaches as far
			return k.beat(ctx)
		}
		generation, err := k.put(ctx, c, k.generation)
		if errors.Is(err, errConflict) {
			poke(k.want.wake) // again, unless recovering does it
			return k.recover(ctx)
		}
		if err != nil {
			k.giveUp(rev, want, err)
			return err
		}
		k.id, k.generation, k.held = c.id, generation, want
		k.succeeded()
	}
	k.tellRoles()
	k.want.confirm(rev, k.id)
	return nil
}

// beat renews the lease. If nobody takes it, the stream is missing, or lacks the subject of the leases, or has no leader: find out.
func (k *keeper) beat(ctx context.Context) error {
	err := k.renew(ctx)
	if errors.Is(err, errUnanswered) {
		return k.look(ctx)
	}
	return err
}

// renew arms the lease anew. If that is refused, the record is not what it was: find out and put it right.
func (k *keeper) renew(ctx context.Context) error {
	err := k.arm(ctx, max(k.id.version, k.tried), k.generation)
	if errors.Is(err, errConflict) {
		return k.recover(ctx)
	}
	if err == nil {
		k.succeeded()
	}
	return err
}

// arm sets the lease, so that it reaches ahead of a version, provided that the record is of a generation.
func (k *keeper) arm(ctx context.Context, version, record uint64) error {
	began := k.clock.machine.now() // before the clock is read: the switch cannot fire within a TTL of it
	asking, cancel := k.within(ctx)
	now, err := k.clock.now(asking)
	cancel()
	if err != nil {
		return err
	}
	ctx, cancel = k.within(ctx)
	defer cancel()
	bound := version + leaseAhead
	k.bound = max(k.bound, bound) // also if this fails: it may have been stored
	c := change{kind: kindExpired, node: k.node, id: life{k.id.incarnation, bound}, due: dueAt(now.Add(k.ttl))}
	err = k.store.arm(ctx, k.scope, c, record)
	k.adrift.leases = drifts(k.adrift.leases, err)
	if err != nil {
		return err
	}
	if !k.due.IsZero() && now.Sub(k.due) > graceOf(k.ttl) {
		k.lapsed = true
		poke(k.want.wake)
	}
	k.armed, k.due = began, c.due
	return nil
}

// succeeded says that the record stands in the bucket, and the lease beside it. Whose lease had lapsed is not certain to be listed
// before its record is written again: others may have dropped it.
func (k *keeper) succeeded() {
	if !k.lapsed {
		k.lease.renew(k.armed)
	}
	regained := k.trust.succeed(time.Now())
	if regained {
		k.moved()
	}
	if regained || k.unheard {
		k.log.Info("the bucket takes heartbeats again")
	}
	k.unheard = false
}
