package exclusive_test

import (
	"context"
	"strings"
	"testing"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

func atOnce(context.Context, uint64) error { return nil }

func TestNamesThatCannotBeOnes(t *testing.T) {
	t.Parallel()
	b := join(t, rolebustest.NewServer(t))
	for _, seats := range []int{1, 2, 1000} {
		for _, name := range []string{"", strings.Repeat("x", 201), strings.Repeat(".", 67), "\xff", strings.Repeat("x", 200)} {
			if seats == 1 && len(name) == 200 {
				continue // with the number of a seat it is too long
			}
			_, err := exclusive.Campaign(soon(t), b.Scope, name, exclusive.Seats(seats))
			require.ErrorIs(t, err, rolebus.ErrBadName, "%q of %d seats", name, seats)
			require.ErrorIs(t, exclusive.Run(soon(t), b.Scope, name, atOnce, exclusive.Seats(seats)), rolebus.ErrBadName)
			for held := range exclusive.Watch(soon(t), b.Scope, name, exclusive.Seats(seats)) {
				t.Fatal(held)
			}
			_, is := exclusive.Holder(b.Scope, name)
			require.False(t, is)
			require.Empty(t, exclusive.Holders(b.Scope, name))
		}
	}
	for _, name := range []string{strings.Repeat("x", 200), "a.b", "*", ">", "a/1", "/", " ", "é", "$KV"} {
		term := campaign(t, b, name)
		held, is := exclusive.Holder(b.Scope, name)
		require.True(t, is, "%q", name)
		require.Equal(t, term.Token(), held.Token)
		require.NoError(t, term.Resign(soon(t)))
	}
}

func TestMistakesInUse(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	b, observer := join(t, srv), join(t, srv, rolebus.WithObserver())
	for what, opts := range map[string][]exclusive.Option{
		"nil option": {nil}, "no seats": {exclusive.Seats(0)}, "too many seats": {exclusive.Seats(1001)}, "nil function": {exclusive.Prefer(nil)},
		"empty role": {exclusive.Among("")}, "long role": {exclusive.Among(rolebus.Role(strings.Repeat("x", 5000)))}, "no UTF-8": {exclusive.Among("\xff")},
		"nil hook": {exclusive.WithHooks(nil)}, "no hook": {exclusive.WithHooks(1)},
	} {
		_, err := exclusive.Campaign(soon(t), b.Scope, "x", opts...)
		require.Error(t, err, what)
		require.NoError(t, soon(t).Err())
		require.Error(t, exclusive.Run(soon(t), b.Scope, "x", atOnce, opts...), what)
	}
	_, err := exclusive.Campaign(soon(t), b.Scope, "x", nil, exclusive.Seats(0), exclusive.Prefer(nil))
	for _, what := range []string{"option 1 is nil", "0 seats", "nil function"} {
		require.ErrorContains(t, err, what, "all at once")
	}
	var none context.Context // a mistake
	_, err = exclusive.Campaign(none, b.Scope, "x")
	require.ErrorContains(t, err, "nil context")
	for held := range exclusive.Watch(none, b.Scope, "x") {
		t.Fatal(held)
	}
	require.Panics(t, func() { _ = exclusive.Run(soon(t), b.Scope, "x", nil) })
	_, err = exclusive.Campaign(soon(t), observer.Scope, "x")
	require.ErrorIs(t, err, rolebus.ErrReadOnly)
	_, err = exclusive.Campaign(soon(t), b.In(""), "x")
	require.ErrorIs(t, err, rolebus.ErrBadName)
	_, err = exclusive.Campaign(soon(t), b.In("elsewhere"), "x")
	require.ErrorIs(t, err, rolebus.ErrNotJoined)
	_, is := exclusive.Holder(b.In("elsewhere"), "x")
	require.False(t, is)

	term := campaign(t, b, "x")
	require.ErrorContains(t, term.Resign(none), "nil context")
	require.NoError(t, term.Context().Err(), "nothing was done")
	require.NoError(t, term.Resign(soon(t)))
	require.NoError(t, term.Resign(soon(t)), "twice is as good as once")
	require.Zero(t, term.Left())
}

func TestATermThatNobodyMade(t *testing.T) {
	t.Parallel()
	for _, term := range []*exclusive.Term{nil, {}} {
		require.Error(t, term.Context().Err())
		require.Zero(t, term.Token())
		require.Zero(t, term.Seat())
		require.Zero(t, term.Left())
		require.Error(t, term.Resign(t.Context()))
		select {
		case <-term.Leaving():
		default:
			t.Error("it is over, and does not say so")
		}
	}
}
