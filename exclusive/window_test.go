package exclusive_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// Somebody asks whether a name is held, which it is not yet; then it is claimed; then the bucket loses that; and only then does the one who asked write
// a claim of its own, where nothing stands, as when it asked.
func TestAClaimThatCameAndWasLostSinceItWasAskedIsNotPassedOver(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	a, b := link.Bus(withTTL()), join(t, srv)
	campaign(t, a, "other") // so that both know the bucket to be old enough
	campaign(t, b, "another")

	// As long as somebody listens and does not answer, the question is put again and again.
	questions := make(chan *nats.Msg, 100)
	other := srv.Conn()
	listener, err := other.ChanSubscribe(b.Subject("claim", "leader"), questions)
	require.NoError(t, err)
	require.NoError(t, other.Flush())
	next := make(chan *exclusive.Term, 1)
	go func() {
		term, _ := exclusive.Campaign(soon(t), b.Scope, "leader")
		next <- term
	}()
	for range 6 { // after that it claims
		<-questions
	}
	require.NoError(t, listener.Unsubscribe())
	first := campaign(t, a, "leader")
	link.StallDown() // so that it is not told when it is overtaken: it goes by its lease
	purge(t, srv, "leader")
	second := <-next
	require.NotNil(t, second)
	require.Error(t, first.Context().Err(), "the first one had stopped before")
	link.Mend()
}
