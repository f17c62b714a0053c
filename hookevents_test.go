package rolebus

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/internal/hook"
)

// recorder is a hook that keeps everything it is told.
type recorder struct {
	mu    sync.Mutex
	infos []any
}

func (r *recorder) add(info any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.infos = append(r.infos, info)
}

func (r *recorder) OnStarted(info StartedInfo)               { r.add(info) }
func (r *recorder) OnScopeJoined(info ScopeJoinedInfo)       { r.add(info) }
func (r *recorder) OnScopeLeft(info ScopeLeftInfo)           { r.add(info) }
func (r *recorder) OnRolesAdded(info RolesAddedInfo)         { r.add(info) }
func (r *recorder) OnRolesRemoved(info RolesRemovedInfo)     { r.add(info) }
func (r *recorder) OnNodeUp(info NodeUpInfo)                 { r.add(info) }
func (r *recorder) OnNodeDown(info NodeDownInfo)             { r.add(info) }
func (r *recorder) OnSync(info SyncInfo)                     { r.add(info) }
func (r *recorder) OnRead(info ReadInfo)                     { r.add(info) }
func (r *recorder) OnChange(info ChangeInfo)                 { r.add(info) }
func (r *recorder) OnSnapshot(info SnapshotInfo)             { r.add(info) }
func (r *recorder) OnHeartbeat(info HeartbeatInfo)           { r.add(info) }
func (r *recorder) OnLeaseLost(info LeaseLostInfo)           { r.add(info) }
func (r *recorder) OnLeaseBack(info LeaseBackInfo)           { r.add(info) }
func (r *recorder) OnSuspected(info SuspectedInfo)           { r.add(info) }
func (r *recorder) OnSuspicionEnded(info SuspicionEndedInfo) { r.add(info) }
func (r *recorder) OnIgnored(info IgnoredInfo)               { r.add(info) }
func (r *recorder) OnConnected(info ConnectedInfo)           { r.add(info) }
func (r *recorder) OnDisconnected(info DisconnectedInfo)     { r.add(info) }
func (r *recorder) OnBucket(info BucketInfo)                 { r.add(info) }
func (r *recorder) OnMissed(info MissedInfo)                 { r.add(info) }

// told returns what a recorder was told of one event, and forgets it.
func told[Info any](r *recorder) (infos []Info) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.infos = slices.DeleteFunc(r.infos, func(info any) bool {
		one, ok := info.(Info)
		if ok {
			infos = append(infos, one)
		}
		return ok
	})
	return infos
}

// bubbleTold is told once everything has come to rest.
func bubbleTold[Info any](r *recorder) []Info {
	synctest.Wait()
	return told[Info](r)
}

func TestHooksHearOfScopes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		f.bus(t, "b", WithScopes("s"))
		r := &recorder{}
		a := f.bus(t, "a", WithHooks(r), WithRequestTimeout(time.Second))
		require.Equal(t, []ScopeJoinedInfo{{Scope: "default", Nodes: 2}}, bubbleTold[ScopeJoinedInfo](r))
		_, err := a.Join(t.Context(), "s")
		require.NoError(t, err)
		require.Equal(t, []ScopeJoinedInfo{{Scope: "s", Nodes: 2}}, bubbleTold[ScopeJoinedInfo](r))
		require.NoError(t, a.Leave(t.Context(), "s"))
		require.Equal(t, []ScopeLeftInfo{{Scope: "s", Nodes: 2}}, bubbleTold[ScopeLeftInfo](r))

		a.link.setCut(true)
		_, err = a.Join(t.Context(), "s")
		require.Error(t, err)
		require.Empty(t, bubbleTold[ScopeJoinedInfo](r), "a join that fails is no event")
		require.Empty(t, bubbleTold[ScopeLeftInfo](r), "nor is its end")
		f.mu.Lock()
		a.link.cut, f.headless, f.silent = false, true, true // nobody answers
		f.mu.Unlock()
		require.ErrorIs(t, a.Close(), ErrNotConfirmed)
		left := told[ScopeLeftInfo](r) // without a wait: Close has waited
		require.Len(t, left, 1)
		require.ErrorIs(t, left[0].Err, ErrNotConfirmed)
		require.GreaterOrEqual(t, left[0].Took, time.Second, "it was tried for the request timeout")
		left[0].Err, left[0].Took = nil, 0
		require.Equal(t, ScopeLeftInfo{Scope: "default", Nodes: 2}, left[0])
	})
}

func TestHooksHearOfTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		a := newFakeBucket().bus(t, "a", WithHooks(r), WithRoles("y", "x", "y"), WithScopes("s"))
		began := time.Now()
		time.Sleep(time.Second)
		a.tellStarted(began)
		require.Equal(t, []StartedInfo{{
			Node: "a", Scopes: []string{"default", "s"}, Roles: Roles{[]Role{"x", "y"}}, Took: time.Second,
		}}, bubbleTold[StartedInfo](r))
	})
}

func TestHooksHearOfNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		b := f.bus(t, "b", WithRoles("x"))
		r := &recorder{}
		a := f.bus(t, "a", WithHooks(r))
		up := bubbleTold[NodeUpInfo](r)
		require.Len(t, up, 2)
		for i, n := range a.Snapshot().members.all(nil) {
			require.Equal(t, NodeUpInfo{Scope: "default", Node: n, Generation: n.Generation()}, up[i], "who is there, this node among them")
		}
		require.NoError(t, b.AddRoles(t.Context(), "y"))
		synctest.Wait()
		was := a.Snapshot().live("b")
		require.NoError(t, b.Close())
		require.Equal(t, []NodeDownInfo{{Scope: "default", Node: was, Reason: ReasonLeft, Generation: f.seq}}, bubbleTold[NodeDownInfo](r))

		c := f.bus(t, "c")
		require.Len(t, bubbleTold[NodeUpInfo](r), 1)
		c.crash()
		time.Sleep(fakeTTL)
		down := bubbleTold[NodeDownInfo](r)
		require.Len(t, down, 1)
		require.Equal(t, ReasonExpired, down[0].Reason)
		require.NoError(t, a.Close())
		require.Empty(t, told[NodeDownInfo](r), "who leaves does not see others go")
	})
}

// nodesHook is slow.
type nodesHook struct {
	eventLog
	next chan struct{}
}

func (h *nodesHook) note(what string) {
	h.mu.Lock()
	h.lines = append(h.lines, what)
	h.mu.Unlock()
	<-h.next
}

func (h *nodesHook) OnNodeUp(info NodeUpInfo)     { h.note("up " + info.Node.Name()) }
func (h *nodesHook) OnNodeDown(info NodeDownInfo) { h.note("down " + info.Node.Name()) }

func TestASlowHookMissesNoNodeThatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		h := &nodesHook{next: make(chan struct{})}
		a := f.bus(t, "a", WithHooks(h))
		require.Equal(t, []string{"up a"}, h.take())
		for range 5 {
			require.NoError(t, f.bus(t, "b").Close())
		}
		c := f.bus(t, "c")
		synctest.Wait()
		close(h.next)
		require.Equal(t, []string{"up c"}, h.take(), "who came and went meanwhile is no event")
		require.NoError(t, a.Leave(t.Context(), "default"))
		require.NoError(t, c.Close())
		require.Empty(t, h.take())
	})
}

func TestABlockedHookHoldsUpNothingButClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		h := &nodesHook{next: make(chan struct{})}
		a := f.bus(t, "a", WithHooks(h), WithRequestTimeout(3*time.Second))
		b := f.bus(t, "b")
		require.NoError(t, b.AddRoles(t.Context(), "x"))
		require.NoError(t, a.AddRoles(t.Context(), "x"))
		time.Sleep(10 * fakeTTL)
		require.Len(t, a.Nodes("x").Slice(), 2)
		require.Len(t, b.Nodes("x").Slice(), 2)
		require.NotZero(t, a.LeaseLeft())
		began := time.Now()
		require.EqualError(t, a.Close(), "rolebus: close: the hook *rolebus.nodesHook is still running")
		require.Equal(t, 3*time.Second, time.Since(began))
		require.Equal(t, []string{"up a"}, h.take())
		close(h.next)
		require.Empty(t, h.take(), "it is called no more")
	})
}

// closingHook does everything a hook may do.
type closingHook struct{ bus chan *fakeBus }

func (h *closingHook) OnScopeJoined(ScopeJoinedInfo) { _ = (<-h.bus).Close() }

func TestAHookThatClosesTheBusWaitsForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &closingHook{make(chan *fakeBus)}
		a := newFakeBucket().bus(t, "a", WithHooks(h), WithRequestTimeout(time.Second))
		h.bus <- a
		<-a.Done()
		require.ErrorContains(t, a.Close(), "closingHook is still running")
	})
}

func TestHooksHearOfRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		r := &recorder{}
		a := f.bus(t, "a", WithHooks(r), WithRoles("y", "x"))
		added := func(generation uint64, roles ...Role) []RolesAddedInfo {
			return []RolesAddedInfo{{Scope: "default", Node: "a", Roles: Roles{roles}, Generation: generation}}
		}
		removed := func(generation uint64, roles ...Role) []RolesRemovedInfo {
			return []RolesRemovedInfo{{Scope: "default", Node: "a", Roles: Roles{roles}, Generation: generation}}
		}
		require.Equal(t, added(1, "x", "y"), bubbleTold[RolesAddedInfo](r))
		require.NoError(t, a.SetRoles(t.Context(), "y", "z"))
		require.Equal(t, added(2, "z"), bubbleTold[RolesAddedInfo](r))
		require.Equal(t, removed(2, "x"), bubbleTold[RolesRemovedInfo](r))
		require.NoError(t, a.AddRoles(t.Context(), "y"))
		f.bus(t, "b", WithRoles("b"))
		require.Empty(t, bubbleTold[RolesAddedInfo](r), "nothing was written, or not by this node")

		// What the bucket loses and this node writes again was confirmed before.
		f.wipe(true)
		time.Sleep(fakeTTL)
		require.NotZero(t, a.Generation())
		require.Empty(t, bubbleTold[RolesAddedInfo](r))

		// Confirmed when the bucket has it, and not before.
		f.stop()
		go func() { _ = a.RemoveRoles(t.Context(), "y") }()
		time.Sleep(time.Second)
		require.Empty(t, bubbleTold[RolesRemovedInfo](r))
		f.start()
		time.Sleep(2 * lastRetry)
		require.Equal(t, removed(a.Generation(), "y"), bubbleTold[RolesRemovedInfo](r))

		// A write whose acknowledgement was lost.
		f.mu.Lock()
		a.link.deaf = true
		f.mu.Unlock()
		go func() { _ = a.AddRoles(t.Context(), "w") }()
		synctest.Wait()
		f.mu.Lock()
		a.link.deaf = false
		f.mu.Unlock()
		time.Sleep(2 * lastRetry)
		require.Equal(t, added(a.Generation(), "w"), bubbleTold[RolesAddedInfo](r))

		require.NoError(t, a.Leave(t.Context(), "default"))
		require.Empty(t, bubbleTold[RolesRemovedInfo](r))
		require.NoError(t, a.AddRoles(t.Context(), "w"))
		require.Equal(t, added(a.Generation(), "w"), bubbleTold[RolesAddedInfo](r), "another stay")
	})
}

func TestHooksHearOfHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		r := &recorder{}
		a := f.bus(t, "a", WithHooks(r))
		require.NoError(t, a.AddRoles(t.Context(), "x"))
		time.Sleep(fakeTTL / 3)
		require.Equal(t, []HeartbeatInfo{{Scope: "default"}}, bubbleTold[HeartbeatInfo](r), "only what is due is one")

		f.stop()
		_ = a.AddRoles(endedContext(t), "y") // fails before the heartbeat is due
		time.Sleep(fakeTTL)
		tries := bubbleTold[HeartbeatInfo](r)
		require.NotEmpty(t, tries)
		for i, try := range tries {
			require.ErrorIs(t, try.Err, errFakeDown)
			require.True(t, i == 0 || try.Late >= tries[i-1].Late)
		}
		last := tries[len(tries)-1].Late
		require.InDelta(t, 2*fakeTTL/3, last, float64(2*lastRetry), "counted from when it should have been")
		f.start()
		time.Sleep(2 * lastRetry)
		tries = bubbleTold[HeartbeatInfo](r)
		require.Len(t, tries, 1)
		require.NoError(t, tries[0].Err)
		require.Greater(t, tries[0].Late, last)
		time.Sleep(fakeTTL / 3)
		require.Equal(t, []HeartbeatInfo{{Scope: "default"}}, bubbleTold[HeartbeatInfo](r), "on time again")
		require.NoError(t, a.Close())
		require.Empty(t, bubbleTold[HeartbeatInfo](r))
	})
}

// endedContext is over as soon as everything has come to rest.
func endedContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestHooksHearOfTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		r := &recorder{}
		a := f.bus(t, "a", WithHooks(r), WithScopes("s"))
		time.Sleep(fakeTTL)
		require.Empty(t, bubbleTold[LeaseBackInfo](r), "it was never lost")
		a.link.setCut(true)
		time.Sleep(fakeTTL)
		lost := bubbleTold[LeaseLostInfo](r)
		require.Len(t, lost, 2, "one for each scope")
		require.ErrorIs(t, lost[0].Err, ErrLeaseLost)
		from := time.Now()
		a.link.setCut(false)
		time.Sleep(fakeTTL / 3)
		back := bubbleTold[LeaseBackInfo](r)
		require.Len(t, back, 2)
		require.Greater(t, back[0].After, time.Duration(0))
		require.Less(t, back[0].After, time.Since(from)+fakeTTL)
		require.Empty(t, bubbleTold[LeaseLostInfo](r))

		require.NoError(t, a.Leave(t.Context(), "s"))
		require.Empty(t, bubbleTold[LeaseLostInfo](r), "it was given up")
		f.bus(t, "a")
		<-a.Done()
		lost = told[LeaseLostInfo](r)
		require.Len(t, lost, 1)
		require.ErrorIs(t, lost[0].Err, ErrSuperseded)

		o := &recorder{}
		require.NoError(t, f.bus(t, "o", WithHooks(o), WithObserver()).Close())
		require.Empty(t, told[HeartbeatInfo](o), "an observer has none")
		require.Empty(t, told[LeaseLostInfo](o))
	})
}

func TestHooksHearOfSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		b := f.bus(t, "b")
		r := &recorder{}
		a := f.bus(t, "a", WithHooks(r), WithSyncInterval(time.Second))
		require.Equal(t, []ReadInfo{{Scope: "default", Records: 1}}, bubbleTold[ReadInfo](r), "at the join")
		ask := func(what asked) []SyncInfo {
			told[SyncInfo](r)
			a.member.Load().catcher.ask(what)
			return bubbleTold[SyncInfo](r)
		}
		require.Equal(t, []SyncInfo{{Scope: "default", Kind: SyncCheck}}, ask(asked{check: true}))
		require.Equal(t, []SyncInfo{{Scope: "default", Kind: SyncNewer}}, ask(asked{newer: true}), "what was read was known")
		require.Empty(t, bubbleTold[ReadInfo](r))
		require.Equal(t, []SyncInfo{{Scope: "default", Kind: SyncWhole}}, ask(asked{whole: true, check: true}))
		require.Equal(t, []ReadInfo{{Scope: "default", Records: 2}}, bubbleTold[ReadInfo](r))
		require.Equal(t, []SyncInfo{{Scope: "default", Kind: SyncRecord, Node: "b", Changed: true}}, ask(asked{nodes: map[string]life{"b": {1, 1}}}))

		f.mute = true
		require.NoError(t, b.AddRoles(t.Context(), "x"))
		synctest.Wait()
		f.mute = false
		told := ask(asked{check: true})
		time.Sleep(time.Second) // an announcement that is under way is waited for
		told = append(told, bubbleTold[SyncInfo](r)...)
		require.True(t, slices.ContainsFunc(told, func(info SyncInfo) bool { return info.Changed && info.Err == nil }), told)
		require.True(t, a.Roles("b").Has("x"))

		f.stop()
		bubbleTold[ReadInfo](r)
		told = ask(asked{whole: true})
		require.NotEmpty(t, told)
		require.ErrorIs(t, told[0].Err, errFakeDown)
		require.False(t, told[0].Changed)
		read := bubbleTold[ReadInfo](r)
		require.ErrorIs(t, read[0].Err, errFakeDown)
		require.Zero(t, read[0].Records)
		f.start()
		time.Sleep(10 * time.Second)
		bubbleTold[SyncInfo](r)

		require.NoError(t, a.Close())
		require.Empty(t, bubbleTold[SyncInfo](r), "what is broken off is no error")
	})
}

func TestWhetherASnapshotDiffers(t *testing.T) {
	snap := snapshotOf(t, stateOf("a", 1, 5, 5, "x"), stateOf("b", 1, 1, 6), leftOf("gone", 1, 9, 7))
	there := []change{stateOf("a", 1, 5, 5, "x"), stateOf("b", 1, 1, 6), leftOf("gone", 1, 9, 7)}
	for _, tc := range []struct {
		name string
		r    reading
		want bool
	}{
		{"nothing newer", reading{}, false},
		{"the same", reading{changes: there, whole: true, began: snap.serial}, false},
		{"a newer version", reading{changes: []change{stateOf("a", 1, 6, 8)}}, true},
		{"an older one that was written since", reading{changes: []change{stateOf("a", 1, 4, 8)}}, true},
		{"an older one that was read before", reading{changes: []change{stateOf("a", 1, 4, 4)}}, false},
		{"a node that is not known", reading{changes: []change{stateOf("c", 1, 1, 8)}}, true},
		{"a node that has gone since", reading{changes: []change{stateOf("gone", 1, 9, 5)}}, false},
		{"a life after that", reading{changes: []change{stateOf("gone", 2, 1, 9)}}, true},
		{"a node that is gone", reading{changes: []change{expiredOf("a", 1, 1005, 8)}}, true},
		{"an earlier life that is gone", reading{changes: []change{expiredOf("a", 0, 1005, 4)}}, false},
		{"the end of a node that is not known", reading{changes: []change{leftOf("c", 1, 1, 8)}}, false},
		{"a node that is lacking", reading{changes: there[1:], whole: true, began: snap.serial}, true},
		{"one that came since", reading{changes: there[1:], whole: true}, false},
		{"one that was not asked for", reading{changes: there[1:], began: snap.serial}, false},
	} {
		require.Equal(t, tc.want, snap.differs(tc.r), tc.name)
	}
}

func TestHooksHearOfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		r := &recorder{}
		a := f.bus(t, "a", WithHooks(r))
		at := time.Now().UTC().Truncate(0)
		require.Equal(t, []ChangeInfo{
			{Scope: "default", Node: "a", Kind: "state", Generation: 1, Stored: at, Timed: true},
		}, bubbleTold[ChangeInfo](r), "this node's own, too")
		b := f.bus(t, "b", WithRoles("x"))
		require.NoError(t, b.AddRoles(t.Context(), "y"))
		require.NoError(t, b.Close())
		require.Equal(t, []ChangeInfo{
			{Scope: "default", Node: "b", Kind: "state", Generation: 2, Stored: at, Timed: true},
			{Scope: "default", Node: "b", Kind: "delta", Generation: 3, Stored: at, Timed: true},
			{Scope: "default", Node: "b", Kind: "left", Generation: 4, Stored: at, Timed: true},
		}, bubbleTold[ChangeInfo](r))

		// It was stored 3 s before it comes, by a server whose clock is 2 s ahead of what it said when it was asked, in a second.
		now := time.Now()
		a.clock.tell(now, instant{mono: now.Add(-time.Second), wall: now.Add(-time.Second)})
		f.mu.Lock()
		f.storeAt("default", change{kind: kindState, node: "c", id: life{1, 1}, ttl: fakeTTL}, "", now.Add(-3*time.Second))
		f.mu.Unlock()
		changes := bubbleTold[ChangeInfo](r)
		require.Len(t, changes, 1)
		require.Equal(t, 4*time.Second, changes[0].Age, "too large by the second that the answer took")
		require.Equal(t, time.Second, changes[0].Slack)

		a.clock.forget()
		f.mu.Lock()
		f.store("default", change{kind: kindState, node: "d", id: life{1, 1}, ttl: fakeTTL}, "")
		f.mu.Unlock()
		changes = bubbleTold[ChangeInfo](r)
		require.Len(t, changes, 1)
		require.False(t, changes[0].Timed)
		require.Zero(t, changes[0].Age+changes[0].Slack)
	})
}

func TestAnObserverGoesOnToKnowTheServersClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newFakeBucket().bus(t, "o", WithObserver())
		time.Sleep(time.Hour)
		o.clock.mu.Lock()
		defer o.clock.mu.Unlock()
		require.Less(t, time.Since(o.clock.at.mono), fakeTTL)
	})
}

func TestHooksHearOfSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		b := f.bus(t, "b")
		r := &recorder{}
		a := f.bus(t, "a", WithHooks(r))
		snaps := bubbleTold[SnapshotInfo](r)
		require.Equal(t, "default", snaps[0].Scope)
		require.Equal(t, 1, snaps[0].Changes)
		require.Equal(t, 1, snaps[0].Snapshot.members.len(), "what was read when it joined")
		require.NoError(t, b.AddRoles(t.Context(), "x"))
		snaps = bubbleTold[SnapshotInfo](r)
		require.Equal(t, []SnapshotInfo{{Scope: "default", Snapshot: a.Snapshot(), Changes: 1}}, snaps)
		a.partition(true)
		snaps = bubbleTold[SnapshotInfo](r)
		require.NotEmpty(t, snaps)
		require.Zero(t, snaps[0].Changes)
		require.Same(t, a.Snapshot(), snaps[len(snaps)-1].Snapshot)
	})
}

func TestHooksHearOfSuspicions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		r := &recorder{}
		peeredFleet(t, f, n, 5)
		a := f.peered(t, n, "S1", "a", WithHooks(r))
		hung := f.peered(t, n, "S1", "hung")
		settle()
		suspected := func() *Node {
			t.Helper()
			var infos []SuspectedInfo
			for range 400 { // it takes that long for who does not ask it, but hears of it
				if infos = append(infos, bubbleTold[SuspectedInfo](r)...); len(infos) > 0 {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			require.Len(t, infos, 1)
			require.Equal(t, "default", infos[0].Scope)
			require.Equal(t, "hung", infos[0].Node.Name())
			return infos[0].Node
		}
		ended := func(end SuspicionEnd) SuspicionEndedInfo {
			t.Helper()
			infos := bubbleTold[SuspicionEndedInfo](r)
			require.Len(t, infos, 1)
			require.Equal(t, end, infos[0].End)
			require.Equal(t, "hung", infos[0].Node.Name())
			require.Positive(t, infos[0].After)
			return infos[0]
		}
		hung.set(func(p *fakePeers) { p.hung = true })
		suspected()
		hung.set(func(p *fakePeers) { p.hung = false })
		time.Sleep(2 * time.Second)
		ended(SuspicionAnswered)

		hung.set(func(p *fakePeers) { p.hung = true })
		suspected()
		require.NoError(t, hung.AddRoles(t.Context(), "y"))
		require.True(t, ended(SuspicionChanged).Node.Has("y"))

		suspected()
		time.Sleep(fakeTTL + 2*time.Second)
		info := ended(SuspicionAcquitted)
		require.GreaterOrEqual(t, info.After, fakeTTL)
		require.Same(t, a.Snapshot().live("hung"), info.Node)

		hung.set(func(p *fakePeers) { p.hung = false })
		time.Sleep(10 * time.Second) // a has asked it in its turn
		hung.freeze()
		was := suspected()
		time.Sleep(fakeTTL)
		require.Same(t, was, ended(SuspicionBuried).Node)
		require.Empty(t, bubbleTold[SuspectedInfo](r))
	})
}

