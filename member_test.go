package rolebus

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestJoinShowsEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("x", "y"))
		b := f.bus(t, "b", WithRoles("x"))
		require.Equal(t, []string{"a", "b"}, names(b.Nodes("x").Slice()), "when Connect returns, the snapshot is whole")
		synctest.Wait()
		require.Equal(t, []string{"a", "b"}, names(a.Nodes("x").Slice()))
		require.Equal(t, []Role{"x", "y"}, b.Roles("a").Slice())
		require.Equal(t, 2, f.writes, "one write for each")
	})
}

func TestChangesAreSeenAndNothingIsWrittenForNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a"), f.bus(t, "b", WithObserver())
		seen := watchLog(t.Context(), b.Scope)
		require.Equal(t, []string{"NodeJoined a"}, seen.take())

		require.NoError(t, a.AddRoles(t.Context(), "x", "y", "x"))
		require.Equal(t, []Role{"x", "y"}, a.MyRoles().Slice(), "visible to the caller when the call returns")
		require.Equal(t, []string{"RoleAdded a x", "RoleAdded a y"}, seen.take())

		writes, generation := f.writes, a.Generation()
		require.NoError(t, a.AddRoles(t.Context(), "x"))
		require.NoError(t, a.AddRoles(t.Context()))
		require.NoError(t, a.RemoveRoles(t.Context(), "z"))
		require.NoError(t, a.SetRoles(t.Context(), "y", "x"))
		require.Equal(t, writes, f.writes)
		require.Equal(t, generation, a.Generation())

		require.NoError(t, a.SetRoles(t.Context(), "y", "z"))
		require.Equal(t, []string{"RoleRemoved a x", "RoleAdded a z"}, seen.take())
		require.NoError(t, a.RemoveRoles(t.Context(), "y", "z"))
		require.Equal(t, []string{"RoleRemoved a y", "RoleRemoved a z"}, seen.take())
		require.Empty(t, b.AllNodes().Slice(), "a node without roles is not listed")
	})
}

func TestChangeRolesIsOneAnnouncement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("old", "kept")), f.bus(t, "b", WithObserver())
		seen := watchLog(t.Context(), b.Scope)
		seen.take()
		writes := f.writes
		add, remove := []Role{"new", "kept"}, []Role{"old", "never", "kept"}
		require.NoError(t, a.ChangeRoles(t.Context(), add, remove))
		require.Equal(t, []Role{"kept", "new"}, a.MyRoles().Slice(), "what is in both is had")
		require.Equal(t, writes+1, f.writes)
		require.Equal(t, []string{"RoleRemoved a old", "RoleAdded a new"}, seen.take())
		require.Equal(t, [][]Role{{"new", "kept"}, {"old", "never", "kept"}}, [][]Role{add, remove}, "the caller's slices")

		require.NoError(t, a.ChangeRoles(t.Context(), []Role{"new"}, []Role{"old"}))
		require.NoError(t, a.ChangeRoles(t.Context(), nil, nil))
		require.Equal(t, writes+1, f.writes, "nothing to do, nothing written")

		require.NoError(t, a.In("s").ChangeRoles(t.Context(), nil, []Role{"x"}))
		require.Equal(t, []string{"default"}, a.Scopes(), "nothing to add, nothing joined")
		require.NoError(t, a.In("s").ChangeRoles(t.Context(), []Role{"x", "y"}, []Role{"x"}))
		require.Equal(t, []Role{"x", "y"}, a.In("s").MyRoles().Slice(), "joins")

		require.ErrorIs(t, a.ChangeRoles(t.Context(), []Role{""}, nil), ErrBadName)
		require.ErrorIs(t, a.ChangeRoles(t.Context(), nil, []Role{"\xff"}), ErrBadName)
		require.ErrorIs(t, b.ChangeRoles(t.Context(), nil, nil), ErrReadOnly)
		f.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := a.ChangeRoles(ctx, []Role{"z"}, []Role{"new"})
		require.ErrorIs(t, err, ErrNotConfirmed)
		require.ErrorContains(t, err, `change roles in scope "default"`)
		f.start()
		time.Sleep(2 * lastRetry)
		require.Equal(t, []Role{"kept", "z"}, a.MyRoles().Slice(), "still wanted")
		require.NoError(t, a.Close())
		require.ErrorIs(t, a.ChangeRoles(t.Context(), nil, nil), ErrClosed)
	})
}

