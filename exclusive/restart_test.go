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
