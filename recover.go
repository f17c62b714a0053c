package rolebus

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// When this node's record is not what it was: what is there, and how it is put right.

// find reads the record. A bucket that does not answer, or that took a write of this node's as little as if it were not there, is
// made or mended before: also if somebody answers who reads for it, such as a mirror.
func (k *keeper) find(ctx context.Context) (found change, generation uint64, err error) {
	lost := k.adrift != adrift{}
	if !lost {
		found, generation, err = k.get(ctx)
	}
	if lost || errors.Is(err, errUnanswered) {
		if err := k.ensure(ctx); err != nil {
			return change{}, 0, err
		}
		k.adrift = adrift{}
		found, generation, err = k.get(ctx)
	}
	return found, generation, err
}

// owns says whether a record that was found is this node's own, and stands as it was left: the one that the store confirmed last, or
// one that was sent since, of which nobody knows whether it was stored. The lease that was armed beside it then runs as it was armed.
// If it is neither, a tombstone, an older one, one of another bucket, nobody's, the bucket has forgotten something, and perhaps the lease.
func (k *keeper) owns(found change) bool {
	return found.kind == kindState && found.id.incarnation == k.id.incarnation &&
		k.id.version <= found.id.version && found.id.version <= max(k.id.version, k.tried) && k.under == k.fleet()
}

// look compares the record itself with what was written. The condition of a heartbeat is not enough: a bucket that goes
// back gives the same generation to another message, even to this node's tombstone.
func (k *keeper) look(ctx context.Context) error {
	found, generation, err := k.find(ctx)
	if err != nil {
		return err
	}
	told := k.told.Load()
	if told >= k.id.version {
		// Whoever heard of it takes this life for over, also if the bucket has forgotten it since.
		k.bound = max(k.bound, told)
	}
	if told >= k.id.version || found.id != k.id || !k.owns(found) {
		return k.restore(ctx, found, generation)
	}
	k.generation = generation
	return k.renew(ctx)
}

// recover finds out why the record is not what it was, and puts it right.
func (k *keeper) recover(ctx context.Context) error {
	found, generation, err := k.find(ctx)
	if err != nil {
		return err
	}
	if k.owns(found) && found.id == k.id && generation == k.generation && k.told.Load() < k.id.version {
		return errUndecided // it stands as the store confirmed it: writing it again would be refused, too
	}
	return k.restore(ctx, found, generation)
}

// restore writes the record in the place of what was found.
func (k *keeper) restore(ctx context.Context, found change, generation uint64) error {
	if found.id.incarnation > k.id.incarnation {
		err := k.superseded(found.id.incarnation, k.id.incarnation)
		k.lease.end(err)
		return err
	}
	own := k.owns(found) && !k.lapsed
	if !own {
		k.lease.lose(time.Time{}, fmt.Errorf("%w: the record is not what this node wrote", ErrLeaseLost))
	}
	if found.id.incarnation == k.id.incarnation {
		if found.kind == kindExpired && found.id != k.buried { // once for each burial, however long it stands there
			k.buried = found.id
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
	if err := k.rewrite(ctx, generation, own); err != nil {
		return err
	}
	if generation == 0 {
		// Whatever took the record away may have taken the lease that was armed before it was written again.
		if err := k.arm(ctx, k.id.version, k.generation); err != nil {
			return err
		}
	}
	k.succeeded()
	return nil
}

func (k *keeper) superseded(found, own uint64) error {
	return fmt.Errorf("%w: node %q, %s, in scope %q: incarnation %d, this is %d", ErrSuperseded, k.node, k.named, k.scope, found, own)
}

// comeBack writes the record again of a node that nobody buried, though its lease had ended for long.
func (k *keeper) comeBack(ctx context.Context) error {
	err := k.rewrite(ctx, k.generation, false)
	if errors.Is(err, errConflict) {
		return k.recover(ctx)
	}
	if err == nil {
		k.succeeded()
	}
	return err
}

// rewrite says in one record what is so, whatever the bucket says now. The lease comes first, so that no record ever
// stands without a switch; the version is above everything that an earlier lease of this life could bury. Nothing counts as so before
// the store has confirmed it: until then own says whether what it replaces is this node's, and listed.
func (k *keeper) rewrite(ctx context.Context, replaces uint64, own bool) error {
	want, rev, _ := k.want.current()
	id := life{k.id.incarnation, max(k.id.version, k.bound, k.tried) + 1}
	if id.version > lastVersion {
		// Only somebody else's tombstone can have brought it so far. Another life has room again.
		if k.id.incarnation == maxNumber {
			return k.noLifeLeft()
		}
		k.begin(life{incarnation: k.id.incarnation + 1})
		id = life{k.id.incarnation, 1}
	}
	if err := k.arm(ctx, id.version, replaces); err != nil {
		return err
	}
	if own {
		k.lease.renew(k.armed)
	}
	c := change{kind: kindState, node: k.node, id: id, ttl: k.ttl, roles: want.roles, meta: want.meta}
	k.written = true
	under := k.fleet()
	generation, err := k.put(ctx, c, replaces)
	if err != nil {
		k.giveUp(rev, want, err)
		return err
	}
	k.id, k.generation, k.held, k.under, k.lapsed = id, generation, want, under, false
	k.tellRoles()
	k.want.confirm(rev, k.id)
	return nil
}
