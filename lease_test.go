package rolebus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// leaseSure is for how long a node is sure of its lease after a heartbeat.
const leaseSure = fakeTTL - fakeTTL/leaseReserve

func TestTheContextLastsAsLongAsTheHeartbeatsGetThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		ctx := a.Context()
		require.Equal(t, leaseSure, a.LeaseLeft(), "right after the first heartbeat")
		time.Sleep(100 * fakeTTL)
		require.NoError(t, ctx.Err())
		require.Equal(t, ctx, a.Context())
		require.GreaterOrEqual(t, a.LeaseLeft(), leaseSure-fakeTTL/3)

		a.partition(true)
		left := a.LeaseLeft()
		time.Sleep(left - 1)
		require.NoError(t, ctx.Err())
		require.Equal(t, time.Duration(1), a.LeaseLeft())
		time.Sleep(1)
		synctest.Wait()
		require.ErrorIs(t, context.Cause(ctx), ErrLeaseLost)
		require.Zero(t, a.LeaseLeft())
		require.Error(t, a.Context().Err(), "not before it is sure again")
		require.NotEmpty(t, b.Nodes("x"), "it is still listed, and knew in time that it might not be")
		time.Sleep(fakeTTL)
		synctest.Wait()
		require.Empty(t, b.Nodes("x"))

		a.partition(false)
		time.Sleep(time.Second)
		synctest.Wait()
		require.NoError(t, a.Context().Err())
		require.Error(t, ctx.Err(), "what was lost stays lost")
	})
}

func TestTheContextTellsWhyItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, o := f.bus(t, "a", WithScopes("s")), f.bus(t, "o", WithObserver())
		require.ErrorIs(t, context.Cause(o.Context()), ErrReadOnly)
		require.ErrorIs(t, context.Cause(a.In("elsewhere").Context()), ErrNotJoined)
		require.Zero(t, a.In("elsewhere").LeaseLeft())

		left := a.In("s").Context()
		require.NoError(t, a.Leave(t.Context(), "s"))
		require.ErrorIs(t, context.Cause(left), ErrNotJoined)

		older := a.Context()
		newer := f.bus(t, "a")
		synctest.Wait()
		require.ErrorIs(t, context.Cause(older), ErrSuperseded)
		<-a.Done()
		require.ErrorIs(t, context.Cause(a.Context()), ErrSuperseded)

		closed := newer.Context()
		require.NoError(t, newer.Close())
		require.ErrorIs(t, context.Cause(closed), ErrClosed)
		require.ErrorIs(t, context.Cause(newer.Context()), ErrClosed)
	})
}

func TestABurialEndsTheContextAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("x"))
		ctx := a.Context()
		f.mu.Lock()
		f.store("default", change{kind: kindExpired, node: "a", id: life{a.own(), leaseAhead}, due: time.Now()}, fakeSubjects.lease("default", "a"))
		f.mu.Unlock()
		synctest.Wait()
		require.ErrorIs(t, context.Cause(ctx), ErrLeaseLost)
		time.Sleep(time.Second)
		require.NoError(t, a.Context().Err(), "it has written itself again")
	})
}

// own is the incarnation in the default scope.
func (b *fakeBus) own() uint64 { return b.Scope.member.Load().own.Load() }
