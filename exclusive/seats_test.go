package exclusive_test

import (
	"context"
	"testing"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

func TestAllSeatsAreUsedAndNoneTwice(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	buses := []*rolebus.Bus{join(t, srv), join(t, srv), join(t, srv)}
	const seats = 4
	got := make(chan *exclusive.Term, 100)
	ctx, cancel := context.WithCancel(soon(t))
	for range 3 {
		for i, b := range buses {
			go func() {
				term, _ := exclusive.Campaign(ctx, b.Scope, "pool", exclusive.Seats(seats-2*(i/2))) // the last one has not heard of four yet
				got <- term
			}()
		}
	}
	held := map[int]*exclusive.Term{}
	take := func() {
		t.Helper()
		term := <-got
		require.NotNil(t, term)
		if before := held[term.Seat()]; before != nil {
			require.Error(t, before.Context().Err(), "a seat has two")
			require.Greater(t, term.Token(), before.Token())
		}
		held[term.Seat()] = term
	}
	for range seats {
		take()
	}
	require.Len(t, held, seats)
	eventually(t, "all see all", func() bool {
		for _, b := range buses {
			if len(exclusive.Holders(b.Scope, "pool")) != seats {
				return false
			}
		}
		return true
	})
	for seat := range 2 { // those that everybody may have
		require.Empty(t, got)
		require.NoError(t, held[seat].Resign(soon(t)))
		take()
	}
	cancel()
	for range 3*len(buses) - seats - 2 {
		require.Nil(t, <-got)
	}
	for _, term := range held {
		require.NoError(t, term.Context().Err())
	}
}

func TestWatchTellsTheEndAndNoStepTwice(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, observer := join(t, srv), join(t, srv, rolebus.WithObserver())
	term := campaign(t, a, "leader")
	step, proceed := make(chan exclusive.Held), make(chan struct{})
	ctx, cancel := context.WithCancel(soon(t))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for held := range exclusive.Watch(ctx, observer.Scope, "leader") {
			step <- held
			<-proceed
		}
	}()
	require.Equal(t, term.Token(), (<-step).Token)
	last := term
	for range 20 { // while it is busy
		require.NoError(t, last.Resign(soon(t)))
		last = campaign(t, a, "leader")
	}
	for seen := uint64(0); seen != last.Token(); {
		proceed <- struct{}{}
		held := <-step
		if held.Node != "" {
			require.Greater(t, held.Token, seen)
			seen = held.Token
		}
	}
	require.NoError(t, a.Close())
	proceed <- struct{}{}
	require.Equal(t, exclusive.Held{Name: "leader"}, <-step)
	cancel()
	proceed <- struct{}{}
	<-ended
}
