package call_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever sees a node can call what it handled before it joined, by its role or whatever its roles.
func TestAnEndpointServesFromTheFirstMoment(t *testing.T) {
	t.Parallel()
	caller, nodes := fleet(t, "w1")
	for i := range 6 {
		scope := fmt.Sprint("scope ", i/2) // each of them twice: a later stay is like the first
		there := nodes["w1"].In(scope)
		if i%2 == 0 {
			_, err := caller.Join(soon(t), scope)
			require.NoError(t, err)
			handle(t, there, "echo", echo)
		}
		waits := call.Options(call.WaitForNode(true), call.Retry(0))
		done := make(chan error, 2)
		for _, m := range []*call.Method[string, string]{
			method[string, string](t, caller.In(scope), "worker", "echo", waits),
			method[string, string](t, caller.In(scope), "", "echo", waits, call.Nodes("w1")),
		} {
			go func() { _, err := m.Call(soon(t), "x"); done <- err }()
		}
		require.NoError(t, there.AddRoles(soon(t), "worker"))
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		require.NoError(t, nodes["w1"].Leave(soon(t), scope))
		rolebustest.Eventually(t, "it has left", func() bool { return caller.In(scope).Snapshot().Node("w1") == nil })
	}
}

// Each call is made to the life that the caller knows just then, while the name passes from one process to another. The older of them, and
// one of the callers, are far, so that they hear of that later.
func TestNoCallReachesAnotherLife(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	link := server.Link()
	link.Delay(50 * time.Millisecond)
	caller, far := server.Bus(rolebus.WithNode("caller")), link.Bus(rolebus.WithNode("far"))
	var older, newer, astray atomic.Int64
	serve := func(b *rolebus.Bus, ran *atomic.Int64) {
		own := b.Incarnation()
		handle(t, b.Scope, "life", func(_ context.Context, asked uint64) (uint64, error) {
			ran.Add(1)
			if asked != own {
				astray.Add(1)
			}
			return own, nil
		})
	}
	first := link.Bus(rolebus.WithNode("w1"))
	serve(first, &older)
	work(t, first, caller)
	old := caller.Snapshot().Node("w1")
	ctx, stop := context.WithCancel(t.Context())
	var calling sync.WaitGroup
	for _, b := range []*rolebus.Bus{caller, far} {
		m := method[uint64, uint64](t, b.Scope, "worker", "life", call.Timeout(time.Second))
		calling.Go(func() {
			for ctx.Err() == nil {
				if n := b.Snapshot().Node("w1"); n != nil {
					if life, err := m.CallNode(ctx, n, n.Incarnation()); err == nil {
						assert.Equal(t, n.Incarnation(), life)
					}
				}
			}
		})
	}
	rolebustest.Eventually(t, "the older life is called", func() bool { return older.Load() > 0 })
	second := server.Bus(rolebus.WithNode("w1"))
	serve(second, &newer)
	rolebustest.Eventually(t, "the newer life is called", func() bool { return newer.Load() > 0 })
	<-first.Done()
	require.ErrorIs(t, first.Err(), rolebus.ErrSuperseded)
	stop()
	calling.Wait()

	_, err := method[uint64, uint64](t, caller.Scope, "worker", "life").CallNode(soon(t), old, old.Incarnation())
	require.ErrorIs(t, err, call.ErrUnreachable)
	require.ErrorIs(t, err, rolebus.ErrNodeGone)
	var failed *call.CallError
	require.ErrorAs(t, err, &failed)
	assert.False(t, failed.MayHaveRun())
	assert.Zero(t, astray.Load())
}
