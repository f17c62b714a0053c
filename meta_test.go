package rolebus

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func zone(name string) map[string]string { return map[string]string{"zone": name} }

// metaOf is a node's metadata as a process shows it in a scope; nil if it does not list it.
func metaOf(b *fakeBus, scope, node string) map[string]string {
	if n := b.In(scope).Snapshot().named.get(node); n != nil {
		return n.meta
	}
	return nil
}

func TestSetMetaIsShownInEveryScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("x"), WithScopes("s"), WithMeta(zone("old")))
		b := f.bus(t, "b", WithScopes("s", "late"), WithObserver())
		seen := watchLog(t.Context(), b.Scope)
		seen.take()
		writes, before := f.writes, b.Nodes("x").At(0)
		given := zone("new")
		require.NoError(t, a.SetMeta(t.Context(), given))
		given["zone"] = "changed"
		require.Equal(t, writes+2, f.writes, "one write for each scope")
		for _, scope := range []string{"default", "s"} {
			require.Equal(t, zone("new"), metaOf(a, scope, "a"), "visible to the caller when the call returns")
			synctest.Wait()
			require.Equal(t, zone("new"), metaOf(b, scope, "a"))
		}
		require.Equal(t, []string{"MetaChanged a"}, seen.take())
		require.Equal(t, "old", before.Meta("zone"), "a Node never changes")
		require.Equal(t, []Role{"x"}, b.Roles("a").Slice())
		require.Equal(t, before.Incarnation(), b.Nodes("x").At(0).Incarnation())

		require.NoError(t, a.SetMeta(t.Context(), zone("new")))
		require.Equal(t, writes+2, f.writes, "as it was: nothing is written")

		_, err := a.Join(t.Context(), "late")
		require.NoError(t, err)
		require.Equal(t, writes+3, f.writes)
		synctest.Wait()
		require.Equal(t, zone("new"), metaOf(b, "late", "a"), "of a scope that is joined later, too")

		require.NoError(t, a.AddRoles(t.Context(), "y"))
		synctest.Wait()
		require.Equal(t, zone("new"), metaOf(b, "default", "a"), "a change of roles leaves it as it is")

		require.NoError(t, a.SetMeta(t.Context(), nil))
		synctest.Wait()
		for _, scope := range []string{"default", "s", "late"} {
			require.Empty(t, metaOf(b, scope, "a"))
		}
		writes = f.writes
		require.NoError(t, a.SetMeta(t.Context(), map[string]string{}))
		require.Equal(t, writes, f.writes)
	})
}

func TestBadSetMetaChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, o := f.bus(t, "a", WithMeta(zone("old"))), f.bus(t, "o", WithObserver())
		writes := f.writes
		require.EqualError(t, a.SetMeta(t.Context(), map[string]string{"": ""}), "rolebus: set metadata: metadata: a key is empty")
		require.ErrorContains(t, a.SetMeta(t.Context(), map[string]string{"k\xff": ""}), "not UTF-8")
		require.ErrorContains(t, a.SetMeta(t.Context(), map[string]string{"k": "\xff"}), "not UTF-8")
		require.ErrorIs(t, o.SetMeta(t.Context(), nil), ErrReadOnly)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, a.SetMeta(over, nil), context.Canceled)
		require.Equal(t, writes, f.writes)
		_, err := a.Join(t.Context(), "s")
		require.NoError(t, err)
		require.Equal(t, zone("old"), metaOf(a, "s", "a"), "nor is it wanted later")
		require.NoError(t, a.Close())
		require.ErrorIs(t, a.SetMeta(t.Context(), nil), ErrClosed)
	})
}

