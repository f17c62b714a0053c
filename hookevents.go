package rolebus

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/rolebus/rolebus/internal/hook"
)

// What hooks are told, and from where. Without hooks there is no such thing: all methods may be called of nil, and then
// do nothing.

// noisiest is how many events may wait for a hook before it misses ignored messages: whoever sends them must not displace
// everything else.
const noisiest = hook.Backlog / 2

// hooks are those of one Bus, by event.
type hooks struct {
	queues []*hook.Queue

	started        hook.Hearers[StartedInfo]
	scopeJoined    hook.Hearers[ScopeJoinedInfo]
	scopeLeft      hook.Hearers[ScopeLeftInfo]
	rolesAdded     hook.Hearers[RolesAddedInfo]
	rolesRemoved   hook.Hearers[RolesRemovedInfo]
	nodeUp         hook.Hearers[NodeUpInfo]
	nodeDown       hook.Hearers[NodeDownInfo]
	sync           hook.Hearers[SyncInfo]
	read           hook.Hearers[ReadInfo]
	change         hook.Hearers[ChangeInfo]
	snapshot       hook.Hearers[SnapshotInfo]
	heartbeat      hook.Hearers[HeartbeatInfo]
	leaseLost      hook.Hearers[LeaseLostInfo]
	leaseBack      hook.Hearers[LeaseBackInfo]
	suspected      hook.Hearers[SuspectedInfo]
	suspicionEnded hook.Hearers[SuspicionEndedInfo]
	ignored        hook.Hearers[IgnoredInfo]
	connected      hook.Hearers[ConnectedInfo]
	disconnected   hook.Hearers[DisconnectedInfo]
	bucket         hook.Hearers[BucketInfo]
	servers        hook.Hearers[ServersInfo]

	link hookLink
}

// newHooks finds out what each hook wants to hear; nil if there is none.
func newHooks(given []Hook, log *slog.Logger) (*hooks, error) {
	if len(given) == 0 {
		return nil, nil
	}
	h := &hooks{}
	var err error
	h.queues, err = hook.Take(given, log, onMissed, h.hears)
	return h, err
}

// onMissed tells a hook that events were too many for it, if it wants to hear of that.
func onMissed(one Hook) func(events int) {
	if missed, ok := one.(HookMissed); ok {
		return func(events int) { missed.OnMissed(MissedInfo{Events: events}) }
	}
	return nil
}

// hears has a hook's queue listen to what the hook wants to hear.
func (h *hooks) hears(_ Hook, q *hook.Queue) []bool {
	return []bool{
		hook.Listen(&h.started, q, HookStarted.OnStarted),
		hook.Listen(&h.scopeJoined, q, HookScopeJoined.OnScopeJoined),
		hook.Listen(&h.scopeLeft, q, HookScopeLeft.OnScopeLeft),
		hook.Listen(&h.rolesAdded, q, HookRolesAdded.OnRolesAdded),
		hook.Listen(&h.rolesRemoved, q, HookRolesRemoved.OnRolesRemoved),
		hook.Listen(&h.nodeUp, q, HookNodeUp.OnNodeUp),
		hook.Listen(&h.nodeDown, q, HookNodeDown.OnNodeDown),
		hook.Listen(&h.sync, q, HookSync.OnSync),
		hook.Listen(&h.read, q, HookRead.OnRead),
		hook.Listen(&h.change, q, HookChange.OnChange),
		hook.Listen(&h.snapshot, q, HookSnapshot.OnSnapshot),
		hook.Listen(&h.heartbeat, q, HookHeartbeat.OnHeartbeat),
		hook.Listen(&h.leaseLost, q, HookLeaseLost.OnLeaseLost),
		hook.Listen(&h.leaseBack, q, HookLeaseBack.OnLeaseBack),
		hook.Listen(&h.suspected, q, HookSuspected.OnSuspected),
		hook.Listen(&h.suspicionEnded, q, HookSuspicionEnded.OnSuspicionEnded),
		hook.Listen(&h.ignored, q, HookIgnored.OnIgnored),
		hook.Listen(&h.connected, q, HookConnected.OnConnected),
		hook.Listen(&h.disconnected, q, HookDisconnected.OnDisconnected),
		hook.Listen(&h.bucket, q, HookBucket.OnBucket),
		hook.Listen(&h.servers, q, HookServers.OnServers),
	}
}

