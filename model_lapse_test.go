package rolebus

import (
	"context"
	"fmt"
	"maps"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// lapses is within what time a whole reading finds that a lease lapsed, and another one, after a grace, that it still does.
const lapses = (wholeEvery+2)*7*time.Second + 2*fakeTTL*4/3

// edit changes the lease of a node, as it stands.
func (f *fakeBucket) edit(node string, change func(l *fakeLease)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.leases[[2]string{"default", node}])
}

func TestPromise4WhoDiesGoesWhateverBecameOfItsSwitch(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(f *fakeBucket){
		"the server forgot it": func(f *fakeBucket) { f.edit("a", func(l *fakeLease) { l.lost = true }) },
		"somebody took it": func(f *fakeBucket) {
			f.edit("a", func(l *fakeLease) { l.timer.Stop() })
			f.mu.Lock()
			delete(f.leases, [2]string{"default", "a"})
			f.mu.Unlock()
		},
		"it buries somebody else": func(f *fakeBucket) {
			f.edit("a", func(l *fakeLease) { l.lost, l.unfit = true, "it is for something else" })
		},
		"it buries too little": func(f *fakeBucket) { f.edit("a", func(l *fakeLease) { l.lost, l.c.id.version = true, 0 }) },
		"it is due in an hour": func(f *fakeBucket) {
			f.edit("a", func(l *fakeLease) { l.c.due = l.c.due.Add(time.Hour); l.timer.Reset(time.Hour) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a, b, o := f.bus(t, "a", WithRoles("x")), f.bus(t, "b", WithRoles("x")), f.bus(t, "o", WithObserver())
				seen := watchLog(t.Context(), b.Scope)
				a.crash()
				spoil(f)
				time.Sleep(3 * fakeTTL)
				j := f.bus(t, "j")
				time.Sleep(lapses)
				for _, bus := range []*fakeBus{b, o, j} {
					require.Nil(t, bus.Snapshot().Node("a"), "%s lists it for ever", bus.Name())
					require.NotNil(t, bus.Snapshot().Node("b"))
				}
				require.Contains(t, seen.take(), "NodeLeft a expired")
				time.Sleep(30 * time.Minute)
				late := f.bus(t, "late") // lists it, and goes by its lease from the start
				time.Sleep(fakeTTL*4/3 + 2*time.Second)
				require.Nil(t, late.Snapshot().Node("a"), "it was overdue when this process joined")
				time.Sleep(3 * time.Hour)
				require.Equal(t, []string{"NodeJoined late"}, seen.take(), "an end is remembered while its record stands")
			})
		})
	}
}

// While nothing can be stored the leases of the living are overdue, too.
func TestPromise3NobodyIsLostWhenTheDiskWasFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		fleet := map[string]*fakeBus{}
		for _, name := range []string{"a", "b", "c"} {
			fleet[name] = f.bus(t, name, WithRoles("x"))
		}
		o := f.bus(t, "o", WithObserver())
		dead := f.bus(t, "dead", WithRoles("x"))
		time.Sleep(2 * fakeTTL)
		seen, watched := watchLog(t.Context(), fleet["a"].Scope), watchLog(t.Context(), o.Scope)
		require.NotEmpty(t, seen.take())
		require.NotEmpty(t, watched.take())
		f.mu.Lock()
		f.full = true
		f.mu.Unlock()
		dead.crash()
		time.Sleep(30 * fakeTTL)
		require.Empty(t, seen.take())
		f.mu.Lock()
		f.full = false
		f.mu.Unlock()
		time.Sleep(3*fakeTTL + lapses)
		require.Equal(t, []string{"RoleRemoved dead x expired", "NodeLeft dead expired"}, seen.take())
		require.Equal(t, []string{"RoleRemoved dead x expired", "NodeLeft dead expired"}, watched.take())
	})
}

// Somebody takes away the switch of one who lives, again and again.
func TestPromise3WhoLivesIsNotDroppedForItsLease(t *testing.T) {
	taken := func(t *testing.T, f *fakeBucket) (stop context.CancelFunc) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for sleep(ctx, 50*time.Millisecond) {
				f.mu.Lock()
				if l := f.leases[[2]string{"default", "a"}]; l != nil {
					l.timer.Stop()
					delete(f.leases, [2]string{"default", "a"})
				}
				f.mu.Unlock()
			}
		}()
		return cancel
	}
	t.Run("it answers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f, n := newFakeBucket(), newFakeNet()
			_, b := f.peered(t, n, "1", "a"), f.peered(t, n, "1", "b")
			seen := watchLog(t.Context(), b.Scope)
			require.NotEmpty(t, seen.take())
			stop := taken(t, f)
			time.Sleep(4 * lapses)
			stop()
			require.Empty(t, seen.take())
		})
	})
	t.Run("it does not", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeBucket()
			a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
			seen := watchLog(t.Context(), b.Scope)
			require.NotEmpty(t, seen.take())
			stop := taken(t, f)
			time.Sleep(4 * lapses)
			stop()
			time.Sleep(lapses)
			require.NotNil(t, b.Snapshot().Node("a"), "it has its lease again: %v", seen.take())
			require.NoError(t, a.Err())
		})
	})
}

// A process that was away for longer than all others waited was not buried by the server: nothing but itself tells them.
func TestWhoIsBackAfterItsSwitchWasLostIsListedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		f.lose("default", "a")
		a.partition(true)
		time.Sleep(fakeTTL + lapses)
		require.Nil(t, b.Snapshot().Node("a"))
		a.partition(false)
		time.Sleep(fakeTTL)
		require.NotNil(t, b.Snapshot().Node("a"))
	})
}

