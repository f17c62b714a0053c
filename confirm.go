package rolebus

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How a call that changes this node's roles or metadata waits until the bucket, and then its own snapshot, hold the change.

// change makes the node want to be something else, and waits until it is.
func (m *member) change(ctx context.Context, next func([]Role) []Role) error {
	gives := false
	call, err := m.keeper.want.edit(func(have []Role) []Role {
		want := next(have)
		gives = len(missing(want, have)) > 0
		return want
	}, func(want wanted) error {
		// After Shutdown or Leave has begun, and under the lock by which they then take the roles: none comes after that.
		switch {
		case gives && m.bus.giving.Err() != nil:
			return m.bus.refusedOr(ctx)
		case gives && m.retiring.Load():
			return errBeingLeft
		}
		return m.checkSize(want)
	})
	if err != nil {
		return err
	}
	return m.confirmed(ctx, call)
}

func (m *member) checkSize(want wanted) error {
	return m.bus.store.check(m.scope.name, change{
		kind: kindState, node: m.keeper.node, id: life{maxNumber, maxNumber}, ttl: maxTTL, roles: want.roles, meta: want.meta,
	})
}

// confirmed waits until the bucket, and then the snapshot, hold what a call wants.
func (m *member) confirmed(ctx context.Context, call *wish) error {
	defer m.keeper.want.forget(call)
	for {
		id, held, moved, refusal := m.keeper.want.status(call)
		switch {
		case refusal != nil:
			return refusal
		case held:
			return m.visible(ctx, id)
		}
		if err := m.unconfirmed(ctx, m.keeper.want.failure()); err != nil {
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
		case <-m.bus.ctx.Done():
		case <-m.kctx.Done():
		}
	}
}

// visible waits until the snapshot shows the node's own record. The announcement may have been lost: then the record
// is fetched.
func (m *member) visible(ctx context.Context, id life) error {
	patience := 250 * time.Millisecond
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for snap := m.scope.snap.Load(); ; snap = m.scope.snap.Load() {
		// A later stay has snapshots, too, but only when this one is over.
		if n := snap.named.get(m.keeper.node); n != nil && !n.id.before(id) && m.ctx.Err() == nil {
			return nil
		}
		if err := m.unconfirmed(ctx, errNotAnnounced); err != nil {
			return err
		}
		select {
		case <-snap.superseded:
		case <-timer.C:
			m.catcher.ask(asked{nodes: map[string]life{m.keeper.node: id}})
			patience = min(2*patience, 4*time.Second) // the servers may have much to do
			timer.Reset(patience)
		case <-ctx.Done():
		case <-m.bus.ctx.Done():
		case <-m.kctx.Done():
		}
	}
}

var errNotAnnounced = errors.New("stored, but not announced yet")

// unconfirmed returns why there is no waiting any more: the Bus has stopped, the scope is left, or ctx is over, in this order,
// because only the last leaves the change wanted. nil if none of them is so.
func (m *member) unconfirmed(ctx context.Context, cause error) error {
	switch {
	case m.bus.ctx.Err() != nil:
		return m.bus.endedOr(ctx)
	case m.kctx.Err() != nil:
		return ErrNotJoined
	case ctx.Err() == nil:
		return nil
	case cause == nil:
		return fmt.Errorf("%w: %w", ErrNotConfirmed, ended(ctx))
	}
	return fmt.Errorf("%w: %w: %w", ErrNotConfirmed, ended(ctx), cause)
}
