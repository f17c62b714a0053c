package rolebus

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// When this node's record is not what it was: what is there, and how it is put right.

// look compares the record itself with what was written. The condition of a heartbeat is not enough: a bucket that goes
// back gives the same generation to another message, even to this node's tombstone.
func (k *keeper) look(ctx context.Context) error {
	found, generation, err := k.get(ctx)
	if err != nil && !errors.Is(err, errUnanswered) {
		return err
	}
	if told := k.told.Load(); told >= k.id.version {
		// Whoever heard of it takes this life for over, also if the bucket has forgotten it since.
		k.bound = max(k.bound, told)
		return k.recover(ctx)
	}
	if err != nil || found.kind != kindState || found.id != k.id || k.under != k.fleet() {
		return k.recover(ctx)
	}
	k.generation, k.held = generation, wanted{found.roles, found.meta} // stored, perhaps, by a write that seemed to fail
	return k.beat(ctx)
}

// recover finds out why the record is not what it was.
func (k *keeper) recover(ctx context.Context) error {
	found, generation, err := k.get(ctx)
	if errors.Is(err, errUnanswered) {
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
	// The bucket may be another one, and what is written says of which fleet it is: whoever hears it under the identity of before
	// takes it for a stranger's. Who is asked for the time tells that, too. If it does so too late, look has it written once more.
	k.clock.reset()
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
	return fmt.Errorf("%w: node %q, %s, in scope %q: incarnation %d, this is %d", ErrSuperseded, k.node, k.named, k.scope, found, own)
}

// rewrite says in one record what is so, whatever the bucket says now. The lease comes first, so that no record ever
// stands without a switch; the version is above everything that an earlier lease of this life could bury.
func (k *keeper) rewrite(ctx context.Context, replaces uint64) error {
	want, rev, _ := k.want.current()
	k.id.version = max(k.id.version, k.bound, k.tried) + 1
	if k.id.version > lastVersion {
		// Only somebody else's tombstone can have brought it so far. Another life has room again.
		if k.id.incarnation == maxNumber {
			return k.noLifeLeft()
		}
		k.begin(life{k.id.incarnation + 1, 1})
	}
	if err := k.arm(ctx, replaces); err != nil {
		return err
	}
	c := change{kind: kindState, node: k.node, id: k.id, ttl: k.ttl, roles: want.roles, meta: want.meta}
	k.written, k.tried, k.under = true, k.id.version, k.fleet()
	generation, err := k.put(ctx, c, replaces)
	if err != nil {
		return err
	}
	k.generation, k.held = generation, want
	k.tellRoles()
	k.want.confirm(rev, k.id)
	return nil
}
