package call_test

import (
	"context"
	"testing"
	"time"

	"github.com/rolebus/rolebus/call"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// It grows from attempt to attempt, also where there is another node to ask.
func TestTheBackoffLiesBetweenAttempts(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	for _, n := range nodes {
		work(t, n, caller)
	}
	const least, most = 16 * time.Millisecond, 64 * time.Millisecond
	_, err := method[string, string](t, caller.Scope, "worker", "none", call.Retry(5), call.Backoff(least, most)).Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrNoMethod)
	var failed *call.CallError
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Attempts, 6)
	ended := failed.Attempts[0]
	for i, pause := range []time.Duration{least, 2 * least, most, most, most} {
		next := failed.Attempts[i+1]
		assert.GreaterOrEqual(t, next.Began.Sub(ended.Began.Add(ended.Took)), pause/2, "before attempt %d", i+2)
		ended = next
	}
}

// With pauses of half an hour and more a call ends soon only if it makes none.
func TestNoBackoffBeforeTheFirstAttemptNorAfterTheLast(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	for _, n := range nodes {
		handle(t, n.Scope, "echo", echo)
		handle(t, n.Scope, "fail", func(context.Context, string) (string, error) { return "", call.Error("bad", "bad") })
		work(t, n, caller)
	}
	long := call.Backoff(time.Hour, time.Hour)
	_, err := method[string, string](t, caller.Scope, "worker", "echo", long, call.Retry(3)).Call(soon(t), "x")
	require.NoError(t, err)

	for name, m := range map[string]*call.Method[string, string]{
		"it was the only one": method[string, string](t, caller.Scope, "worker", "none", long),
		"a handler failed":    method[string, string](t, caller.Scope, "worker", "fail", long, call.Retry(3), call.Idempotent()),
	} {
		ctx := soon(t)
		_, err = m.Call(ctx, "x")
		require.Error(t, err, name)
		require.NoError(t, ctx.Err(), name)
	}
}
