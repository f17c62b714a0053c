package call_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// whoami has each node say its name.
func whoami(t *testing.T, caller *rolebus.Bus, nodes map[string]*rolebus.Bus) {
	t.Helper()
	for name, n := range nodes {
		handle(t, n.Scope, "who", func(context.Context, string) (string, error) { return name, nil })
		work(t, n, caller)
	}
}

// tally counts who answers.
func tally(t *testing.T, m *call.Method[string, string], calls int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range calls {
		name, err := m.Call(soon(t), "x")
		require.NoError(t, err)
		got[name]++
	}
	return got
}

func TestRoundRobinIsExactlyFair(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2", "w3")
	whoami(t, caller, nodes)
	m := method[string, string](t, caller.Scope, "worker", "who", call.RoundRobin())
	var mu sync.Mutex
	var callers sync.WaitGroup
	got := map[string]int{}
	for range 16 {
		callers.Go(func() {
			for range 15 {
				name, err := m.Call(soon(t), "x")
				assert.NoError(t, err)
				mu.Lock()
				got[name]++
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	assert.Equal(t, map[string]int{"w1": 80, "w2": 80, "w3": 80}, got)

	require.NoError(t, nodes["w2"].Close())
	rolebustest.WaitNodes(t, caller, "worker", 2)
	assert.Equal(t, map[string]int{"w1": 10, "w3": 10}, tally(t, m, 20))
}

func TestStickyStaysUntilThatLifeGoes(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2", "w3")
	whoami(t, caller, nodes)
	m := method[string, string](t, caller.Scope, "worker", "who", call.Sticky())
	stays := func() string {
		got := tally(t, m, 20)
		require.Len(t, got, 1)
		for name := range got {
			return name
		}
		return ""
	}
	first := stays()
	require.NoError(t, nodes[first].RemoveRoles(soon(t), "worker"))
	rolebustest.WaitNodes(t, caller, "worker", 2)
	second := stays()
	assert.NotEqual(t, first, second)

	require.NoError(t, nodes[second].Close())
	rolebustest.WaitNodes(t, caller, "worker", 1)
	third := stays()

	// It can be cleared; and another method has a node of its own.
	require.NoError(t, nodes[first].AddRoles(soon(t), "worker"))
	rolebustest.WaitNodes(t, caller, "worker", 2)
	assert.Equal(t, third, stays())
	got := map[string]bool{}
	for range 64 {
		m.Unstick()
		got[stays()] = true
		name, err := method[string, string](t, caller.Scope, "worker", "who", call.Sticky()).Call(soon(t), "x")
		require.NoError(t, err)
		got[name] = true
	}
	assert.Len(t, got, 2)
}

func TestStickyLetsGoOfWhoFails(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	whoami(t, caller, map[string]*rolebus.Bus{"w1": nodes["w1"]})
	m := method[string, string](t, caller.Scope, "worker", "who", call.Sticky(), call.Retry(1))
	assert.Equal(t, map[string]int{"w1": 1}, tally(t, m, 1))
	whoami(t, caller, map[string]*rolebus.Bus{"w2": nodes["w2"]})
	// w1 handles it no more: not run, tried elsewhere, and from now on there.
	e := nodes["w1"]
	require.NoError(t, e.Close())
	assert.Equal(t, map[string]int{"w2": 20}, tally(t, m, 20))
}

func TestPreferences(t *testing.T) {
	server := rolebustest.NewServer(t)
	bus := func(name, zone string) *rolebus.Bus {
		return server.Bus(rolebus.WithNode(name), rolebus.WithMeta(map[string]string{"zone": zone}))
	}
	caller := bus("caller", "a")
	nodes := map[string]*rolebus.Bus{"w1": bus("w1", "a"), "w2": bus("w2", "b"), "w3": bus("w3", "b")}
	whoami(t, caller, nodes)
	zoned := method[string, string](t, caller.Scope, "worker", "who", call.PreferMeta("zone"))
	assert.Equal(t, map[string]int{"w1": 20}, tally(t, zoned, 20))
	there := method[string, string](t, caller.Scope, "worker", "who", call.PreferMeta("zone", "b"), call.RoundRobin())
	assert.Equal(t, map[string]int{"w2": 10, "w3": 10}, tally(t, there, 20))
	require.NoError(t, nodes["w1"].Close())
	rolebustest.WaitNodes(t, caller, "worker", 2)
	assert.Equal(t, map[string]int{"w2": 10, "w3": 10}, tally(t, method[string, string](t, caller.Scope, "worker", "who", call.PreferMeta("zone"), call.RoundRobin()), 20))

	local := method[string, string](t, nodes["w3"].Scope, "worker", "who", call.PreferLocal())
	assert.Equal(t, map[string]int{"w3": 20}, tally(t, local, 20))
	assert.Len(t, tally(t, method[string, string](t, caller.Scope, "worker", "who", call.PreferLocal(), call.RoundRobin()), 2), 2)
}

func TestGivenNodes(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2", "w3")
	whoami(t, caller, nodes)
	m := method[string, string](t, caller.Scope, "worker", "who", call.Nodes("w3", "w1", "nobody"), call.RoundRobin())
	assert.Equal(t, map[string]int{"w1": 5, "w3": 5}, tally(t, m, 10))

	require.NoError(t, nodes["w2"].RemoveRoles(soon(t), "worker"))
	rolebustest.WaitNodes(t, caller, "worker", 2)
	var mu sync.Mutex
	names := []string{"w2"}
	by := func() []string { mu.Lock(); defer mu.Unlock(); return names }
	_, err := method[string, string](t, caller.Scope, "worker", "who", call.NodesFunc(by)).Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrNoNode)
	anyRole := method[string, string](t, caller.Scope, "", "who", call.NodesFunc(by), call.WaitForNode(true))
	assert.Equal(t, map[string]int{"w2": 3}, tally(t, anyRole, 3))
	mu.Lock()
	names = nil
	mu.Unlock()
	done := make(chan string, 1)
	go func() { name, _ := anyRole.Call(soon(t), "x"); done <- name }()
	mu.Lock()
	names = []string{"w3"}
	mu.Unlock()
	assert.Contains(t, []string{"w3", "w2"}, <-done)
	_, err = method[string, string](t, caller.Scope, "", "who", call.NodesFunc(func() []string { panic("ouch") })).Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrChoice)
}

func TestChoose(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	whoami(t, caller, nodes)
	stranger := rolebustest.Node("stranger", nil)
	other := rolebustest.Node("w1", nil, "worker") // another life of w1
	for name, f := range map[string]func(rolebus.Nodes) *rolebus.Node{
		"nil":        func(rolebus.Nodes) *rolebus.Node { return nil },
		"a stranger": func(rolebus.Nodes) *rolebus.Node { return stranger },
		"other life": func(rolebus.Nodes) *rolebus.Node { return other },
		"panic":      func(rolebus.Nodes) *rolebus.Node { panic("ouch") },
	} {
		_, err := method[string, string](t, caller.Scope, "worker", "who", call.Choose(f), call.Retry(3)).Call(soon(t), "x")
		require.ErrorIs(t, err, call.ErrChoice, name)
	}
	last := method[string, string](t, caller.Scope, "worker", "who", call.Choose(func(ns rolebus.Nodes) *rolebus.Node { return ns.At(ns.Len() - 1) }))
	assert.Equal(t, map[string]int{"w2": 5}, tally(t, last, 5))
	_, err := method[string, string](t, caller.Scope, "worker", "who", call.HashBy(func(string) string { panic("ouch") })).Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrChoice)
}

func TestHashGoesToTheOwner(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2", "w3")
	whoami(t, caller, nodes)
	by := method[string, string](t, caller.Scope, "worker", "who", call.HashBy(func(in string) string { return in[:1] }))
	encoded := method[string, string](t, caller.Scope, "worker", "who", call.Hash())
	same := method[string, string](t, caller.Scope, "worker", "who", call.HashBy[string](nil))
	for i := range 50 {
		in := fmt.Sprint(i)
		name, err := by.Call(soon(t), in)
		require.NoError(t, err)
		assert.Equal(t, caller.Nodes("worker").Owner(in[:1]).Name(), name)
		for _, m := range []*call.Method[string, string]{encoded, same} {
			name, err = m.Call(soon(t), in)
			require.NoError(t, err)
			assert.Equal(t, caller.Nodes("worker").Owner(`"`+in+`"`).Name(), name)
		}
	}
}

func TestLeastBusyGoesWhereLessIsUnderWay(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	release, begun := make(chan struct{}), make(chan string, 100)
	for name, n := range nodes {
		handle(t, n.Scope, "who", func(_ context.Context, in string) (string, error) {
			if in == "slow" {
				begun <- name
				<-release
			}
			return name, nil
		})
		work(t, n, caller)
	}
	m := method[string, string](t, caller.Scope, "worker", "who", call.LeastBusy())
	var slow sync.WaitGroup
	for range 2 {
		slow.Go(func() { _, err := m.CallNode(soon(t), caller.Snapshot().Node("w1"), "slow"); assert.NoError(t, err) })
		assert.Equal(t, "w1", <-begun)
	}
	assert.Equal(t, map[string]int{"w2": 30}, tally(t, m, 30))
	close(release)
	slow.Wait()
	assert.Len(t, tally(t, m, 200), 2)
}

func TestHedging(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	cancelled := make(chan struct{}, 1)
	for name, n := range nodes {
		handle(t, n.Scope, "who", func(ctx context.Context, _ string) (string, error) {
			if name == "w1" {
				<-ctx.Done()
				cancelled <- struct{}{}
				return "", ctx.Err()
			}
			return name, nil
		})
		work(t, n, caller)
	}
	first := call.Choose(func(ns rolebus.Nodes) *rolebus.Node { return ns.At(0) })
	m := method[string, string](t, caller.Scope, "worker", "who", first, call.Idempotent(), call.Hedge(20*time.Millisecond), call.Timeout(time.Minute))
	name, err := m.Call(soon(t), "x")
	require.NoError(t, err)
	assert.Equal(t, "w2", name)
	<-cancelled // the loser
}

func TestAll(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2", "w3")
	stuck, begun := make(chan string, 3), make(chan struct{}, 3)
	for name, n := range nodes {
		handle(t, n.Scope, "who", func(ctx context.Context, in string) (string, error) {
			switch {
			case name == "w3" && in == "fail":
				return "", call.Error("bad", "w3 fails")
			case in != "hang":
			case name == "w1": // answers when the others are at it
				<-begun
				<-begun
			default:
				begun <- struct{}{}
				<-ctx.Done()
				stuck <- name
				return "", ctx.Err()
			}
			return name, nil
		})
		work(t, n, caller)
	}
	m := method[string, string](t, caller.Scope, "worker", "who", call.Timeout(time.Minute))
	var names []string
	for node, answer := range m.All(soon(t), "fail") {
		if node.Name() == "w3" {
			var remote *call.RemoteError
			require.ErrorAs(t, answer.Err, &remote)
			assert.Equal(t, "bad", remote.Code)
		} else {
			require.NoError(t, answer.Err)
			assert.Equal(t, node.Name(), answer.Value)
		}
		names = append(names, node.Name())
	}
	slices.Sort(names)
	assert.Equal(t, []string{"w1", "w2", "w3"}, names)

	for node := range m.All(soon(t), "hang") {
		assert.Equal(t, "w1", node.Name())
		break // cancels the others
	}
	got := []string{<-stuck, <-stuck}
	slices.Sort(got)
	assert.Equal(t, []string{"w2", "w3"}, got)

	answers, err := m.First(soon(t), 2, "fail")
	require.NoError(t, err)
	assert.Len(t, answers, 2)
	answers, err = m.First(soon(t), 3, "fail")
	assert.Len(t, answers, 2)
	var remote *call.RemoteError
	require.ErrorAs(t, err, &remote)

	nobody := 0
	for node, answer := range method[string, string](t, caller.Scope, "nobody", "who").All(soon(t), "x") {
		nobody++
		assert.Nil(t, node)
		require.ErrorIs(t, answer.Err, call.ErrNoNode)
	}
	assert.Equal(t, 1, nobody)
}

func TestNotify(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	heard := make(chan string, 10)
	for name, n := range nodes {
		handle(t, n.Scope, "hear", func(_ context.Context, in string) (struct{}, error) { heard <- name + in; return struct{}{}, nil })
		work(t, n, caller)
	}
	m := method[string, struct{}](t, caller.Scope, "worker", "hear")
	require.NoError(t, m.NotifyAll(soon(t), "1"))
	got := []string{<-heard, <-heard}
	slices.Sort(got)
	assert.Equal(t, []string{"w11", "w21"}, got)
	require.NoError(t, m.Notify(soon(t), "2"))
	assert.Contains(t, []string{"w12", "w22"}, <-heard)
	require.NoError(t, method[string, struct{}](t, nodes["w1"].Scope, "worker", "hear", call.PreferLocal()).Notify(soon(t), "3"))
	assert.Equal(t, "w13", <-heard)
	require.ErrorIs(t, method[string, struct{}](t, caller.Scope, "nobody", "hear").Notify(soon(t), "x"), call.ErrNoNode)
	require.ErrorIs(t, method[string, struct{}](t, caller.Scope, "nobody", "hear").NotifyAll(soon(t), "x"), call.ErrNoNode)
}

type tracer struct {
	calls    chan call.CallInfo
	attempts chan call.AttemptInfo
	served   chan call.ServedInfo
}

func (h tracer) OnCall(i call.CallInfo)       { h.calls <- i }
func (h tracer) OnAttempt(i call.AttemptInfo) { h.attempts <- i }
func (h tracer) OnServed(i call.ServedInfo)   { h.served <- i }

type traceKey struct{}

func TestHooksAndTraces(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	h := tracer{make(chan call.CallInfo, 9), make(chan call.AttemptInfo, 9), make(chan call.ServedInfo, 9)}
	seen := make(chan string, 9)
	handle(t, nodes["w1"].Scope, "who", func(ctx context.Context, _ string) (string, error) {
		seen <- ctx.Value(traceKey{}).(string)
		return "w1", nil
	}, call.WithHooks(h), call.Extract(func(ctx context.Context, h nats.Header) context.Context {
		return context.WithValue(ctx, traceKey{}, h.Get("traceparent")+h.Get("Rolebus-Timeout"))
	}))
	work(t, nodes["w1"], caller)
	work(t, nodes["w2"], caller)
	choose := call.Choose(func(ns rolebus.Nodes) *rolebus.Node { return ns.At(ns.Len() - 1) })
	m := method[string, string](t, caller.Scope, "worker", "who", choose, call.Retry(1), call.WithHooks(h), call.Inject(func(ctx context.Context, h nats.Header) {
		h.Set("traceparent", ctx.Value(traceKey{}).(string))
		h.Set("Rolebus-Timeout", "forged")
		h.Set("Nats-Rollup", "forged")
	}))
	_, err := m.Call(context.WithValue(t.Context(), traceKey{}, "42"), "x")
	require.NoError(t, err)
	assert.Equal(t, "42", <-seen)
	one, two := <-h.attempts, <-h.attempts
	assert.Equal(t, "w2", one.Node.Name())
	require.ErrorIs(t, one.Err, call.ErrNoMethod)
	assert.Equal(t, [2]int{1, 2}, [2]int{one.Number, two.Number})
	require.NoError(t, two.Err)
	done, served := <-h.calls, <-h.served
	assert.Equal(t, 2, done.Attempts)
	assert.Equal(t, "w1", done.Node.Name())
	assert.True(t, served.Ran)
	require.NoError(t, served.Err)

	bad := method[string, string](t, caller.Scope, "worker", "who", call.Inject(func(context.Context, nats.Header) { panic("ouch") }))
	_, err = bad.Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrEncode)
	assert.False(t, errors.Is(err, call.ErrUnreachable))
}