// Without a leader nothing is answered, and leases run out that nobody could renew. The switch that fires as soon as there
// is one again is hardly late: an observer must have noticed before.
func TestAnObserverNoticesALeaderlessTimeInTime(t *testing.T) {
	for phase := range 28 {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeBucket()
			fleet := []*fakeBus{f.bus(t, "a", WithRoles("x")), f.bus(t, "b", WithRoles("x"))}
			o := f.bus(t, "o", WithObserver())
			seen := watchLog(t.Context(), o.Scope)
			time.Sleep(3*fakeTTL + time.Duration(phase)*fakeTTL/84)
			seen.take()
			f.mu.Lock()
			if f.stuck = phase%2 == 0; !f.stuck { // or a leader whose replicas do not follow
				f.headless, f.silent = true, true
			}
			first := time.Now().Add(fakeTTL)
			for _, l := range f.leases {
				if l.c.due.Before(first) {
					first = l.c.due
				}
			}
			f.mu.Unlock()
			time.Sleep(time.Until(first) + 100*time.Millisecond)
			f.start()
			time.Sleep(3 * fakeTTL)
			require.Empty(t, seen.take())
			for _, b := range fleet {
				require.Len(t, b.Nodes("x").Slice(), 2)
			}
		})
	}
}

func TestHeartbeatsKeepTheLeaseAndMoveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		seen := watchLog(t.Context(), b.Scope)
		seen.take()
		generation := a.Generation()
		time.Sleep(100 * fakeTTL)
		require.Empty(t, seen.take())
		require.Equal(t, generation, a.Generation())
		require.Equal(t, 2, f.writes)
		require.Zero(t, b.Snapshot().Stale())
	})
}

func TestCrashIsToldWithinTheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x", "y")), f.bus(t, "b")
		seen := watchLog(t.Context(), b.Scope)
		seen.take()
		// Right after a change, whose version no heartbeat has carried yet.
		require.NoError(t, a.AddRoles(t.Context(), "z"))
		a.crash()
		time.Sleep(fakeTTL + time.Millisecond)
		require.Equal(t, []string{
			"RoleAdded a z",
			"RoleRemoved a x expired", "RoleRemoved a y expired", "RoleRemoved a z expired", "NodeLeft a expired",
		}, seen.take())
	})
}

func TestLeaveIsOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		seen := watchLog(t.Context(), b.Scope)
		seen.take()
		seq := f.seq
		require.NoError(t, a.Close())
		require.Equal(t, []string{"RoleRemoved a x left", "NodeLeft a left"}, seen.take())
		require.Equal(t, seq+1, f.seq)
		require.NotContains(t, f.leases, [2]string{"default", "a"})
		require.Equal(t, []string{"a"}, names(a.Nodes("x").Slice()), "a closed bus goes on answering")
		require.NoError(t, a.Close(), "twice")
	})
}

func TestOutageLosesNobody(t *testing.T) {
	for _, outage := range []time.Duration{fakeTTL / 4, fakeTTL - 1, 3 * fakeTTL} {
		t.Run(outage.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a, b, c := f.bus(t, "a", WithRoles("x")), f.bus(t, "b", WithRoles("x")), f.bus(t, "c", WithObserver())
				dead := f.bus(t, "dead", WithRoles("x"))
				seen, observed := watchLog(t.Context(), b.Scope), watchLog(t.Context(), c.Scope)
				seen.take()
				observed.take()
				dead.crash()
				f.outage(outage, a, b, c)
				time.Sleep(3 * fakeTTL)
				gone := []string{"RoleRemoved dead x expired", "NodeLeft dead expired"}
				require.Equal(t, gone, seen.take(), "only who is really gone is reported")
				require.Equal(t, gone, observed.take())
				require.Equal(t, []string{"a", "b"}, names(c.Nodes("x").Slice()))
				require.Zero(t, b.Snapshot().Stale())
				require.Zero(t, c.Snapshot().Stale())
			})
		})
	}
}

