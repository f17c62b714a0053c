package exclusive_test

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// One that is started anew under the name of one that hangs takes over its name, not its term: the other is certain of that until its own
// lease ends.
func TestARestartUnderTheSameNameWaitsForTheTermBefore(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	before := link.Bus(withTTL(), rolebus.WithNode("worker-1"))
	term := campaign(t, before, "leader")
	link.Stall() // it hears nothing, and nobody hears it
	after := join(t, srv, rolebus.WithNode("worker-1"))
	next := campaign(t, after, "leader")
	require.Error(t, term.Context().Err(), "the first one had stopped before")
	require.Greater(t, next.Token(), term.Token())
	h, is := exclusive.Holder(after.Scope, "leader")
	require.True(t, is)
	require.Equal(t, after.Incarnation(), h.Incarnation)
	link.Mend()
	eventually(t, "the first one to learn that it was superseded", func() bool { return before.Err() != nil })
	require.ErrorIs(t, before.Err(), rolebus.ErrSuperseded)
	require.NoError(t, next.Context().Err())
}

// A server that keeps nothing: after a restart the bucket is made anew, and nobody is certain of the record that was there. Whoever had the term may
// have the next one at once; all others wait for as long as it may be certain.
func TestAServerThatKeepsNothingIsRestarted(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	inMemory := []rolebus.Option{rolebus.WithStorage(jetstream.MemoryStorage), rolebus.WithTTL(lasting)}
	a, b := srv.Bus(inMemory...), srv.Bus(inMemory...)
	free(t, a, "claim", "leader")
	term := campaign(t, a, "leader")
	waits := make(chan *exclusive.Term, 1)
	go func() {
		next, _ := exclusive.Campaign(soon(t), b.Scope, "leader")
		waits <- next
	}()
	eventually(t, "b knows it", func() bool { h, _ := exclusive.Holder(b.Scope, "leader"); return h.Token == term.Token() })
	srv.Restart()
	<-term.Context().Done()
	require.ErrorIs(t, context.Cause(term.Context()), rolebus.ErrLeaseLost)
	second := campaign(t, a, "leader")
	require.Greater(t, second.Token(), term.Token())
	eventually(t, "b knows the next one", func() bool { h, _ := exclusive.Holder(b.Scope, "leader"); return h.Token == second.Token() })
	require.Empty(t, waits)
	require.NoError(t, second.Resign(soon(t)))
	third := <-waits
	require.NotNil(t, third)
	require.Greater(t, third.Token(), second.Token())
}

// The bucket is made anew while a holder hears nothing, and gives the generation of its claim to somebody else's. When it goes on it must not take
// that for its own.
func TestAnotherBucketMayGiveAGenerationAgain(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	a := link.Bus(rolebus.WithTTL(lasting))
	filler := a.Entries("filler")
	fill := func(until uint64) {
		for at, last := uint64(0), uint64(0); at < until; last = at {
			var err error
			at, err = filler.Put(soon(t), "x", "1", last)
			require.NoError(t, err)
		}
	}
	fill(50)
	free(t, a, "claim", "leader")
	term := campaign(t, a, "leader")
	stands, err := a.Entries("claim").Get(soon(t), "leader")
	require.NoError(t, err)
	link.Stall()
	_, err = srv.Conn().Request("$JS.API.STREAM.DELETE.KV_rolebus", nil, rolebusPatience)
	require.NoError(t, err)

	b := join(t, srv, rolebus.WithTTL(lasting))
	filler = b.Entries("filler")
	fill(stands.Generation - 1)
	other := claimOf(b, term.Token()+1)
	generation, err := b.Entries("claim").Put(soon(t), "leader", other, 0)
	require.NoError(t, err)
	require.Equal(t, stands.Generation, generation)
	link.Mend()
	<-term.Context().Done()
	require.NoError(t, term.Resign(soon(t)))
	now, err := b.Entries("claim").Get(soon(t), "leader")
	require.NoError(t, err)
	require.Equal(t, generation, now.Generation)
	require.Equal(t, other, now.Value)
}
