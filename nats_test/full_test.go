package nats_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// Room for a record may be back at any moment: who joins waits for it, as who is there does.
func TestWhoJoinsWaitsForRoomInTheAccount(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, smallAccount(t, "1M"))
	a := bus(srv, "a")
	free := fillUp(t, jetStream(t, srv.Conn()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	joined := make(chan error, 1)
	go func() {
		b, err := rolebus.Connect(ctx, srv.URL(), rolebus.WithNode("b"), rolebus.WithTTL(ttl))
		if err == nil {
			t.Cleanup(func() { _ = b.Close() })
		}
		joined <- err
	}()
	eventually(t, "the lease of who is there to end, which nobody takes", func() bool { return a.LeaseLeft() == 0 })
	select {
	case err := <-joined:
		require.Fail(t, "it did not wait", "%v", err)
	default:
	}
	free()
	require.NoError(t, <-joined)
	eventually(t, "b to be listed", func() bool { return a.Snapshot().Node("b") != nil })
}