// close takes in nothing more, and waits until the hooks were told everything, for so long at the most.
func (h *hooks) close(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return h.closeUntil(ctx)
}

// closeUntil is close, for as long as ctx is not over.
func (h *hooks) closeUntil(ctx context.Context) error {
	if h == nil {
		return nil
	}
	for _, q := range h.queues {
		q.Close()
	}
	var errs []error
	for _, q := range h.queues {
		errs = append(errs, failed("close", q.Wait(ctx)))
	}
	return errors.Join(errs...)
}

// tellStarted tells that Connect or New has succeeded.
func (b *Bus) tellStarted(began time.Time) {
	if b.hooks == nil || len(b.hooks.started) == 0 {
		return
	}
	b.hooks.started.Tell(StartedInfo{
		Node: b.opts.node, Observer: b.opts.observer, Scopes: b.Scopes(), Roles: Roles{roleSet(b.opts.roles)},
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
	h.scopeJoined.Tell(ScopeJoinedInfo{Scope: m.scope.name, Nodes: m.scope.snap.Load().members.len(), Took: time.Since(began)})
	for _, q := range h.queues {
		up, down := h.nodeUp.Of(q), h.nodeDown.Of(q)
		if len(up)+len(down) == 0 {
			continue
		}
		m.wg.Go(func() {
			for ev := range m.scope.Watch(m.ctx) {
				switch ev.Kind {
				case NodeJoined:
					up.Hand(m.ctx, NodeUpInfo{Scope: ev.Scope, Node: ev.Node, Generation: ev.Generation})
				case NodeLeft:
					down.Hand(m.ctx, NodeDownInfo{Scope: ev.Scope, Node: ev.Node, Reason: ev.Reason, Generation: ev.Generation})
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
	m.bus.hooks.scopeLeft.Tell(ScopeLeftInfo{
		Scope: m.scope.name, Nodes: m.scope.snap.Load().members.len(), Took: time.Since(began), Err: ours("", err),
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
		k.hooks.rolesRemoved.Tell(RolesRemovedInfo{Scope: k.scope, Node: k.node, Roles: Roles{removed}, Generation: k.generation})
	}
	if len(added) > 0 {
		k.hooks.rolesAdded.Tell(RolesAddedInfo{Scope: k.scope, Node: k.node, Roles: Roles{added}, Generation: k.generation})
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
		k.hooks.heartbeat.Tell(HeartbeatInfo{
			Scope: k.scope, Late: max(began.Sub(k.scheduled), 0), Took: time.Since(began), Err: ours("", err),
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
		h.leaseLost.Tell(LeaseLostInfo{Scope: l.scope, Err: cause})
	}
}

// tellLeaseBack is called with the lease's lock held. A lease that is taken for the first time is not back.
func (h *hooks) tellLeaseBack(l *lease) {
	if h != nil && l.ctx != nil {
		h.leaseBack.Tell(LeaseBackInfo{Scope: l.scope, After: time.Since(l.lost)})
	}
}

// kind is the most that was asked for.
func (a asked) kind() SyncKind {
	switch {
	case a.whole:
		return SyncWhole
	case a.newer:
		return SyncNewer
	}
	return SyncCheck
}

// sync is read, and tells of it.
func (k *catcher) sync(ctx context.Context, todo asked) (reading, error) {
	began := time.Now()
	r, err := k.readTold(ctx, todo)
	if k.hooks != nil && len(k.hooks.sync) > 0 && !errors.Is(ctx.Err(), context.Canceled) {
		took := time.Since(began)
		k.hooks.sync.Tell(SyncInfo{Scope: k.scope, Kind: todo.kind(), Changed: err == nil && k.snap().differs(r), Took: took, Err: ours("", err)})
	}
	return r, err
}

// readTold is read, and tells of it if that is of the whole scope.
func (k *catcher) readTold(ctx context.Context, todo asked) (reading, error) {
	began := time.Now()
	r, err := k.read(ctx, todo)
	if k.hooks != nil && r.whole && !errors.Is(ctx.Err(), context.Canceled) {
		info := ReadInfo{Scope: k.scope, Took: time.Since(began), Err: ours("", err)}
		if err == nil {
			info.Records = len(r.changes)
		}
		k.hooks.read.Tell(info)
	}
	return r, err
}

// syncRecord is fetch, and tells of it.
func (k *catcher) syncRecord(ctx context.Context, node string, want life) error {
	began := time.Now()
	err := k.fetch(ctx, node, want)
	if k.hooks != nil && !errors.Is(ctx.Err(), context.Canceled) {
		k.hooks.sync.Tell(SyncInfo{Scope: k.scope, Kind: SyncRecord, Node: node, Changed: err == nil, Took: time.Since(began), Err: ours("", err)})
	}
	return err
}

// differs says whether the bucket holds something that the snapshot does not, or lacks something, as a reading shows.
func (snap *Snapshot) differs(r reading) bool {
	there := map[string]bool{}
	for _, c := range r.changes {
		there[c.node] = true
		known := snap.live(c.node)
		switch {
		case known == nil && c.kind.isTombstone():
		case known == nil && snap.ends.get(c.node).id.before(c.id):
			return true
		case known == nil:
		case c.kind.isTombstone() && !c.id.before(known.id), known.id.before(c.id), c.id != known.id && c.generation > known.generation:
			return true
		}
	}
	lacks := func(n *Node) bool { return !there[n.name] && n.heard <= r.began }
	for _, n := range snap.named.all() {
		if r.whole && lacks(n) {
			return true
		}
	}
	return r.whole && slices.ContainsFunc(snap.suspects, lacks)
}

// tellChange tells of an announcement. How old it is is reckoned later: the loop has to go on.
func (h *hooks) tellChange(scope string, clock *clock, c *change) {
	if len(h.change) == 0 {
		return
	}
	heard := time.Now()
	info := ChangeInfo{Scope: scope, Node: c.node, Kind: c.kind.String(), Generation: c.generation, Stored: c.stored}
	h.change.TellLater(func() ChangeInfo {
		info := info
		if now, slack, known := clock.estimate(heard); known && !info.Stored.IsZero() {
			info.Age, info.Slack, info.Timed = now.Sub(info.Stored), slack, true
		}
		return info
	})
}

// tellSnapshot tells that a snapshot took the place of another one, and whom it suspects that the other did not, or no more.
func (h *hooks) tellSnapshot(was, is *Snapshot, changes int, began time.Time) {
	if len(h.snapshot) > 0 {
		h.snapshot.Tell(SnapshotInfo{Scope: is.scope, Snapshot: is, Changes: changes, Took: time.Since(began)})
	}
	if len(was.suspects)+len(is.suspects) == 0 || len(h.suspected)+len(h.suspicionEnded) == 0 {
		return
	}
	for _, n := range was.suspects {
		if now := find(is.suspects, n.name); now == nil || now.id.incarnation != n.id.incarnation {
			end, node := endOf(n, is.live(n.name))
			h.suspicionEnded.Tell(SuspicionEndedInfo{Scope: is.scope, Node: node, End: end, After: began.Sub(n.hidden)})
		}
	}
	for _, n := range is.suspects {
		if before := find(was.suspects, n.name); before == nil || before.id.incarnation != n.id.incarnation {
			h.suspected.Tell(SuspectedInfo{Scope: is.scope, Node: n})
		}
	}
}

// endOf says how the suspicion of a node ended, by what it is now: nil if it is not known any more.
func endOf(suspect, now *Node) (SuspicionEnd, *Node) {
	switch {
	case now == nil:
		return SuspicionBuried, suspect
	case now.id != suspect.id:
		return SuspicionChanged, now
	case now.deaf:
		return SuspicionAcquitted, now
	}
	return SuspicionAnswered, now
}

// tellBucket tells what was done to the bucket.
func (h *hooks) tellBucket(info BucketInfo) {
	if h != nil {
		h.bucket.Tell(info)
	}
}
