package call_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever got fewer answers than it wanted must not think that nothing was done.
func TestTooFewAnswersAreToldWithThoseThatThereWere(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	whoami(t, caller, nodes)
	answers, err := method[string, string](t, caller.Scope, "worker", "who").First(soon(t), 3, "x")
	assert.Len(t, answers, 2)
	require.ErrorIs(t, err, call.ErrNoNode)
	var failed *call.CallError
	require.ErrorAs(t, err, &failed)
	assert.True(t, failed.MayHaveRun())
	require.Len(t, failed.Attempts, 2)
	for _, a := range failed.Attempts {
		require.NoError(t, a.Err)
		assert.Equal(t, call.RanYes, a.Ran)
	}
}

// Asking all is nobody's turn.
func TestAskingAllPicksNobody(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2", "w3")
	whoami(t, caller, nodes)
	turns := method[string, string](t, caller.Scope, "worker", "who", call.RoundRobin())
	got := map[string]int{}
	for range 6 {
		name, err := turns.Call(soon(t), "x")
		require.NoError(t, err)
		got[name]++
		require.NoError(t, turns.NotifyAll(soon(t), "x"))
		for _, answer := range turns.All(soon(t), "x") {
			require.NoError(t, answer.Err)
		}
	}
	assert.Equal(t, map[string]int{"w1": 2, "w2": 2, "w3": 2}, got)

	asked := false
	choose := call.Choose(func(nodes rolebus.Nodes) *rolebus.Node { asked = true; return nodes.At(0) })
	for _, answer := range method[string, string](t, caller.Scope, "worker", "who", choose, call.WaitForNode(true)).All(soon(t), "x") {
		require.NoError(t, answer.Err)
	}
	assert.False(t, asked)
}

// No call waits for ever for an attempt whose function has ended its goroutine, as a test's FailNow does.
func TestAnInjectThatEndsItsGoroutine(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	whoami(t, caller, nodes)
	exits := call.Inject(func(context.Context, nats.Header) { runtime.Goexit() })
	m := method[string, string](t, caller.Scope, "worker", "who", exits, call.Idempotent(), call.Hedge(time.Minute), call.LeastBusy())
	_, err := m.Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrEncode)
	asked := 0
	for _, answer := range m.All(soon(t), "x") {
		require.ErrorIs(t, answer.Err, call.ErrEncode)
		asked++
	}
	assert.Equal(t, 2, asked)
}
