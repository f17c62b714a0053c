package call_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Who waited for its connection waits for the answer that much less, and the handler is told so.
func TestTheHandlersTimeIsWhatIsLeft(t *testing.T) {
	server := rolebustest.NewServer(t)
	w1 := server.Bus(rolebus.WithNode("w1"))
	told := make(chan string, 1)
	handle(t, w1.Scope, "echo", echo, call.Extract(func(ctx context.Context, h nats.Header) context.Context {
		told <- h.Get("Rolebus-Timeout")
		return ctx
	}))
	link := server.Link()
	caller := link.Bus(rolebus.WithObserver())
	work(t, w1, caller)
	link.Cut()
	rolebustest.Eventually(t, "the connection is down", func() bool { return !caller.Connected() })
	begun, done := make(chan struct{}), make(chan error, 1)
	choose := call.Choose(func(nodes rolebus.Nodes) *rolebus.Node { close(begun); return nodes.At(0) })
	m := method[string, string](t, caller.Scope, "worker", "echo", choose, call.Timeout(20*time.Second))
	go func() { _, err := m.Call(t.Context(), "x"); done <- err }()
	<-begun
	link.Mend()
	require.NoError(t, <-done)
	left, err := time.ParseDuration(<-told + "ms")
	require.NoError(t, err)
	assert.Less(t, left, 20*time.Second)
}
