package rolebus

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheContextLastsAsLongAsTheHeartbeatsGetThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		ctx := a.LeaseContext()
		require.Equal(t, leaseSure, a.LeaseLeft(), "right after the first heartbeat")
		time.Sleep(100 * fakeTTL)
		require.NoError(t, ctx.Err())
		require.Equal(t, ctx, a.LeaseContext())
		require.GreaterOrEqual(t, a.LeaseLeft(), leaseSure-fakeTTL/3)

		a.partition(true)
		left := a.LeaseLeft()
		time.Sleep(left - 1)
		require.NoError(t, ctx.Err())
		require.Equal(t, time.Duration(1), a.LeaseLeft())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.ErrorIs(t, context.Cause(ctx), ErrLeaseLost)
		require.Zero(t, a.LeaseLeft())
		require.Error(t, a.LeaseContext().Err(), "not before it is sure again")
		require.NotEmpty(t, b.Nodes("x").Slice(), "it is still listed, and knew in time that it might not be")
		time.Sleep(fakeTTL)
		synctest.Wait()
		require.Empty(t, b.Nodes("x").Slice())

		a.partition(false)
		time.Sleep(time.Second)
		synctest.Wait()
		require.NoError(t, a.LeaseContext().Err())
		require.Error(t, ctx.Err(), "what was lost stays lost")
	})
}

func TestTheContextTellsWhyItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, o := f.bus(t, "a", WithScopes("s")), f.bus(t, "o", WithObserver())
		require.ErrorIs(t, context.Cause(o.LeaseContext()), ErrReadOnly)
		require.ErrorIs(t, context.Cause(a.In("elsewhere").LeaseContext()), ErrNotJoined)
		require.Zero(t, a.In("elsewhere").LeaseLeft())

		left := a.In("s").LeaseContext()
		require.NoError(t, a.Leave(t.Context(), "s"))
		require.ErrorIs(t, context.Cause(left), ErrNotJoined)

		older := a.LeaseContext()
		newer := f.bus(t, "a")
		synctest.Wait()
		require.ErrorIs(t, context.Cause(older), ErrSuperseded)
		<-a.Done()
		require.ErrorIs(t, context.Cause(a.LeaseContext()), ErrSuperseded)

		closed := newer.LeaseContext()
		require.NoError(t, newer.Close())
		require.ErrorIs(t, context.Cause(closed), ErrClosed)
		require.ErrorIs(t, context.Cause(newer.LeaseContext()), ErrClosed)
	})
}

func TestABurialEndsTheContextAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("x"))
		ctx := a.LeaseContext()
		f.mu.Lock()
		f.store("default", change{kind: kindExpired, node: "a", id: life{a.own(), leaseAhead}, due: time.Now()}, fakeSubjects.lease("default", "a"))
		f.mu.Unlock()
		synctest.Wait()
		require.ErrorIs(t, context.Cause(ctx), ErrLeaseLost)
		time.Sleep(time.Second)
		require.NoError(t, a.LeaseContext().Err(), "it has written itself again")
	})
}

// own is the incarnation in the default scope.
func (b *fakeBus) own() uint64 { return b.Scope.member.Load().own.Load() }

func TestTheClockGoesOnWhenNobodyTellsTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		ahead := time.Hour
		c := &clock{ask: func(ctx context.Context) (time.Time, error) {
			if err != nil {
				<-ctx.Done()
				return time.Time{}, err
			}
			return time.Now().Add(ahead), nil
		}, machine: newMachine(fakeTTL), least: fakeTTL, jumped: func(time.Duration) {}, askAnew: func() {}, log: slog.New(slog.DiscardHandler)}
		require.Equal(t, time.Hour, aheadOf(t, c))
		err = errFakeDown
		c.reset()
		began := time.Now()
		require.Equal(t, time.Hour, aheadOf(t, c))
		require.Equal(t, time.Second, time.Since(began), "a third of what the heartbeat has")
		err, ahead = nil, 2*time.Hour
		require.Equal(t, 2*time.Hour, aheadOf(t, c))
		err = errFakeDown
		c.forget()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, refused := c.now(ctx)
		require.ErrorIs(t, refused, errFakeDown)
	})
}

// aheadOf returns how far the server's clock is ahead.
func aheadOf(t *testing.T, c *clock) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	now, err := c.now(ctx)
	require.NoError(t, err)
	return time.Until(now)
}
