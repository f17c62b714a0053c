package rolebus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
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

// lateJoins is how many joins fail, because no answer comes in time over a way that is too long, before there is no hope.
const lateJoins = 4

// join takes the node's place in the scope: a new life, with a record and a lease.
func (k *keeper) join(ctx context.Context) error {
	tooLate := 0
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		try := k.tryJoin
		if k.written {
			try = k.recover // nobody knows how far it got: for the others it is the same life
		}
		err := try(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errUnanswered):
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
		if errors.Is(err, context.DeadlineExceeded) {
			k.pace.again()
			if short := k.pace.short(); short != nil {
				if tooLate++; tooLate >= lateJoins {
					return short // without what may pass: no time is enough
				}
				err = fmt.Errorf("%w: %w", short, err)
			}
		}
		if !sleep(ctx, jitter(wait)) {
			return fmt.Errorf("%w: %w", ended(ctx), err)
		}
	}
}

func (k *keeper) tryJoin(ctx context.Context) error {
	var found change
	var generation uint64
	err := calmly(ctx, k.pace.way(), func() (err error) {
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
		id.incarnation = max(id.incarnation, uint64(k.wall().UnixMilli()))
	}
	if id.incarnation > maxNumber {
		return k.noLifeLeft()
	}
	k.begin(id)
	if err := k.rewrite(ctx, generation, false); err != nil {
		return err
	}
	if found.kind == kindState {
		// The life before this one may have armed the lease once more before its record was taken over.
		if err := k.arm(ctx, k.id.version, k.generation); err != nil {
			return err
		}
	}
	k.succeeded()
	return nil
}

// noLifeLeft is what somebody else brought about who wrote in this node's name.
func (k *keeper) noLifeLeft() error {
	return fmt.Errorf("a record of node %q in scope %q claims incarnation %d, after which there is none: purge it", k.node, k.scope, uint64(maxNumber))
}

// begin begins a life. Everybody who needs its number has it before it is used, and it is listened for before anybody knows of it.
func (k *keeper) begin(id life) {
	k.id, k.under, k.bound, k.tried = id, "", 0, 0
	k.told.Store(0)
	k.own.Store(id.incarnation)
	k.last.Store(id.incarnation)
	k.lives.add(id.incarnation)
	if err := k.open(id.incarnation); err != nil {
		k.log.Warn("not everything that is sent to this life will be heard", "incarnation", id.incarnation, "error", err)
	}
}
