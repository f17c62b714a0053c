package rolebus

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWaitReturnsTheFirstSnapshotThatFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := loneScope(t)
		snap, err := s.Wait(t.Context(), func(*Snapshot) bool { return true })
		require.NoError(t, err)
		require.Same(t, s.Snapshot(), snap, "at once")

		go func() {
			synctest.Wait() // until it waits
			heard{changes: []change{stateOf("a", 1, 1, 1, "x")}}.publish(t, s)
			synctest.Wait()
			heard{changes: []change{stateOf("b", 1, 1, 2, "x")}}.publish(t, s)
		}()
		asked := 0 // on this goroutine: -race would tell
		snap, err = s.Wait(t.Context(), func(snap *Snapshot) bool {
			asked++
			return snap.Nodes("x").Len() == 2
		})
		require.NoError(t, err)
		require.Equal(t, 3, asked)
		require.Same(t, s.Snapshot(), snap)

		never := func(*Snapshot) bool { return false }
		mine := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(mine)
		snap, err = s.Wait(ctx, never)
		require.Nil(t, snap)
		require.ErrorIs(t, err, mine)
		require.ErrorIs(t, err, context.Canceled)
		require.EqualError(t, err, `rolebus: wait in scope "s": context canceled: enough`)

		_, err = s.Wait(t.Context(), nil)
		require.EqualError(t, err, `rolebus: wait in scope "s": the condition is nil`)

		cause := errors.New("stopped")
		stop(cause)
		_, err = s.Wait(t.Context(), never)
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, err, cause)

		bad := newScope(s.bus, "")
		_, err = bad.Wait(t.Context(), never)
		require.ErrorIs(t, err, ErrBadName)
	})
}

func TestWaitForSaysWhatItWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := loneScope(t)
		says := func(s *Scope, role Role, n int) string {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := s.WaitFor(ctx, role, n)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return err.Error()
		}
		const end = ": context deadline exceeded"
		require.Equal(t, `rolebus: wait for role "x" in scope "s": found 0 of 2, the scope is joined`+end, says(s, "x", 2))
		heard{changes: []change{stateOf("a", 1, 1, 1, "x", "y"), stateOf("b", 1, 1, 2, "x"), stateOf("c", 1, 1, 3, "x"), stateOf("d", 1, 1, 4, "x")}}.publish(t, s)
		require.Equal(t, `rolebus: wait for role "y" in scope "s": found 1 of 3 (a), the scope is joined`+end, says(s, "y", 3))
		require.Equal(t, `rolebus: wait for role "x" in scope "s": found 4 of 5 (a, b, c, ...), the scope is joined`+end, says(s, "x", 5))
		apart := newScope(s.bus, "never joined")
		require.Equal(t, `rolebus: wait for role "x" in scope "never joined": found 0 of 1, the scope is not joined`+end, says(apart, "x", 1))

		require.ErrorIs(t, s.WaitFor(t.Context(), "", 1), ErrBadName)
		require.ErrorIs(t, s.WaitFor(t.Context(), "\xff", 1), ErrBadName)
		require.ErrorIs(t, newScope(s.bus, "").WaitFor(t.Context(), "x", 1), ErrBadName)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, s.WaitFor(over, "x", 4), "they are there")
		require.NoError(t, s.WaitFor(over, "", 0), "nothing to wait for")
		require.NoError(t, s.WaitFor(over, "x", -1))
	})
}