func TestMetaTooLargeForOneScopeIsSetInNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithScopes("s", "z"), WithMeta(zone("old")))
		require.NoError(t, a.In("s").AddRoles(t.Context(), Role(strings.Repeat("r", 400))))
		a.link.limit = 700
		writes := f.writes
		err := a.SetMeta(t.Context(), zone(strings.Repeat("z", 300)))
		require.ErrorIs(t, err, ErrTooLarge)
		require.ErrorContains(t, err, `set metadata in scope "s"`)
		time.Sleep(fakeTTL)
		require.Equal(t, writes, f.writes)
		_, err = a.Join(t.Context(), "late")
		require.NoError(t, err)
		for _, scope := range a.Scopes() {
			require.Equal(t, zone("old"), metaOf(a, scope, "a"), scope)
		}

		f.mu.Lock()
		f.stuck = true
		f.mu.Unlock()
		left, set := make(chan error), make(chan error)
		go func() { left <- a.Leave(t.Context(), "s") }()
		synctest.Wait()
		go func() { set <- a.SetMeta(t.Context(), zone(strings.Repeat("z", 300))) }()
		synctest.Wait()
		f.start()
		require.NoError(t, <-left, "its goodbye is said again")
		require.NoError(t, <-set, "a scope that is being left does not count")
		require.ErrorIs(t, a.AddRoles(t.Context(), Role(strings.Repeat("r", 400))), ErrTooLarge, "roles are counted with the metadata of now")
		require.ErrorIs(t, a.In("s").AddRoles(t.Context(), Role(strings.Repeat("r", 400))), ErrTooLarge)
		require.NoError(t, a.SetMeta(t.Context(), nil))
		require.NoError(t, a.AddRoles(t.Context(), Role(strings.Repeat("r", 400))))
	})
}

func TestUnconfirmedMetaIsStillWantedAndLeavesWithRolesInOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x"), WithScopes("s")), f.bus(t, "b", WithScopes("s"))
		f.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := a.SetMeta(ctx, zone("one"))
		require.ErrorIs(t, err, ErrNotConfirmed)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errFakeDown)
		for _, scope := range a.Scopes() {
			require.ErrorContains(t, err, fmt.Sprintf("set metadata in scope %q", scope))
		}
		writes := f.writes
		go func() { _ = a.AddRoles(t.Context(), "y") }()
		go func() { _ = a.SetMeta(t.Context(), zone("two")) }()
		go func() { _ = a.RemoveRoles(t.Context(), "x") }()
		synctest.Wait()
		f.start()
		time.Sleep(2 * lastRetry)
		synctest.Wait()
		require.Equal(t, writes+2, f.writes, "one write for each scope")
		for _, scope := range a.Scopes() {
			require.Equal(t, zone("two"), metaOf(b, scope, "a"))
		}
		require.Equal(t, []Role{"y"}, b.Roles("a").Slice())
	})
}

func TestAScopeLeftMeanwhileIsNoErrorOfSetMeta(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithScopes("s"))
		f.stop()
		done := make(chan error)
		go func() { done <- a.SetMeta(t.Context(), zone("z")) }()
		synctest.Wait()
		require.ErrorIs(t, a.Leave(t.Context(), "s"), ErrNotConfirmed)
		f.start()
		require.NoError(t, <-done)
		require.Equal(t, zone("z"), metaOf(a, "default", "a"))
	})
}

func TestSetMetaEndsWithTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 { // which of two ends is seen first is left to chance
			f := newFakeBucket()
			a := f.bus(t, "a", WithRequestTimeout(time.Second))
			f.stop()
			done := make(chan error)
			go func() { done <- a.SetMeta(t.Context(), zone("z")) }()
			synctest.Wait()
			_ = a.Close()
			require.ErrorIs(t, <-done, ErrClosed)
		}
	})
}

func TestMetaSetWhileAScopeIsJoinedIsNotMissed(t *testing.T) {
	t.Run("when the record is as good as stored", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeBucket()
			a := f.bus(t, "a", WithMeta(zone("old")))
			set := make(chan error, 1)
			var once sync.Once
			a.link.onPut = func() {
				once.Do(func() { go func() { set <- a.SetMeta(t.Context(), zone("new")) }() })
				time.Sleep(10 * time.Millisecond)
			}
			s, err := a.Join(t.Context(), "s")
			require.NoError(t, err)
			require.Equal(t, "new", s.Snapshot().named.get("a").Meta("zone"), "the join waits for it")
			require.NoError(t, <-set)
			require.Equal(t, zone("new"), metaOf(a, "default", "a"))
		})
	})
	t.Run("when nobody said that the record was stored", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeBucket()
			a := f.bus(t, "a", WithMeta(zone("old")))
			a.link.unheard.Store(true)
			soon, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := a.Join(soon, "s")
			require.NoError(t, err, "it is seen")
			soon, cancel = context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err = a.SetMeta(soon, zone("new"))
			require.ErrorIs(t, err, ErrNotConfirmed)
			require.ErrorContains(t, err, `in scope "s"`, "a scope that is joined is waited for")
			a.link.unheard.Store(false)
			require.NoError(t, a.SetMeta(t.Context(), zone("new")))
			require.Equal(t, zone("new"), metaOf(a, "s", "a"))
		})
	})
	t.Run("at any time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeBucket()
			a, b := f.bus(t, "a"), f.bus(t, "b", WithScopes("s"))
			for i := range 200 {
				var both sync.WaitGroup
				both.Go(func() { assert.NoError(t, a.In("s").AddRoles(t.Context(), "x")) })
				both.Go(func() { assert.NoError(t, a.SetMeta(t.Context(), zone(fmt.Sprint(i)))) })
				both.Wait()
				for _, scope := range a.Scopes() {
					require.Equal(t, zone(fmt.Sprint(i)), metaOf(a, scope, "a"))
				}
				synctest.Wait()
				require.Equal(t, zone(fmt.Sprint(i)), metaOf(b, "s", "a"))
				require.NoError(t, a.Leave(t.Context(), "s"))
			}
		})
	})
}

