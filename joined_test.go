package rolebus

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// collect appends each snapshot of a scope that a loop gets.
func collect(ctx context.Context, s *Scope) (all *[]*Snapshot, ended chan struct{}) {
	all, ended = new([]*Snapshot), make(chan struct{})
	go func() {
		defer close(ended)
		for snap := range s.Snapshots(ctx) {
			*all = append(*all, snap)
		}
	}()
	return all, ended
}

func TestASnapshotSaysWhetherItsScopeIsJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		f.bus(t, "b", WithScopes("s"))
		a, o := f.bus(t, "a"), f.bus(t, "o", WithObserver())
		require.True(t, a.Snapshot().Joined(), "when Connect returns")
		require.True(t, o.Snapshot().Joined())
		for _, bus := range []*fakeBus{a, o} {
			s := bus.In("s")
			require.False(t, s.Snapshot().Joined())
			ctx, cancel := context.WithCancel(t.Context())
			all, ended := collect(ctx, s)
			// The own record is held up: what was read before is not the whole.
			bus.store = &flappingStore{store: bus.store, flap: func() {
				synctest.Wait()
				require.NotNil(t, s.Snapshot().Node("b"))
				require.False(t, s.Snapshot().Joined(), "it is not there itself")
			}}
			_, err := bus.Join(t.Context(), "s")
			require.NoError(t, err)
			require.True(t, s.Snapshot().Joined())
			synctest.Wait()
			require.NoError(t, bus.Leave(t.Context(), "s"))
			require.False(t, s.Snapshot().Joined())
			synctest.Wait()
			cancel()
			<-ended
			for _, snap := range *all {
				if snap.Joined() {
					require.NotNil(t, snap.Node("b"))
					require.Equal(t, bus == a, snap.Node("a") != nil)
				}
			}
		}
		empty, err := o.Join(t.Context(), "nobody is here")
		require.NoError(t, err)
		require.True(t, empty.Snapshot().Joined())
		for _, bus := range []*fakeBus{a, o} {
			require.NoError(t, bus.Close())
			require.True(t, bus.Snapshot().Joined(), "the last one stays as it was")
			require.NotZero(t, bus.Snapshot().stale)
		}
	})
}

func TestTheRecordOfAnEarlierLifeMakesNoJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		f.bus(t, "a", WithScopes("s")).crash()
		a := f.bus(t, "a")
		seen := watchLog(t.Context(), a.In("s"))
		a.store = &flappingStore{store: a.store, flap: func() {
			synctest.Wait()
			require.NotNil(t, a.In("s").Snapshot().Node("a"))
			require.False(t, a.In("s").Snapshot().Joined())
		}}
		_, err := a.Join(t.Context(), "s")
		require.NoError(t, err)
		require.Equal(t, []string{"NodeJoined a"}, seen.take())
	})
}

func TestAWatchThatWaitsOutlivesAJoinThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		f.bus(t, "b", WithScopes("s"))
		a := f.bus(t, "a")
		before := watchLog(t.Context(), a.In("s"))
		var during *eventLog
		ctx, cancel := context.WithCancel(t.Context())
		a.store = &flappingStore{store: a.store, flap: func() { // the others were read
			during = watchLog(t.Context(), a.In("s"))
			synctest.Wait()
			require.NotNil(t, a.In("s").Snapshot().Node("b"))
			cancel()
			a.link.setCut(true)
		}}
		_, err := a.Join(ctx, "s")
		require.Error(t, err)
		a.link.setCut(false)
		require.Empty(t, before.take())
		require.Empty(t, during.take())
		require.NoError(t, a.In("s").AddRoles(t.Context(), "x"))
		whole := []string{"NodeJoined a", "RoleAdded a x", "NodeJoined b"}
		require.Equal(t, whole, before.take(), "nothing of it is missed, and nothing comes before it")
		require.Equal(t, whole, during.take())
	})
}

// notedStore stores a record, and fails all the same.
type notedStore struct {
	store
	then func() error
}

func (s *notedStore) put(ctx context.Context, scope string, c change, replaces uint64) (uint64, error) {
	generation, err := s.store.put(ctx, scope, c, replaces)
	if err == nil && s.then != nil {
		err, s.then = s.then(), nil
	}
	return generation, err
}