// Whoever may write to the fleet's subjects can make as much noise as he likes. It displaces nothing else.
func TestNoiseLeavesRoomForOtherEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		next := make(chan struct{})
		h := &noisyHook{recorder: r, next: next}
		f := newFakeBucket()
		a := f.bus(t, "a", WithHooks(h))
		synctest.Wait()
		a.noise.ignore("s", errGarbled)
		synctest.Wait() // it is at this one
		for range 3*hook.Backlog - 1 {
			a.noise.ignore("s", errGarbled)
		}
		require.NoError(t, a.AddRoles(t.Context(), "x"))
		close(next)
		require.Len(t, bubbleTold[RolesAddedInfo](r), 1)
		ignored := told[IgnoredInfo](r)
		require.Len(t, ignored, noisiest+1) // the first one does not wait
		require.Equal(t, IgnoredInfo{Subject: "s", Err: ours("", errGarbled), Total: noisiest + 1}, ignored[noisiest])
		require.Equal(t, []MissedInfo{{Events: 3*hook.Backlog - noisiest - 1}}, told[MissedInfo](r))
	})
}

type noisyHook struct {
	*recorder
	next chan struct{}
}

func (h *noisyHook) OnIgnored(info IgnoredInfo) { <-h.next; h.recorder.OnIgnored(info) }

// Also those that no call returns.
func TestErrorsThatHooksAreToldBeginAsAllDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		r := &recorder{}
		a := f.bus(t, "a", WithHooks(r), WithRequestTimeout(time.Second))
		a.noise.ignore("subject", errGarbled)
		f.stop()
		a.catcher().ask(asked{whole: true})
		a.catcher().ask(asked{nodes: map[string]life{"b": {1, 1}}})
		time.Sleep(2 * fakeTTL)
		require.Error(t, a.Close())
		var errs []error
		for _, info := range told[SyncInfo](r) {
			errs = append(errs, info.Err)
		}
		for _, info := range told[ReadInfo](r) {
			errs = append(errs, info.Err)
		}
		for _, info := range told[HeartbeatInfo](r) {
			errs = append(errs, info.Err)
		}
		for _, info := range told[LeaseLostInfo](r) {
			errs = append(errs, info.Err)
		}
		for _, info := range told[IgnoredInfo](r) {
			errs = append(errs, info.Err)
		}
		left := told[ScopeLeftInfo](r)
		require.Len(t, left, 1)
		require.ErrorIs(t, left[0].Err, ErrNotConfirmed)
		errs = append(errs, left[0].Err)
		failures := 0
		for _, err := range errs {
			if err != nil {
				failures++
				require.Equal(t, 1, strings.Count(err.Error(), prefix), "%v", err)
				require.True(t, strings.HasPrefix(err.Error(), prefix), "%v", err)
			}
		}
		require.Greater(t, failures, 5)
	})
}

func (b *fakeBus) catcher() *catcher { return b.member.Load().catcher }
