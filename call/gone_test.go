package call_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestACallEndsWhenItsNodeGoes(t *testing.T) {
	server := rolebustest.NewServer(t)
	caller := server.Bus(rolebus.WithNode("caller"))
	link := server.Link()
	w1 := link.Bus(rolebus.WithNode("w1"))
	begun, release := make(chan struct{}, 1), make(chan struct{})
	defer close(release)
	stuck := func(context.Context, string) (string, error) { // whatever becomes of its context
		begun <- struct{}{}
		<-release
		return "", nil
	}
	handle(t, w1.Scope, "stuck", stuck)
	work(t, w1, caller)
	m := method[string, string](t, caller.Scope, "worker", "stuck", call.Timeout(time.Hour))
	calls := func(t *testing.T, end func()) {
		t.Helper()
		go func() { <-begun; end() }()
		_, err := m.Call(soon(t), "x")
		require.ErrorIs(t, err, call.ErrUnreachable)
		require.ErrorIs(t, err, rolebus.ErrNodeGone)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		var failed *call.CallError
		require.ErrorAs(t, err, &failed)
		require.Len(t, failed.Attempts, 1)
		assert.Equal(t, call.RanMaybe, failed.Attempts[0].Ran)
	}
	t.Run("without a goodbye", func(t *testing.T) { calls(t, link.Cut) })
	w2 := server.Bus(rolebus.WithNode("w2"))
	handle(t, w2.Scope, "stuck", stuck)
	rolebustest.WaitNodes(t, caller, "worker", 0)
	work(t, w2, caller)
	t.Run("with one", func(t *testing.T) { calls(t, func() { assert.NoError(t, w2.Close()) }) })
}

// Nothing else finds out here that the node is dead: its lease runs on, nobody asks it by itself, and no server tells.
func TestWhoIsCalledInVainIsSuspected(t *testing.T) {
	server := rolebustest.NewServer(t, func(o *server.Options) { o.NoSystemAccount = true })
	seldom := []rolebus.Option{rolebus.WithTTL(10 * time.Minute), rolebus.WithProbeInterval(time.Hour)}
	caller := server.Bus(append(seldom, rolebus.WithNode("caller"))...)
	nc := server.Conn()
	w1, err := rolebus.New(soon(t), nc, append(seldom, rolebus.WithNode("w1"))...)
	require.NoError(t, err)
	handle(t, w1.Scope, "echo", echo)
	work(t, w1, caller)
	m := method[string, string](t, caller.Scope, "worker", "echo")
	_, err = m.Call(soon(t), "x")
	require.NoError(t, err)
	node := caller.Snapshot().Node("w1")
	require.NoError(t, caller.Probe(soon(t), node)) // only who was heard is suspected

	nc.Close()
	<-w1.Done()
	rolebustest.Eventually(t, "nobody listens any more", func() bool {
		_, err := caller.Conn().Request(caller.Address("call", node, "echo"), nil, 100*time.Millisecond)
		return errors.Is(err, nats.ErrNoResponders)
	})
	require.NotNil(t, caller.Nodes("worker").Find("w1"), "it is listed")
	_, err = m.Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrUnreachable)
	require.ErrorIs(t, err, rolebus.ErrNodeGone)
	var failed *call.CallError
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Attempts, 1)
	assert.Equal(t, call.RanNo, failed.Attempts[0].Ran)
	rolebustest.Eventually(t, "it is left out", func() bool { return caller.Nodes("worker").Len() == 0 })
	assert.NotNil(t, caller.Snapshot().Suspects().Find("w1"))
}