// Somebody has seen that it is joined: whatever its requests come to, the join has not failed.
func TestAJoinThatWasSeenHasNotFailed(t *testing.T) {
	for name, over := range map[string]bool{"the acknowledgement is lost": false, "and the caller has gone": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				b, a := f.bus(t, "b", WithScopes("s")), f.bus(t, "a")
				seen := watchLog(t.Context(), a.In("s"))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				a.store = &notedStore{store: a.store, then: func() error {
					synctest.Wait() // until it is announced
					require.True(t, a.In("s").Snapshot().Joined())
					if over {
						cancel()
					}
					return errFakeDown
				}}
				from := time.Now()
				_, err := a.Join(ctx, "s")
				require.NoError(t, err)
				require.Less(t, time.Since(from), time.Second, "the keeper looks at once")
				require.Equal(t, []string{"NodeJoined a", "NodeJoined b"}, seen.take())
				time.Sleep(3 * fakeTTL)
				require.Empty(t, seen.take(), "it goes on as any other")
				require.NotNil(t, b.In("s").Snapshot().Node("a"))
				require.NotZero(t, a.In("s").LeaseLeft())
				require.NoError(t, a.In("s").AddRoles(t.Context(), "x"))
				synctest.Wait()
				require.Equal(t, []Role{"x"}, b.In("s").Roles("a").Slice())
			})
		})
	}
}

func TestAScopeSaysWhyAWatchEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a")
		s := a.In("s")
		require.ErrorIs(t, s.Err(), ErrNotJoined)
		require.ErrorIs(t, a.In("").Err(), ErrBadName)
		_, err := a.Join(t.Context(), "s")
		require.NoError(t, err)
		require.NoError(t, s.Err())
		ended := func(ctx context.Context, then func()) error {
			done := make(chan struct{})
			go func() {
				defer close(done)
				synctest.Wait()
				then()
			}()
			for range s.Watch(ctx) {
				continue
			}
			err := s.Err()
			<-done
			return err
		}
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, ended(ctx, cancel), "ctx.Err says it")
		require.ErrorIs(t, ended(t.Context(), func() { _ = a.Leave(t.Context(), "s") }), ErrNotJoined)
		_, err = a.Join(t.Context(), "s")
		require.NoError(t, err)
		require.NoError(t, s.Err())
		require.ErrorIs(t, ended(t.Context(), func() { f.bus(t, "a", WithScopes("s")) }), ErrSuperseded, "also while it is about to stop")
		<-a.Done()
		require.Equal(t, a.Err(), s.Err())
		b := f.bus(t, "b")
		require.NoError(t, b.Close())
		require.ErrorIs(t, b.Scope.Err(), ErrClosed)
		require.ErrorIs(t, b.In("never").Err(), ErrClosed)
	})
}

func TestSnapshotsFollowOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a")
		all, ended := collect(t.Context(), a.Scope)
		synctest.Wait()
		require.Equal(t, []*Snapshot{a.Snapshot()}, *all, "that of now, at once")
		require.NoError(t, a.AddRoles(t.Context(), "x"))
		synctest.Wait()
		require.Same(t, a.Snapshot(), (*all)[len(*all)-1])
		select {
		case <-(*all)[0].Superseded():
		default:
			t.Fatal("there is a newer one")
		}

		count := len(*all)
		a.partition(true)
		synctest.Wait()
		require.Greater(t, len(*all), count, "that it is stale is news")
		require.False(t, (*all)[len(*all)-1].stale.IsZero())
		a.partition(false)
		synctest.Wait()

		require.NoError(t, a.Leave(t.Context(), "default"))
		synctest.Wait()
		require.False(t, (*all)[len(*all)-1].Joined())
		_, err := a.Join(t.Context(), "default")
		require.NoError(t, err)
		synctest.Wait()
		require.Same(t, a.Snapshot(), (*all)[len(*all)-1], "also across leaving and joining again")
		require.True(t, slices.IsSortedFunc(*all, func(a, b *Snapshot) int { return int(a.serial) - int(b.serial) }))

		require.NoError(t, a.Close())
		<-ended
		for range a.Snapshots(t.Context()) {
			t.Fatal("of a closed bus")
		}
		select {
		case <-a.Snapshot().Superseded():
			t.Fatal("nothing follows on the last one")
		default:
		}
	})
}

func TestSnapshotsTellOfSuspects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := loneScope(t)
		ctx, cancel := context.WithCancel(t.Context())
		heard{changes: []change{stateOf("a", 1, 1, 1)}}.publish(t, s)
		heard{found: silent("a", 1)}.publish(t, s)
		all, ended := collect(ctx, s)
		synctest.Wait()
		heard{changes: []change{expiredOf("a", 1, 1001, 2)}}.publish(t, s)
		synctest.Wait()
		require.Len(t, *all, 2)
		require.Equal(t, []string{"a"}, names((*all)[0].Suspects().Slice()))
		require.Zero(t, (*all)[1].Suspects().Len())
		cancel()
		<-ended
		for range s.Snapshots(ctx) {
			t.Fatal("its context is over")
		}

		// Who is slow gets the newest.
		var serials []uint64
		for snap := range s.Snapshots(t.Context()) {
			serials = append(serials, snap.serial)
			if len(serials) == 2 {
				break
			}
			for i := range uint64(3) {
				heard{changes: []change{stateOf("b", 1, 1+i, 3+i)}}.publish(t, s)
			}
		}
		require.Equal(t, serials[0]+3, serials[1])
	})
}