// Nor is it certain to be listed before its record is written again: a heartbeat is announced to nobody.
func TestWhoIsBackAfterItsSwitchWasLostIsCertainWhenItIsListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		f.lose("default", "a")
		a.partition(true)
		time.Sleep(fakeTTL + lapses)
		require.Nil(t, b.Snapshot().Node("a"))
		f.mu.Lock()
		a.link.refusePuts = math.MaxInt
		beats := f.beats
		f.mu.Unlock()
		a.partition(false)
		for range 20 {
			time.Sleep(fakeTTL / 40)
			synctest.Wait()
			if b.Snapshot().Node("a") == nil {
				require.Zero(t, a.LeaseLeft())
			}
		}
		f.mu.Lock()
		require.Greater(t, f.beats, beats)
		a.link.refusePuts = 0
		f.mu.Unlock()
		time.Sleep(fakeTTL)
		require.NotNil(t, b.Snapshot().Node("a"))
		require.Positive(t, a.LeaseLeft())
	})
}

// And the records of before.
func TestRecordsOfAReplicaThatLagsTakeNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		f.mu.Lock()
		b.link.outdated = maps.Clone(f.records)
		f.mu.Unlock()
		require.NoError(t, a.AddRoles(t.Context(), "y"))
		seen := watchLog(t.Context(), b.Scope)
		require.NotEmpty(t, seen.take())
		time.Sleep(3 * lapses)
		require.Empty(t, seen.take())
	})
}

// A replica that lags has the leases of before.
func TestLeasesOfAReplicaThatLagsTakeNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		_, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		time.Sleep(fakeTTL)
		seen := watchLog(t.Context(), b.Scope)
		require.NotEmpty(t, seen.take())
		old, err := b.link.readLeases(t.Context(), "default", 0, true)
		require.NoError(t, err)
		old.newest = old.newest.Add(10 * fakeTTL) // from elsewhere
		f.mu.Lock()
		b.link.behind = &old
		f.mu.Unlock()
		time.Sleep(3 * lapses)
		require.Empty(t, seen.take())
	})
}

// The record, read once more, is no sign of life of one whose lease lapsed.
func TestModelARecordAloneEndsNoDoubtAboutItsLease(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	snap := newSnapshot("s", "o")
	state := change{kind: kindState, node: "n", id: life{1, 1}, generation: 1, ttl: fakeTTL}
	hear := func(after time.Duration, whole bool, lapsed map[string]string) {
		now = now.Add(after)
		snap, _ = snap.apply(news{changes: []change{state}, whole: whole, began: snap.serial, now: now, due: now, calm: forEver, lapsed: lapsed})
	}
	gone := map[string]string{"n": "it has no lease"}
	hear(0, true, gone)
	hear(time.Second, false, nil)
	hear(graceOf(fakeTTL), true, gone)
	require.Nil(t, snap.live("n"), "its time began when it was first seen")
	snap = newSnapshot("s", "o")
	hear(0, true, nil)
	hear(time.Second, true, gone)
	hear(graceOf(fakeTTL), true, nil)
	hear(time.Second, true, gone)
	require.NotNil(t, snap.live("n"), "it had its lease meanwhile")
}

// A node that arms its lease lives, wherever that lies, as after the server's clock was set back: the doubt about it begins anew each time.
func TestModelWhoArmsItsLeaseIsInDoubtAnew(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	snap := newSnapshot("s", "o")
	state := change{kind: kindState, node: "n", id: life{1, 1}, generation: 1, ttl: fakeTTL}
	reading := func(lease armed) {
		now = now.Add(graceOf(fakeTTL) * 2 / 3)
		snap, _ = snap.apply(news{
			changes: []change{state}, whole: true, began: snap.serial, now: now, due: now, calm: forEver,
			lapsed: map[string]string{"n": "it is due in an hour only"}, leases: map[string]armed{"n": lease},
		})
	}
	for armedAt := range uint64(10) {
		reading(armed{generation: 2 + armedAt})
		require.NotNil(t, snap.live("n"), "it has armed its lease %d times since", armedAt)
	}
	reading(armed{generation: 11})
	require.NotNil(t, snap.live("n"), "a grace is not over")
	reading(armed{generation: 11})
	require.Nil(t, snap.live("n"), "it has not armed it since")
	reading(armed{generation: 12, unfit: "it is for something else"})
	require.Nil(t, snap.live("n"), "a lease that buries nobody is none")
}

// However many died in an outage: the leader is asked once for all of them.
func TestTheLeaderIsAskedOnceForAllWhoDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		var fleet, living []*fakeBus
		for i := range 60 {
			fleet = append(fleet, f.bus(t, fmt.Sprint("n", i), WithRoles("x")))
		}
		f.stop()
		for i, b := range fleet {
			if i < 50 {
				b.crash()
			} else {
				living = append(living, b)
			}
		}
		time.Sleep(2 * fakeTTL)
		f.start()
		f.mu.Lock()
		for _, b := range living {
			b.link.questions = nil
		}
		f.mu.Unlock()
		time.Sleep(3 * fakeTTL)
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, b := range living {
			require.Equal(t, 10, b.Snapshot().Members().Len())
			ofAll, ofOthers := 0, 0
			for _, about := range b.link.questions {
				switch about {
				case "":
					ofAll++
				case b.Name():
				default:
					ofOthers++
				}
			}
			require.Zero(t, ofOthers)
			require.LessOrEqual(t, ofAll, 2)
		}
	})
}
