package rolebus

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhileEndsWithTheNode(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, f *fakeBucket, b *fakeBus){
		"left":       func(t *testing.T, _ *fakeBucket, b *fakeBus) { require.NoError(t, b.Close()) },
		"expired":    func(_ *testing.T, _ *fakeBucket, b *fakeBus) { b.crash() },
		"superseded": func(t *testing.T, f *fakeBucket, _ *fakeBus) { f.bus(t, "b") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a, b := f.bus(t, "a"), f.bus(t, "b", WithRoles("x"))
				synctest.Wait()
				n := a.Nodes("x").At(0)
				ctx, cancel := a.While(t.Context(), n)
				defer cancel()
				other, cancelOther := a.While(t.Context(), n)
				defer cancelOther()
				require.NoError(t, b.AddRoles(t.Context(), "y"))
				synctest.Wait()
				require.NoError(t, ctx.Err(), "the same life")

				end(t, f, b)
				<-ctx.Done()
				require.ErrorIs(t, context.Cause(ctx), ErrNodeGone)
				<-other.Done()
				require.ErrorIs(t, context.Cause(other), ErrNodeGone)
				require.ErrorIs(t, ctx.Err(), context.Canceled)

				again, cancelAgain := a.While(t.Context(), n)
				defer cancelAgain()
				require.ErrorIs(t, context.Cause(again), ErrNodeGone, "over at once")
			})
		})
	}
}

func TestWhileEndsWithOtherThings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, _ := f.bus(t, "a"), f.bus(t, "b", WithRoles("x"))
		synctest.Wait()
		n := a.Nodes("x").At(0)

		none, cancel := a.While(t.Context(), a.Nodes("y").Pick())
		defer cancel()
		require.ErrorIs(t, context.Cause(none), ErrNodeGone)

		elsewhere, cancel := a.In("elsewhere").While(t.Context(), n)
		defer cancel()
		require.ErrorIs(t, context.Cause(elsewhere), ErrNodeGone, "nobody is listed in a scope that is not joined")

		mine, cancelMine := a.While(t.Context(), n)
		cancelMine()
		require.Equal(t, context.Canceled, context.Cause(mine))

		why := errors.New("no time")
		parent, stop := context.WithTimeoutCause(t.Context(), time.Second, why)
		defer stop()
		child, cancel := a.While(parent, n)
		defer cancel()
		<-child.Done()
		require.Equal(t, why, context.Cause(child))
		require.Equal(t, context.DeadlineExceeded, child.Err())

		last, cancel := a.While(t.Context(), n)
		defer cancel()
		require.NoError(t, a.Close())
		<-last.Done()
		require.ErrorIs(t, context.Cause(last), ErrClosed)
		closed, cancel := a.While(t.Context(), n)
		defer cancel()
		require.ErrorIs(t, context.Cause(closed), ErrClosed)
	})
}

// Nothing is kept of work that is done, and no goroutine runs when there is none.
func TestWhileKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a"), f.bus(t, "b", WithRoles("x"))
		synctest.Wait()
		for i := range 100 {
			_, cancel := a.While(t.Context(), a.Nodes("x").At(0))
			if i%10 == 0 {
				require.NoError(t, b.AddRoles(t.Context(), Role(fmt.Sprint(i))))
			}
			cancel()
		}
		synctest.Wait()
		require.Empty(t, a.guard.wards)
		require.NoError(t, b.AddRoles(t.Context(), "last"))
		synctest.Wait()
		require.False(t, a.guard.running)

		ctx, cancel := a.While(t.Context(), a.Nodes("x").At(0))
		defer cancel()
		require.NoError(t, b.Close())
		<-ctx.Done()
		require.ErrorIs(t, context.Cause(ctx), ErrNodeGone)
	})
}

// What this process does not know of a node it does not say of it.
func TestWhileSaysWhyTheNodeIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithScopes("s"))
		f.bus(t, "b", WithScopes("s"))
		synctest.Wait()
		n := a.In("s").Snapshot().Node("b")
		ctx, cancel := a.In("s").While(t.Context(), n)
		defer cancel()
		require.NoError(t, a.Leave(t.Context(), "s"))
		<-ctx.Done()
		later, cancel := a.In("s").While(t.Context(), n)
		defer cancel()
		for _, ctx := range []context.Context{ctx, later} {
			require.ErrorIs(t, context.Cause(ctx), ErrNodeGone)
			require.ErrorIs(t, context.Cause(ctx), ErrNotJoined, "b is well")
		}
		unknown, err := NewNode(NodeState{Name: "c"})
		require.NoError(t, err)
		newer, err := NewNode(NodeState{Name: "b", Incarnation: n.Incarnation() + 1})
		require.NoError(t, err)
		for _, n := range []*Node{unknown, newer} {
			ctx, cancel := a.While(t.Context(), n)
			defer cancel()
			require.ErrorIs(t, context.Cause(ctx), ErrNodeGone)
			require.ErrorContains(t, context.Cause(ctx), n.Name()+" is not listed")
		}
	})
}
