package rolebus

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTwoStuckHandlersDoNotHangClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := newFakeBucket().bus(t, "a", WithScopes("s"), WithHandler(Handler{OnNodeJoined: func(Event) { <-release }}))
		synctest.Wait()
		from := time.Now()
		err := b.Close()
		require.ErrorContains(t, err, `"default"`)
		require.ErrorContains(t, err, `"s"`)
		require.Equal(t, b.opts.timeout, time.Since(from), "bubble time: exact")
		close(release)
	})
}

func TestHandlersOfTwoStaysDoNotMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside, most atomic.Int32
		release := make(chan struct{})
		b := newFakeBucket().bus(t, "a", WithHandler(Handler{OnNodeJoined: func(Event) {
			most.Store(max(most.Load(), inside.Add(1)))
			<-release
			inside.Add(-1)
		}}))
		synctest.Wait()
		require.NoError(t, b.Leave(t.Context(), "default"))
		_, err := b.Join(t.Context(), "default")
		require.NoError(t, err)
		synctest.Wait()
		close(release)
		synctest.Wait()
		require.EqualValues(t, 1, most.Load())
	})
}

func TestDoubtsRunOutWhileOthersTalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b, dead := f.bus(t, "a"), f.bus(t, "b"), f.bus(t, "dead", WithRoles("x"))
		synctest.Wait() // b has heard of it
		dead.crash()
		f.wipe(false)
		b.member.Load().catcher.ask(asked{whole: true})
		for i := range 2 * fakeTTL / time.Second {
			require.NoError(t, a.SetRoles(t.Context(), Role(fmt.Sprint(i))))
			time.Sleep(time.Second)
		}
		require.Empty(t, b.Nodes("x").Slice())
	})
}

func TestSyncsComeWhileRecordsAreFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a"), f.bus(t, "b")
		f.mu.Lock()
		clear(b.link.feeds) // hears nothing any more
		f.mu.Unlock()
		require.NoError(t, a.AddRoles(t.Context(), "x"))
		for range 10 {
			time.Sleep(time.Second)
			b.member.Load().catcher.ask(asked{nodes: map[string]life{"b": {}}})
		}
		synctest.Wait()
		require.Equal(t, []Role{"x"}, b.Roles("a").Slice())
	})
}

func TestAFailedJoinEndsNoWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newFakeBucket().bus(t, "a")
		seen := watchLog(t.Context(), a.In("s"))
		a.link.setCut(true)
		_, err := a.Join(t.Context(), "s")
		require.ErrorIs(t, err, errFakeDown)
		require.NotErrorIs(t, err, ErrNotConfirmed, "nothing is wanted")
		require.Empty(t, seen.take())
		a.link.setCut(false)
		_, err = a.Join(t.Context(), "s")
		require.NoError(t, err)
		require.Equal(t, []string{"NodeJoined a"}, seen.take())
	})
}

func TestAWatchEndsWithItsStay(t *testing.T) {
	// A reader that is slow misses that the scope was left. What it sees next is of another stay: nobody has left.
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		f.bus(t, "b", WithRoles("x"))
		a := f.bus(t, "a")
		slow, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for ev := range a.Watch(t.Context()) {
				if ev.Kind == NodeLeft {
					t.Errorf("%s left", ev.Node)
				}
				<-slow
			}
		}()
		synctest.Wait()
		require.NoError(t, a.Leave(t.Context(), "default"))
		_, err := a.Join(t.Context(), "default")
		require.NoError(t, err)
		close(slow)
		<-ended
	})
}

// flappingStore loses the connection for a moment, and an announcement with it, when a join writes its record.
type flappingStore struct {
	store
	flap func()
}

func (s *flappingStore) put(ctx context.Context, scope string, c change, replaces uint64) (uint64, error) {
	if s.flap != nil {
		s.flap()
		s.flap = nil
	}
	return s.store.put(ctx, scope, c, replaces)
}

func TestAFlapDuringAJoinIsHeardOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		b, a := f.bus(t, "b", WithScopes("s")), f.bus(t, "a", WithSyncInterval(time.Hour))
		a.store = &flappingStore{store: a.store, flap: func() {
			a.partition(true)
			require.NoError(t, b.In("s").AddRoles(t.Context(), "lost"))
			a.partition(false)
		}}
		s, err := a.Join(t.Context(), "s")
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.Equal(t, []string{"b"}, names(s.Nodes("lost").Slice()))
	})
}

func TestStaleOutlivesClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newFakeBucket().bus(t, "a")
		a.partition(true)
		time.Sleep(time.Hour)
		require.ErrorIs(t, a.Close(), ErrNotConfirmed)
		require.GreaterOrEqual(t, a.Snapshot().Stale(), time.Hour)
	})
}

// A rewrite whose acknowledgement was lost, and the next change at once: the delta starts from what was stored.
func TestAChangeAfterAnUnknownOneStartsFromWhatWasStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		b := f.bus(t, "b", WithObserver())
		o, err := newOptions([]Option{WithNode("a"), WithTTL(fakeTTL)})
		require.NoError(t, err)
		link := f.link()
		k := newMember(newBus(o, newNoise(o.log), link).Scope, wanted{roles: []Role{"one"}}).keeper
		want := func(role Role) {
			_, err := k.want.edit(func([]Role) []Role { return []Role{role} }, func(wanted) error { return nil })
			require.NoError(t, err)
		}
		require.NoError(t, k.join(t.Context()))
		want("two")
		link.deaf = true
		require.Error(t, k.rewrite(t.Context(), k.generation, true))
		link.deaf = false
		want("three")
		require.NoError(t, k.look(t.Context()))
		require.NoError(t, k.update(t.Context()))
		synctest.Wait()
		require.Equal(t, []Role{"three"}, b.Roles("a").Slice())
	})
}