func TestASwitchThatFiresLateIsDoubted(t *testing.T) {
	// The stream has no leader for a while. Who only reads is answered by the replicas and notices nothing; then the
	// new leader fires what fell due meanwhile.
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, o := f.bus(t, "a", WithRoles("x")), f.bus(t, "o", WithObserver(), WithSyncInterval(time.Hour))
		dead := f.bus(t, "dead", WithRoles("x"))
		seen := watchLog(t.Context(), o.Scope)
		seen.take()
		f.mu.Lock()
		f.headless = true
		f.mu.Unlock()
		dead.crash()
		time.Sleep(2 * fakeTTL)
		f.start()
		synctest.Wait()
		require.Equal(t, []string{"a", "dead"}, names(o.Nodes("x").Slice()))
		time.Sleep(2 * fakeTTL)
		require.Equal(t, []string{"RoleRemoved dead x expired", "NodeLeft dead expired"}, seen.take())
		require.Equal(t, []string{"a"}, names(a.Nodes("x").Slice()))
	})
}

func TestAnObserverNoticesThatThereIsNoLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		o := f.bus(t, "o", WithObserver())
		f.mu.Lock()
		f.headless = true
		f.mu.Unlock()
		time.Sleep(10 * time.Second)
		require.NotZero(t, o.Snapshot().Stale())
		f.start()
		time.Sleep(10 * time.Second)
		require.Zero(t, o.Snapshot().Stale())
	})
}

func TestSnapshotTellsItsStaleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("x"))
		a.partition(true)
		synctest.Wait()
		time.Sleep(time.Minute)
		require.GreaterOrEqual(t, a.Snapshot().Stale(), time.Minute)
		require.Equal(t, []string{"a"}, names(a.Nodes("x").Slice()), "reads never fail")
		a.partition(false)
		time.Sleep(fakeTTL)
		require.Zero(t, a.Snapshot().Stale())
	})
}

func TestFrozenNodeComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		seen := watchLog(t.Context(), b.Scope)
		seen.take()
		a.link.setCut(true)
		time.Sleep(2 * fakeTTL)
		require.Equal(t, []string{"RoleRemoved a x expired", "NodeLeft a expired"}, seen.take())
		require.Equal(t, []Role{"x"}, a.MyRoles().Slice())
		a.link.setCut(false)
		time.Sleep(fakeTTL / 3)
		require.Equal(t, []string{"NodeJoined a", "RoleAdded a x"}, seen.take())
		require.NoError(t, a.Err())
	})
}

func TestWipedBucketIsWrittenAgain(t *testing.T) {
	for name, reset := range map[string]bool{"purged": false, "made anew": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b", WithRoles("y"))
				dead := f.bus(t, "dead")
				seen := watchLog(t.Context(), b.Scope)
				seen.take()
				dead.crash()
				f.wipe(reset)
				time.Sleep(fakeTTL / 3)
				require.NoError(t, a.AddRoles(t.Context(), "z"))
				require.Equal(t, []string{"RoleAdded a z"}, seen.take(), "nobody was lost")
				require.Len(t, f.records, 2)
				// Nobody buried the dead one: its switch was wiped, too.
				time.Sleep(wholeEvery*7*time.Second + 2*fakeTTL)
				require.Equal(t, []string{"NodeLeft dead expired"}, seen.take())
			})
		})
	}
}