func TestTheLastOfManySetMetaCallsWinsInAllScopes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithScopes("r", "s", "t", "u"))
		b := f.bus(t, "b", WithScopes("r", "s", "t", "u"), WithObserver())
		for range 50 {
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() { assert.NoError(t, a.SetMeta(t.Context(), zone(fmt.Sprint(i)))) })
			}
			all.Wait()
			synctest.Wait()
			last := metaOf(a, "default", "a")
			for _, scope := range a.Scopes() {
				require.Equal(t, last, metaOf(a, scope, "a"))
				require.Equal(t, last, metaOf(b, scope, "a"))
			}
		}
	})
}

func TestMetaOutlivesWhatRolesOutlive(t *testing.T) {
	for name, trouble := range map[string]func(t *testing.T, f *fakeBucket, a *fakeBus){
		"a bucket that is purged":    func(_ *testing.T, f *fakeBucket, _ *fakeBus) { f.wipe(false) },
		"a bucket that is made anew": func(_ *testing.T, f *fakeBucket, _ *fakeBus) { f.wipe(true) },
		"an outage":                  func(_ *testing.T, f *fakeBucket, _ *fakeBus) { f.stop(); time.Sleep(3 * fakeTTL); f.start() },
		"a burial": func(_ *testing.T, _ *fakeBucket, a *fakeBus) {
			a.link.setCut(true)
			time.Sleep(2 * fakeTTL)
			a.link.setCut(false)
		},
		"a lost acknowledgement": func(t *testing.T, f *fakeBucket, a *fakeBus) {
			f.mu.Lock()
			f.mute, a.link.deaf = true, true
			f.mu.Unlock()
			done := make(chan error, 1)
			go func() { done <- a.SetMeta(t.Context(), zone("new")) }()
			synctest.Wait()
			f.mu.Lock()
			f.mute, a.link.deaf = false, false
			f.mu.Unlock()
			require.NoError(t, <-done)
		},
		"a refused write": func(t *testing.T, f *fakeBucket, a *fakeBus) {
			f.mu.Lock()
			f.store("default", change{kind: kindState, node: "a", id: life{1, 1}, ttl: fakeTTL}, "")
			f.mu.Unlock()
			require.NoError(t, a.SetMeta(t.Context(), zone("newer")))
			require.NoError(t, a.SetMeta(t.Context(), zone("new")))
		},
		"many changes between two heartbeats": func(t *testing.T, _ *fakeBucket, a *fakeBus) {
			for i := range leaseAhead + 10 {
				require.NoError(t, a.SetMeta(t.Context(), zone(fmt.Sprint(i))))
			}
			require.NoError(t, a.SetMeta(t.Context(), zone("new")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a, b := f.bus(t, "a", WithRoles("x"), WithMeta(zone("old"))), f.bus(t, "b")
				require.NoError(t, a.SetMeta(t.Context(), zone("new")))
				trouble(t, f, a)
				time.Sleep(2 * fakeTTL)
				synctest.Wait()
				f.mu.Lock()
				stored := f.records[[2]string{"default", "a"}].c
				f.mu.Unlock()
				require.Equal(t, kindState, stored.kind)
				require.Equal(t, zone("new"), stored.meta)
				require.Equal(t, zone("new"), metaOf(b, "default", "a"))
				require.Equal(t, []Role{"x"}, b.Roles("a").Slice())

				young := f.bus(t, "a", WithMeta(zone("young")))
				require.Equal(t, zone("young"), metaOf(young, "default", "a"), "the next life has its own")
				synctest.Wait()
				require.Equal(t, zone("young"), metaOf(b, "default", "a"))
			})
		})
	}
}

