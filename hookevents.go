package rolebus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// What hooks are told, and from where. Without hooks there is no such thing: all methods may be called of nil, and then
// do nothing.

// hooks are those of one Bus, by event.
type hooks struct {
	queues []*hookQueue

	started        hearers[StartedInfo]
	scopeJoined    hearers[ScopeJoinedInfo]
	scopeLeft      hearers[ScopeLeftInfo]
	rolesAdded     hearers[RolesAddedInfo]
	rolesRemoved   hearers[RolesRemovedInfo]
	nodeUp         hearers[NodeUpInfo]
	nodeDown       hearers[NodeDownInfo]
	sync           hearers[SyncInfo]
	read           hearers[ReadInfo]
	change         hearers[ChangeInfo]
	snapshot       hearers[SnapshotInfo]
	heartbeat      hearers[HeartbeatInfo]
	leaseLost      hearers[LeaseLostInfo]
	leaseBack      hearers[LeaseBackInfo]
	suspected      hearers[SuspectedInfo]
	suspicionEnded hearers[SuspicionEndedInfo]
	ignored        hearers[IgnoredInfo]
	connected      hearers[ConnectedInfo]
	disconnected   hearers[DisconnectedInfo]
	bucket         hearers[BucketInfo]
}

// newHooks finds out what each hook wants to hear; nil if there is none.
func newHooks(given []Hook, log *slog.Logger) (*hooks, error) {
	if len(given) == 0 {
		return nil, nil
	}
	h := &hooks{}
	var errs []error
	for i, hook := range given {
		if hook == nil {
			errs = append(errs, fmt.Errorf("hook %d is nil", i+1))
		} else if !h.add(hook, log) {
			errs = append(errs, fmt.Errorf("hook %d, a %T, has the method of no event: is it of another receiver, name or signature?", i+1, hook))
		}
	}
	return h, errors.Join(errs...)
}

// add finds out what a hook wants to hear, if it does anything.
func (h *hooks) add(hook Hook, log *slog.Logger) (hears bool) {
	q := &hookQueue{hook: hook, log: log, ended: make(chan struct{})}
	h.queues = append(h.queues, q)
	if missed, ok := hook.(HookMissed); ok {
		q.onMissed = missed.OnMissed
	}
	return slices.Contains([]bool{
		listen(&h.started, q, HookStarted.OnStarted),
		listen(&h.scopeJoined, q, HookScopeJoined.OnScopeJoined),
		listen(&h.scopeLeft, q, HookScopeLeft.OnScopeLeft),
		listen(&h.rolesAdded, q, HookRolesAdded.OnRolesAdded),
		listen(&h.rolesRemoved, q, HookRolesRemoved.OnRolesRemoved),
		listen(&h.nodeUp, q, HookNodeUp.OnNodeUp),
		listen(&h.nodeDown, q, HookNodeDown.OnNodeDown),
		listen(&h.sync, q, HookSync.OnSync),
		listen(&h.read, q, HookRead.OnRead),
		listen(&h.change, q, HookChange.OnChange),
		listen(&h.snapshot, q, HookSnapshot.OnSnapshot),
		listen(&h.heartbeat, q, HookHeartbeat.OnHeartbeat),
		listen(&h.leaseLost, q, HookLeaseLost.OnLeaseLost),
		listen(&h.leaseBack, q, HookLeaseBack.OnLeaseBack),
		listen(&h.suspected, q, HookSuspected.OnSuspected),
		listen(&h.suspicionEnded, q, HookSuspicionEnded.OnSuspicionEnded),
		listen(&h.ignored, q, HookIgnored.OnIgnored),
		listen(&h.connected, q, HookConnected.OnConnected),
		listen(&h.disconnected, q, HookDisconnected.OnDisconnected),
		listen(&h.bucket, q, HookBucket.OnBucket),
	}, true)
}

// close takes in nothing more, and waits until the hooks were told everything, for so long at the most.
func (h *hooks) close(patience time.Duration) error {
	if h == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, q := range h.queues {
		q.close()
	}
	var errs []error
	for _, q := range h.queues {
		errs = append(errs, q.wait(ctx))
	}
	return errors.Join(errs...)
}

