package calls_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
)

// While nats.go dials, and no server says anything, everything waits that asks nats.go. Calls do not: those that wait for an answer, those
// that begin then, and those to this process's own node.
func TestCallsEndInTimeWhileNATSIsDialled(t *testing.T) {
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	var b book
	s := serve(t, srv, &b, "n1", patience)
	caller := link.Bus(rolebus.WithNode("c1"), rolebus.WithNATS(nats.Timeout(time.Hour), nats.ReconnectWait(0)))
	_, err := call.Handle(caller.Scope, "own", func(_ context.Context, j job) (job, error) { return j, nil })
	require.NoError(t, err)
	rolebustest.WaitNodes(t, caller, "worker", 1)
	m, err := call.New[job, done](caller.Scope, "worker", "work", call.Timeout(patience), call.Retry(3), call.Idempotent())
	require.NoError(t, err)
	own, err := call.New[job, job](caller.Scope, "any", "own", call.Timeout(patience))
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := m.Call(ctx, job{1})
		waited <- err
	}()
	s.busy(t, 1)
	link.Stall()
	link.Reset()
	rolebustest.Eventually(t, "the connection to be lost", func() bool { return !caller.Connected() })

	soon, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	_, err = m.Call(soon, job{2})
	require.ErrorIs(t, err, call.ErrUnreachable)
	require.ErrorIs(t, err, nats.ErrDisconnected)
	var failed *call.CallError
	require.ErrorAs(t, err, &failed)
	require.False(t, failed.MayHaveRun())

	got, err := own.CallNode(t.Context(), caller.Snapshot().Node("c1"), job{3})
	require.NoError(t, err)
	require.Equal(t, job{3}, got)

	cancel()
	require.ErrorIs(t, <-waited, context.Canceled)
	require.False(t, caller.Connected(), "all that was while it was so")
	link.Mend()
}
