package call_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// refuse has a node refuse each call of a method as one does that is busy, when f has returned. It is no endpoint, as none can
// refuse a call that it has begun with.
func refuse(t *testing.T, n *rolebus.Bus, method string, f func()) {
	t.Helper()
	sub, err := n.Conn().Subscribe(n.Address("call", n.Snapshot().Node(n.Name()), method), func(msg *nats.Msg) {
		f()
		assert.NoError(t, msg.RespondMsg(&nats.Msg{Header: nats.Header{"Rolebus-Call": {"busy"}}}))
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sub.Unsubscribe() }) // gone with the node, if that was closed
}

func TestAHedgedCallHasTwoUnderWayAtTheMost(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2", "w3", "w4", "w5")
	var asked, underWay, most atomic.Int64
	for _, n := range nodes {
		refuse(t, n, "slow", func() {
			asked.Add(1)
			now := underWay.Add(1)
			for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
			}
			time.Sleep(20 * time.Millisecond) // the work, which takes longer than until the hedge: what is checked holds however long it takes
			underWay.Add(-1)
		})
		work(t, n, caller)
	}
	for _, retry := range []int{0, 1, 2, 5} {
		t.Run(fmt.Sprintf("Retry(%d)", retry), func(t *testing.T) {
			asked.Store(0)
			m := method[string, string](t, caller.Scope, "worker", "slow", call.Idempotent(), call.Hedge(time.Millisecond), call.Retry(retry))
			_, err := m.Call(soon(t), "x")
			require.ErrorIs(t, err, call.ErrBusy)
			var failed *call.CallError
			require.ErrorAs(t, err, &failed)
			assert.Len(t, failed.Attempts, int(asked.Load()))
			assert.LessOrEqual(t, int(asked.Load()), max(2, retry+1))
			assert.GreaterOrEqual(t, int(asked.Load()), retry+1)
		})
	}
	assert.LessOrEqual(t, most.Load(), int64(2))
}

// Whichever of both that is.
func TestTheSlowerOfTwoIsCancelled(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	begun, cancelled := make(chan struct{}), make(chan error, 1)
	for name, n := range nodes {
		handle(t, n.Scope, "race", func(ctx context.Context, slow string) (string, error) {
			if name == slow {
				close(begun)
				<-ctx.Done()
				cancelled <- ctx.Err()
				return "", ctx.Err()
			}
			<-begun // both are at it
			return name, nil
		})
		work(t, n, caller)
	}
	first := call.Choose(func(nodes rolebus.Nodes) *rolebus.Node { return nodes.At(0) })
	m := method[string, string](t, caller.Scope, "worker", "race", first, call.Idempotent(), call.Hedge(time.Millisecond), call.Timeout(time.Hour))
	for slow, quick := range map[string]string{"w1": "w2", "w2": "w1"} {
		begun = make(chan struct{})
		name, err := m.Call(soon(t), slow)
		require.NoError(t, err)
		assert.Equal(t, quick, name)
		assert.ErrorIs(t, <-cancelled, context.Canceled)
	}
}

func TestAHedgedCallGoesOnWhenTheFirstAttemptFails(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	begun := make(chan struct{})
	refuse(t, nodes["w1"], "before", func() {})
	refuse(t, nodes["w1"], "meanwhile", func() { <-begun })
	told := make(chan call.AttemptInfo, 2)
	handle(t, nodes["w2"].Scope, "before", echo)
	handle(t, nodes["w2"].Scope, "meanwhile", func(_ context.Context, in string) (string, error) {
		close(begun)
		if info := <-told; info.Node.Name() != "w1" || info.Err == nil {
			return "", fmt.Errorf("an attempt at %v ended with %w", info.Node, info.Err)
		}
		return in, nil
	})
	for _, n := range nodes {
		work(t, n, caller)
	}
	first := call.Choose(func(nodes rolebus.Nodes) *rolebus.Node { return nodes.At(0) })
	for name, opts := range map[string]call.Option{
		"before":    call.Options(call.Hedge(time.Hour), call.Retry(1)), // it is tried again, and need not be hedged
		"meanwhile": call.Options(call.Hedge(time.Millisecond), call.WithHooks(attempts{told})),
	} {
		out, err := method[string, string](t, caller.Scope, "worker", name, first, call.Idempotent(), opts).Call(soon(t), "x")
		require.NoError(t, err, name)
		assert.Equal(t, "x", out, name)
	}
}