func TestABucketThatGoesBackGivesAGenerationTwice(t *testing.T) {
	// The store forgets the record, and then a tombstone gets the very generation that the record had. The condition
	// of a heartbeat holds, and yet the record is gone.
	for name, told := range map[string]bool{"announced": true, "found by a sync": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
				seen := watchLog(t.Context(), b.Scope)
				seen.take()
				f.mu.Lock()
				record := f.records[[2]string{"default", "a"}]
				f.seq, f.mute = record.generation-1, !told
				f.store("default", change{kind: kindExpired, node: "a", id: life{record.c.id.incarnation, 1001}, due: time.Now()},
					fakeSubjects.lease("default", "a"))
				f.seq, f.mute = 10, false
				f.mu.Unlock()
				time.Sleep((wholeEvery + 1) * 7 * time.Second)
				f.mu.Lock()
				require.Equal(t, kindState, f.records[[2]string{"default", "a"}].c.kind)
				f.mu.Unlock()
				seen.take()
				require.Equal(t, []string{"a"}, names(b.Nodes("x").Slice()))
				require.NoError(t, a.Err())
			})
		})
	}
}

func TestNewerLifeTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		old, b := f.bus(t, "a", WithRoles("x"), WithScopes("side")), f.bus(t, "b")
		require.NoError(t, old.In("side").AddRoles(t.Context(), "s"))
		seen := watchLog(t.Context(), b.Scope)
		seen.take()
		young := f.bus(t, "a", WithRoles("x"))
		require.Equal(t, []string{"RoleRemoved a x superseded", "NodeLeft a superseded", "NodeJoined a", "RoleAdded a x"}, seen.take())
		<-old.Done()
		require.ErrorIs(t, old.Err(), ErrSuperseded)
		err := old.AddRoles(t.Context(), "y")
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, err, ErrSuperseded)
		require.NoError(t, old.Close())
		require.Equal(t, kindLeft, f.records[[2]string{"side", "a"}].c.kind, "the older life leaves its other scopes")
		time.Sleep(3 * fakeTTL)
		require.Empty(t, seen.take(), "two lives never fight")
		require.NoError(t, young.Err())
	})
}

func TestLostAnnouncementsAreCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a"), f.bus(t, "b", WithSyncInterval(time.Second))
		seen := watchLog(t.Context(), b.Scope)
		seen.take()
		f.mute = true
		require.NoError(t, a.AddRoles(t.Context(), "x"), "the caller's own snapshot is mended, too")
		require.Empty(t, seen.take())
		time.Sleep(time.Second)
		require.Equal(t, []string{"RoleAdded a x"}, seen.take())

		// One lost, one heard: the delta does not fit, so the record is fetched.
		require.NoError(t, a.AddRoles(t.Context(), "y"))
		f.mute = false
		require.NoError(t, a.AddRoles(t.Context(), "z"))
		require.Equal(t, []string{"RoleAdded a y", "RoleAdded a z"}, seen.take())

		// One lost, and then another node heard: nothing tells that something is missing.
		f.mute = true
		require.NoError(t, a.RemoveRoles(t.Context(), "x"))
		f.mute = false
		require.NoError(t, b.AddRoles(t.Context(), "b"))
		time.Sleep(newerEvery * time.Second)
		require.ElementsMatch(t, []string{"RoleAdded b b", "RoleRemoved a x"}, seen.take())
	})
}

func TestAForgedTombstoneCannotUseUpTheVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		was := b.Nodes("x").At(0).id
		f.mu.Lock()
		f.store("default", change{kind: kindLeft, node: "a", id: life{was.incarnation, maxNumber}}, "")
		f.mu.Unlock()
		time.Sleep(fakeTTL / 3)
		synctest.Wait()
		require.Equal(t, []string{"a"}, names(b.Nodes("x").Slice()))
		require.Greater(t, b.Nodes("x").At(0).Incarnation(), was.incarnation)
		require.NoError(t, a.AddRoles(t.Context(), "y"))
		require.NoError(t, a.Err())
	})
}

