package exclusive_test

import (
	"context"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// Who has left the scope sees nobody there: that says nothing of a holder, whom he remembers though the bucket has gone back.
func TestWhoWasAwayRemembersWhoHoldsIt(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	away := join(t, srv)
	term := campaign(t, away, "leader")
	before, err := away.Entries("claim").Get(soon(t), "leader")
	require.NoError(t, err)
	require.NoError(t, term.Resign(soon(t)))
	const long = 3 * time.Second
	holder, other := link.Bus(rolebus.WithTTL(long)), join(t, srv)
	require.NoError(t, away.Leave(soon(t), "default"))
	held := campaign(t, holder, "leader")
	<-time.After(long + ttl/2) // for longer than its lease it is not seen
	require.NoError(t, held.Context().Err())

	link.Cut()
	now, err := other.Entries("claim").Get(soon(t), "leader")
	require.NoError(t, err)
	_, err = other.Entries("claim").Put(soon(t), "leader", before.Value, now.Generation) // as a bucket that went back has it
	require.NoError(t, err)
	_, err = away.Join(soon(t), "default")
	require.NoError(t, err)
	next := campaign(t, away, "leader")
	require.Error(t, held.Context().Err(), "the first one had stopped before")
	require.Greater(t, next.Token(), held.Token())
}

func TestInAScopeThatWasLeftNobodyIsKnownToHoldAnything(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := join(t, srv, rolebus.WithTTL(lasting)), join(t, srv, rolebus.WithTTL(lasting))
	free(t, b, "claim", "leader")
	term := campaign(t, b, "leader")
	ctx, cancel := context.WithCancel(soon(t))
	step := make(chan exclusive.Held)
	go func() {
		defer close(step)
		for held := range exclusive.Watch(ctx, a.Scope, "leader") {
			step <- held
		}
	}()
	require.Equal(t, term.Token(), (<-step).Token)
	for range 2 {
		require.NoError(t, a.Leave(soon(t), "default"))
		require.Equal(t, exclusive.Held{Name: "leader"}, <-step)
		_, err := a.Join(soon(t), "default")
		require.NoError(t, err)
		require.Equal(t, term.Token(), (<-step).Token)
	}
	cancel()
	for range step {
	}
	require.NoError(t, term.Context().Err())
}
