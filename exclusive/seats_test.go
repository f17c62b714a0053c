package exclusive_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

func TestAllSeatsAreUsedAndNoneTwice(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	var buses []*rolebus.Bus
	for range 3 {
		buses = append(buses, join(t, srv, rolebus.WithTTL(lasting)))
	}
	const seats = 4
	free(t, buses[0], "claim", "pool")
	free(t, buses[0], "seat", "pool/1", "pool/2", "pool/3")
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

// Somebody says that it has a seat, and the bucket knows better: the seat is free for all, and nobody can have it.
func TestASeatThatCannotBeHadKeepsNobodyFromTheOthers(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	b := join(t, srv, rolebus.WithTTL(lasting))
	for taken := range 2 { // one of them is the one that this node looks at first
		name := fmt.Sprint("pool", taken)
		free(t, b, "claim", name)
		free(t, b, "seat", name+"/1")
		both := []*exclusive.Term{campaign(t, b, name, exclusive.Seats(2)), campaign(t, b, name, exclusive.Seats(2))}
		for _, term := range both {
			require.NoError(t, term.Resign(soon(t)))
		}
		subject := []string{b.Subject("claim", name), b.Subject("seat", name+"/1")}[taken]
		other := srv.Conn()
		_, err := other.Subscribe(subject, func(msg *nats.Msg) {
			_ = msg.Respond([]byte(`{"node":"other","incarnation":1,"token":1,"ttl":1000,"since":1}`))
		})
		require.NoError(t, err)
		require.NoError(t, other.Flush())
		require.Equal(t, 1-taken, campaign(t, b, name, exclusive.Seats(2)).Seat())
	}
}

func TestASeatWithTheLastTokenKeepsNobodyFromTheOthers(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := join(t, srv, rolebus.WithTTL(lasting))
	for spent, kind := range []string{"claim", "seat"} {
		name := fmt.Sprint("pool", spent)
		free(t, a, "claim", name)
		free(t, a, "seat", name+"/1")
		seats := []*exclusive.Term{campaign(t, a, name, exclusive.Seats(2)), campaign(t, a, name, exclusive.Seats(2))}
		for _, term := range seats {
			require.NoError(t, term.Resign(soon(t)))
		}
		key := []string{name, name + "/1"}
		forge(t, a, kind, key[spent], a.Name(), a.Incarnation(), 1<<53-1)
		require.Equal(t, 1-spent, campaign(t, a, name, exclusive.Seats(2)).Seat())
		forge(t, a, []string{"seat", "claim"}[spent], key[1-spent], a.Name(), a.Incarnation(), 1<<53-1)
		_, err := exclusive.Campaign(soon(t), a.Scope, name, exclusive.Seats(2))
		require.ErrorContains(t, err, "no token is left")
	}
}