func TestARewriteThatFailsIsTriedAgain(t *testing.T) {
	// Between the lease and the record the way is cut: the lease stands on the tombstone, and would go on to.
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		a.link.setCut(true)
		time.Sleep(2 * fakeTTL)
		f.mu.Lock()
		a.link.cut, a.link.refusePuts = false, 3
		f.mu.Unlock()
		time.Sleep(2 * fakeTTL)
		synctest.Wait()
		require.Zero(t, a.link.refusePuts)
		require.Equal(t, []string{"a"}, names(b.Nodes("x").Slice()))
	})
}

func TestALostAcknowledgementIsSaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a"), f.bus(t, "b", WithSyncInterval(time.Hour))
		seen := watchLog(t.Context(), b.Scope)
		seen.take()
		f.mu.Lock()
		f.mute, a.link.deaf = true, true // a leader that stores and then dies: neither announced nor acknowledged
		f.mu.Unlock()
		done := make(chan error, 1)
		go func() { done <- a.AddRoles(t.Context(), "x") }()
		synctest.Wait()
		f.mu.Lock()
		f.mute, a.link.deaf = false, false
		f.mu.Unlock()
		require.NoError(t, <-done)
		require.Equal(t, []string{"RoleAdded a x"}, seen.take())
	})
}

func TestUnconfirmedChangeIsStillWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("old"))
		f.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := a.AddRoles(ctx, "x")
		require.ErrorIs(t, err, ErrNotConfirmed)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errFakeDown, "the cause stays matchable")
		require.Equal(t, []Role{"old"}, a.MyRoles().Slice())

		writes := f.writes
		for _, role := range []Role{"y", "z"} {
			go func() { _ = a.AddRoles(t.Context(), role) }()
		}
		go func() { _ = a.RemoveRoles(t.Context(), "old") }()
		synctest.Wait()
		f.start()
		time.Sleep(2 * lastRetry)
		require.Equal(t, []Role{"x", "y", "z"}, a.MyRoles().Slice())
		require.Equal(t, writes+1, f.writes, "several waiting changes leave in one write")
	})
}

func TestManyChangesBetweenTwoHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a"), f.bus(t, "b")
		for range leaseAhead + 10 {
			require.NoError(t, a.AddRoles(t.Context(), "x"))
			require.NoError(t, a.RemoveRoles(t.Context(), "x"))
		}
		require.NoError(t, a.AddRoles(t.Context(), "last"))
		a.crash()
		time.Sleep(fakeTTL + time.Millisecond)
		synctest.Wait()
		require.Empty(t, b.AllNodes().Slice(), "the switch reaches as far as the versions")
	})
}

func TestScopesAreJoinedAndLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a"), f.bus(t, "b", WithScopes("s"))
		s := a.In("s")
		require.Same(t, s, a.In("s"))
		require.Empty(t, s.AllNodes().Slice())
		require.NoError(t, s.RemoveRoles(t.Context(), "x"), "nothing to remove, nothing joined")
		require.Equal(t, []string{"default"}, a.Scopes())

		seen := watchLog(t.Context(), s)
		writes := f.writes
		require.NoError(t, s.AddRoles(t.Context(), "x", "y"), "joins")
		require.Equal(t, writes+1, f.writes, "in one announcement")
		require.Equal(t, []string{"default", "s"}, a.Scopes())
		require.Contains(t, seen.take(), "RoleAdded a y", "a watcher that waited for the join")
		_, err := a.Join(t.Context(), "s")
		require.ErrorIs(t, err, ErrAlreadyJoined)
		require.Equal(t, []string{"a"}, names(b.In("s").Nodes("x").Slice()))
		require.Empty(t, b.Nodes("x").Slice(), "nothing crosses scopes")

		require.NoError(t, a.Leave(t.Context(), "s"))
		require.Empty(t, s.AllNodes().Slice())
		synctest.Wait()
		require.Empty(t, b.In("s").AllNodes().Slice())
		require.ErrorIs(t, a.Leave(t.Context(), "s"), ErrNotJoined)
		require.ErrorIs(t, a.Leave(t.Context(), "never"), ErrNotJoined)

		_, err = a.Join(t.Context(), "s")
		require.NoError(t, err, "again")
		require.Empty(t, s.MyRoles().Slice())
		require.Empty(t, seen.take(), "that watch ended when the scope was left")
		seen = watchLog(t.Context(), s)
		require.Equal(t, []string{"NodeJoined a", "NodeJoined b"}, seen.take())
	})
}

func TestBadCallsChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, o := f.bus(t, "a"), f.bus(t, "o", WithObserver())
		seq := f.seq
		over, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, a.AddRoles(t.Context(), "x", ""), ErrBadName)
		require.ErrorIs(t, a.AddRoles(t.Context(), "\xff"), ErrBadName)
		require.ErrorIs(t, a.AddRoles(over, "x"), context.Canceled)
		require.ErrorIs(t, a.RemoveRoles(over, "x"), context.Canceled)
		require.ErrorIs(t, a.Leave(over, "default"), context.Canceled)
		_, err := a.Join(over, "s")
		require.ErrorIs(t, err, context.Canceled)
		_, err = a.Join(t.Context(), "")
		require.ErrorIs(t, err, ErrBadName)
		require.ErrorIs(t, a.In("").AddRoles(t.Context(), "x"), ErrBadName)
		require.ErrorIs(t, o.AddRoles(t.Context(), "x"), ErrReadOnly)
		require.ErrorIs(t, o.SetRoles(t.Context()), ErrReadOnly)
		require.Equal(t, []string{"default"}, a.Scopes())
		require.Equal(t, seq, f.seq)

		require.NoError(t, a.Close())
		require.ErrorIs(t, a.AddRoles(t.Context(), "x"), ErrClosed)
		require.ErrorIs(t, a.Leave(t.Context(), "default"), ErrClosed)
		_, err = a.Join(t.Context(), "s")
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, a.WaitFor(t.Context(), "x", 1), ErrClosed)
		for range a.Watch(t.Context()) {
			t.Fatal("an event of a closed bus")
		}
		require.ErrorIs(t, a.Err(), ErrClosed)
	})
}

func TestWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("x"))
		require.NoError(t, a.WaitFor(t.Context(), "x", 1))
		require.NoError(t, a.WaitFor(t.Context(), "nobody", 0))
		done := make(chan error, 1)
		go func() { done <- a.WaitFor(t.Context(), "x", 2) }()
		synctest.Wait()
		require.Empty(t, done)
		f.bus(t, "b", WithRoles("x"))
		require.NoError(t, <-done)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, a.WaitFor(ctx, "x", 3), context.DeadlineExceeded)
	})
}

func TestSlowAndPanickingHandlersStopNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		var calls atomic.Int32
		block := make(chan struct{})
		log := slog.New(slog.NewTextHandler(io.Discard, nil)) // else standard error tells of it
		b := f.bus(t, "b", WithLogger(log), WithHandler(Handler{
			OnNodeJoined: func(Event) { panic("of the user's code") },
			OnRoleAdded: func(Event) {
				calls.Add(1)
				<-block
			},
		}))
		a := f.bus(t, "a")
		for _, role := range []Role{"x", "y", "z"} {
			require.NoError(t, a.AddRoles(t.Context(), role))
		}
		synctest.Wait()
		require.Equal(t, []Role{"x", "y", "z"}, b.Roles("a").Slice(), "the snapshot goes on")
		require.EqualValues(t, 1, calls.Load())
		err := b.Close()
		require.ErrorContains(t, err, `handler in scope "default" is still running`)
		close(block)
		synctest.Wait()
	})
}

func TestGarbageIsIgnoredAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("x"))
		before := a.Snapshot()
		f.mu.Lock()
		for range 3 {
			a.link.feeds["default"][0] <- garbage()
		}
		f.mu.Unlock()
		synctest.Wait()
		require.Same(t, before, a.Snapshot())
		require.EqualValues(t, 3, a.noise.count())
	})
}