// tellStarted tells that Connect or New has succeeded.
func (b *Bus) tellStarted(began time.Time) {
	if b.hooks == nil || len(b.hooks.started) == 0 {
		return
	}
	b.hooks.started.tell(StartedInfo{
		Node: b.opts.node, Observer: b.opts.observer, Scopes: slices.Clone(b.opts.scopes), Roles: Roles{roleSet(b.opts.roles)},
		Took: time.Since(began),
	})
}

// tellJoined tells that the stay has begun, and from now on which nodes come and go. The caller holds the scope's turn.
func (m *member) tellJoined(began time.Time) {
	h := m.bus.hooks
	if h == nil {
		return
	}
	m.told = true
	h.scopeJoined.tell(ScopeJoinedInfo{Scope: m.scope.name, Nodes: m.scope.snap.Load().members.len(), Took: time.Since(began)})
	for _, q := range h.queues {
		up, down := h.nodeUp.of(q), h.nodeDown.of(q)
		if len(up)+len(down) == 0 {
			continue
		}
		m.wg.Go(func() {
			for ev := range m.scope.Watch(m.ctx) {
				switch ev.Kind {
				case NodeJoined:
					up.hand(m.ctx, NodeUpInfo{Scope: ev.Scope, Node: ev.Node, Generation: ev.Generation})
				case NodeLeft:
					down.hand(m.ctx, NodeDownInfo{Scope: ev.Scope, Node: ev.Node, Reason: ev.Reason, Generation: ev.Generation})
				}
			}
		})
	}
}

// tellLeft tells that the stay has ended, if it was told that it had begun.
func (m *member) tellLeft(began time.Time, err error) {
	if !m.told {
		return
	}
	m.bus.hooks.scopeLeft.tell(ScopeLeftInfo{
		Scope: m.scope.name, Nodes: m.scope.snap.Load().members.len(), Took: time.Since(began), Err: err,
	})
}

// tellRoles tells what the bucket holds now and did not before.
func (k *keeper) tellRoles() {
	if k.hooks == nil {
		return
	}
	removed, added := missing(k.shown, k.held.roles), missing(k.held.roles, k.shown)
	k.shown = k.held.roles
	if len(removed) > 0 {
		k.hooks.rolesRemoved.tell(RolesRemovedInfo{Scope: k.scope, Node: k.node, Roles: Roles{removed}, Generation: k.generation})
	}
	if len(added) > 0 {
		k.hooks.rolesAdded.tell(RolesAddedInfo{Scope: k.scope, Node: k.node, Roles: Roles{added}, Generation: k.generation})
	}
}

// attempt begins to measure a heartbeat, if it is due; what it returns is to be called with the outcome.
func (k *keeper) attempt(ctx context.Context, due time.Time) (ended func(error)) {
	if k.hooks == nil || len(k.hooks.heartbeat) == 0 {
		return func(error) {}
	}
	if k.scheduled.IsZero() {
		k.scheduled = due
	}
	began := time.Now()
	if began.Before(due) {
		return func(error) {}
	}
	return func(err error) {
		if ctx.Err() != nil {
			return
		}
		k.hooks.heartbeat.tell(HeartbeatInfo{
			Scope: k.scope, Late: max(began.Sub(k.scheduled), 0), Took: time.Since(began), Err: err,
		})
		if err == nil {
			k.scheduled = time.Time{}
		}
	}
}

// tellLeaseLost is called with the lease's lock held.
func (h *hooks) tellLeaseLost(l *lease, cause error) {
	if h == nil {
		return
	}
	l.lost = time.Now()
	if !errors.Is(cause, ErrNotJoined) && !errors.Is(cause, ErrClosed) { // it was given up
		h.leaseLost.tell(LeaseLostInfo{Scope: l.scope, Err: cause})
	}
}

// tellLeaseBack is called with the lease's lock held. A lease that is taken for the first time is not back.
func (h *hooks) tellLeaseBack(l *lease) {
	if h != nil && l.ctx != nil {
		h.leaseBack.tell(LeaseBackInfo{Scope: l.scope, After: time.Since(l.lost)})
	}
}
