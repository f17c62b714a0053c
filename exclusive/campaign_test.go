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

func TestANameIsHeldByOneAndPassedOn(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := join(t, srv, rolebus.WithTTL(lasting)), join(t, srv, rolebus.WithTTL(lasting))
	free(t, a, "claim", "leader")
	first := campaign(t, a, "leader")
	require.NoError(t, first.Context().Err())
	require.NotZero(t, first.Left())

	next := make(chan *exclusive.Term, 1)
	go func() {
		term, err := exclusive.Campaign(soon(t), b.Scope, "leader")
		if err == nil {
			next <- term
		}
	}()
	eventually(t, "b knows who holds it", func() bool {
		h, is := exclusive.Holder(b.Scope, "leader")
		return is && h.Node == a.Name() && h.Token == first.Token()
	})
	select {
	case <-next:
		t.Fatal("two hold it")
	case <-time.After(ttl):
	}
	require.NoError(t, first.Context().Err())
	began := time.Now()
	require.NoError(t, first.Resign(soon(t)))
	require.ErrorIs(t, context.Cause(first.Context()), exclusive.ErrResigned)
	second := <-next
	t.Log("passed on in", time.Since(began))
	require.Greater(t, second.Token(), first.Token())
	require.NoError(t, second.Context().Err())
}

func TestACrashedHolderIsFollowed(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	a, b := link.Bus(withTTL()), join(t, srv)
	first := campaign(t, a, "leader")
	link.Cut()
	began := time.Now()
	second := campaign(t, b, "leader")
	t.Log("after", time.Since(began))
	require.Error(t, first.Context().Err(), "the first one had stopped before")
	require.Greater(t, second.Token(), first.Token())
	link.Mend()
	third := make(chan *exclusive.Term, 1)
	go func() {
		if term, err := exclusive.Campaign(soon(t), a.Scope, "leader"); err == nil {
			third <- term
		}
	}()
	eventually(t, "a sees b's term", func() bool {
		h, is := exclusive.Holder(a.Scope, "leader")
		return is && h.Token == second.Token()
	})
	require.NoError(t, b.Close())
	require.Greater(t, (<-third).Token(), second.Token())
}

// What a term is known by when it is read back is what was written: else it would be written again and again.
func TestATermIsWrittenOnce(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := join(t, srv)
	nc := srv.Conn()
	sub, err := nc.SubscribeSync("rolebus.changes.default.claim.*")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	kept := campaign(t, a, "kept")
	for range 20 {
		require.NoError(t, campaign(t, a, "other").Resign(soon(t)))
	}
	require.NoError(t, kept.Resign(soon(t)))
	var written []string
	for len(written) < 3 {
		msg, err := sub.NextMsgWithContext(soon(t))
		require.NoError(t, err)
		if msg.Subject == "rolebus.changes.default.claim.kept" {
			written = append(written, msg.Header.Get("KV-Operation"))
		}
	}
	require.Equal(t, []string{"DEL", "", "DEL"}, written, "that nothing stood there, the term, and that it was given up")
}