// Any metadata, any roles, any faults: in the end everybody shows what was wanted last, in every scope.
func TestWhateverHappensTheLastMetaIsShown(t *testing.T) {
	rng := seeded(t)
	for range 30 {
		seed := rng.Uint64()
		synctest.Test(t, func(t *testing.T) { metaUnderFaults(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func metaUnderFaults(t *testing.T, rng *rand.Rand) {
	f := newFakeBucket()
	scopes := []string{"default", "s", "t"}
	a := f.bus(t, "a", WithMeta(zone("first")), WithScopes("s"))
	readers := []*fakeBus{f.bus(t, "b", WithScopes("s", "t")), f.bus(t, "o", WithScopes("s", "t"), WithObserver())}
	last, roles := zone("first"), map[string]map[Role]bool{"default": {}, "s": {}, "t": {}}
	var calls sync.WaitGroup
	soon := func(call func(ctx context.Context)) {
		ctx, cancel := context.WithTimeout(t.Context(), pick(rng, time.Millisecond, time.Second, time.Minute))
		calls.Go(func() {
			defer cancel()
			call(ctx)
		})
		synctest.Wait() // by then it is wanted
	}
	for range 30 {
		switch rng.IntN(10) {
		case 0, 1, 2:
			meta := map[string]string{}
			for _, key := range []string{"zone", "load", "größe"} {
				if rng.IntN(2) == 0 {
					meta[key] = fmt.Sprint(rng.IntN(3))
				}
			}
			last = maps.Clone(meta)
			soon(func(ctx context.Context) { _ = a.SetMeta(ctx, meta) })
		case 3, 4:
			scope, role := pick(rng, "default", "s"), pick[Role](rng, "x", "y", "z")
			roles[scope][role] = true
			soon(func(ctx context.Context) { _ = a.In(scope).AddRoles(ctx, role) })
		case 5:
			scope, role := pick(rng, "default", "s"), pick[Role](rng, "x", "y", "z")
			delete(roles[scope], role)
			soon(func(ctx context.Context) { _ = a.In(scope).RemoveRoles(ctx, role) })
		case 6:
			f.wipe(rng.IntN(2) == 0)
		case 7:
			f.stop()
		case 8:
			f.mu.Lock()
			f.mute, a.link.deaf = rng.IntN(2) == 0, rng.IntN(2) == 0
			f.mu.Unlock()
		case 9:
			cut := rng.IntN(2) == 0
			a.partition(cut)
			if rng.IntN(2) == 0 {
				calls.Go(func() { _, _ = a.Join(t.Context(), "t") })
				synctest.Wait()
			}
		}
		if rng.IntN(3) == 0 {
			f.start()
		}
		time.Sleep(pick(rng, 0, 10*time.Millisecond, time.Second, fakeTTL))
	}
	f.mu.Lock()
	f.mute, a.link.deaf = false, false
	f.mu.Unlock()
	f.start()
	a.partition(false)
	calls.Wait()
	if a.In("t").member.Load() == nil {
		require.NoError(t, a.In("t").AddRoles(t.Context(), "x"))
		roles["t"]["x"] = true
	}
	time.Sleep((wholeEvery+1)*7*time.Second + 4*fakeTTL)
	synctest.Wait()
	for _, scope := range scopes {
		for _, b := range append(readers, a) {
			n := b.In(scope).Snapshot().named.get("a")
			require.NotNil(t, n, "%s in %s", b.Name(), scope)
			require.True(t, maps.Equal(last, n.meta), "%s shows %v in %s, wanted is %v", b.Name(), n.meta, scope, last)
			require.Equal(t, roleSet(keys(roles[scope])), append([]Role(nil), n.roles...), "%s in %s", b.Name(), scope)
		}
		f.mu.Lock()
		require.True(t, maps.Equal(last, f.records[[2]string{scope, "a"}].c.meta), scope)
		f.mu.Unlock()
	}
}

func keys(set map[Role]bool) (out []Role) {
	for role := range set {
		out = append(out, role)
	}
	return out
}
