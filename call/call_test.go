package call_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestACallReturnsWhatTheHandlerReturns(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	w1 := nodes["w1"]
	type in struct{ A, B int }
	type out struct{ Sum int }
	handle(t, w1.Scope, "add", func(_ context.Context, in in) (out, error) { return out{in.A + in.B}, nil })
	work(t, w1, caller)

	add := call.Func[in, out](caller.Scope, "worker", "add")
	sum, err := add(soon(t), in{2, 3})
	require.NoError(t, err)
	assert.Equal(t, out{5}, sum)
}

func TestANodeCallsItself(t *testing.T) {
	for name, opts := range map[string][]nats.Option{"plain": nil, "no echo": {nats.NoEcho()}} {
		t.Run(name, func(t *testing.T) {
			server := rolebustest.NewServer(t)
			own, err := rolebus.New(soon(t), server.Conn(opts...), rolebus.WithNode("own"))
			require.NoError(t, err)
			defer own.Close()
			handle(t, own.Scope, "echo", echo)
			require.NoError(t, own.AddRoles(soon(t), "worker"))
			out, err := method[string, string](t, own.Scope, "worker", "echo").Call(soon(t), "x")
			require.NoError(t, err)
			assert.Equal(t, "x", out)
		})
	}
}

func TestAnObserverCalls(t *testing.T) {
	server := rolebustest.NewServer(t)
	w1 := server.Bus(rolebus.WithNode("w1"))
	handle(t, w1.Scope, "echo", echo)
	observer := server.Bus(rolebus.WithObserver())
	work(t, w1, observer)
	out, err := method[string, string](t, observer.Scope, "worker", "echo").Call(soon(t), "x")
	require.NoError(t, err)
	assert.Equal(t, "x", out)
	_, err = call.Handle(observer.Scope, "echo", echo)
	require.ErrorIs(t, err, rolebus.ErrReadOnly)
}

// pointed is an error that panics if it is a nil pointer, the mistake of many a handler.
type pointed struct{ text string }

func (e *pointed) Error() string { return e.text }

func TestWhatAHandlerReturnsIsNeverTriedAgain(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	var ran atomic.Int32
	for _, n := range nodes {
		handle(t, n.Scope, "fail", func(_ context.Context, in string) (string, error) {
			switch ran.Add(1); in {
			case "coded":
				return "", call.Error("not_found", "no such thing\nat all")
			case "panic":
				panic("ouch")
			case "goexit":
				runtime.Goexit()
			case "nil error":
				return "", (*pointed)(nil)
			}
			return "", errors.New("plain")
		})
		work(t, n, caller)
	}
	fail := method[string, string](t, caller.Scope, "worker", "fail", call.Retry(3), call.Idempotent())
	for in, want := range map[string][2]string{
		"coded": {"not_found", "no such thing\nat all"}, "plain": {call.CodeUnknown, "plain"},
		"panic": {call.CodePanic, "panic: ouch"}, "goexit": {call.CodePanic, "panic: runtime.Goexit"},
		"nil error": {call.CodePanic, "panic: runtime error: invalid memory address or nil pointer dereference"},
	} {
		ran.Store(0)
		_, err := fail.Call(soon(t), in)
		var remote *call.RemoteError
		require.ErrorAs(t, err, &remote, in)
		assert.Equal(t, want, [2]string{remote.Code, remote.Message})
		assert.Equal(t, int32(1), ran.Load(), in)
		var failed *call.CallError
		require.ErrorAs(t, err, &failed)
		require.Len(t, failed.Attempts, 1)
		assert.Equal(t, call.RanYes, failed.Attempts[0].Ran)
		assert.Equal(t, remote.Node, failed.Attempts[0].Node.Name())
	}
}

func TestNobodyHasTheRole(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	_, err := method[string, string](t, caller.Scope, "worker", "echo").Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrNoNode)

	handle(t, nodes["w1"].Scope, "echo", echo)
	waits := method[string, string](t, caller.Scope, "worker", "echo", call.Retry(1))
	type answer struct {
		out string
		err error
	}
	answers := make(chan answer, 1)
	go func() { out, err := waits.Call(soon(t), "x"); answers <- answer{out, err} }()
	require.NoError(t, nodes["w1"].AddRoles(soon(t), "worker"))
	assert.Equal(t, answer{"x", nil}, <-answers)

	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = method[string, string](t, caller.Scope, "nobody", "echo", call.Retry(1)).Call(short, "x")
	require.ErrorIs(t, err, call.ErrNoNode)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestANodeWithoutTheMethodIsToldFromOneThatIsGone(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	work(t, nodes["w1"], caller)
	_, err := method[string, string](t, caller.Scope, "worker", "echo").Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrNoMethod)
	require.NotErrorIs(t, err, call.ErrUnreachable)
	var failed *call.CallError
	require.ErrorAs(t, err, &failed)
	assert.False(t, failed.MayHaveRun())

	// Certainly not run: tried elsewhere, though the method is not idempotent.
	handle(t, nodes["w2"].Scope, "echo", echo)
	work(t, nodes["w2"], caller)
	retries := method[string, string](t, caller.Scope, "worker", "echo", call.Retry(1))
	for range 20 {
		_, err := retries.Call(soon(t), "x")
		require.NoError(t, err)
	}

	gone := caller.Snapshot().Node("w1")
	require.NoError(t, nodes["w1"].Close())
	_, err = method[string, string](t, caller.Scope, "worker", "echo").CallNode(soon(t), gone, "x")
	require.ErrorIs(t, err, call.ErrUnreachable)
}

func TestBusyAtOnceBeyondTheLimits(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	release, running := make(chan struct{}), make(chan struct{}, 8)
	e := handle(t, nodes["w1"].Scope, "slow", func(ctx context.Context, in string) (string, error) {
		running <- struct{}{}
		<-release
		return in, nil
	}, call.Concurrency(1), call.Queue(1))
	work(t, nodes["w1"], caller)
	slow := method[string, string](t, caller.Scope, "worker", "slow")
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() { _, err := slow.Call(soon(t), "x"); assert.NoError(t, err) })
	}
	<-running
	rolebustest.Eventually(t, "one waits", func() bool { return e.Stats().Waiting == 1 })
	_, err := slow.Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrBusy)
	close(release)
	calls.Wait()
	stats := e.Stats()
	assert.Equal(t, [3]uint64{3, 1, 1}, [3]uint64{stats.Requests, stats.Errors, stats.Refused})
}

func TestTheHandlersContextEndsWithTheCall(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	begun, ended := make(chan time.Duration, 1), make(chan error, 1)
	handle(t, nodes["w1"].Scope, "wait", func(ctx context.Context, in string) (string, error) {
		end, _ := ctx.Deadline()
		begun <- time.Until(end)
		<-ctx.Done()
		ended <- ctx.Err()
		return "", ctx.Err()
	})
	work(t, nodes["w1"], caller)
	wait := method[string, string](t, caller.Scope, "worker", "wait", call.Timeout(time.Hour))

	t.Run("cancelled by the caller", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-begun; cancel() }()
		_, err := wait.Call(ctx, "x")
		require.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, <-ended, context.Canceled)
	})
	t.Run("its time is up", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := wait.Call(ctx, "x")
		require.ErrorIs(t, err, call.ErrTimeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.LessOrEqual(t, <-begun, 100*time.Millisecond)
		assert.Error(t, <-ended)
	})
	t.Run("the caller is closed", func(t *testing.T) {
		go func() { <-begun; _ = caller.Close() }()
		_, err := wait.Call(t.Context(), "x")
		require.ErrorIs(t, err, rolebus.ErrClosed)
		assert.ErrorIs(t, <-ended, context.Canceled)
	})
}

func TestACallerThatDiesIsNoticed(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	w1 := server.Bus(rolebus.WithNode("w1"))
	begun, ended := make(chan struct{}), make(chan error, 1)
	handle(t, w1.Scope, "wait", func(ctx context.Context, in string) (string, error) {
		close(begun)
		<-ctx.Done()
		ended <- ctx.Err()
		return "", ctx.Err()
	})
	link := server.Link()
	observer := link.Bus(rolebus.WithObserver()) // whom nobody sees
	work(t, w1, observer)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := method[string, string](t, observer.Scope, "worker", "wait", call.Timeout(time.Hour)).Call(ctx, "x")
		done <- err
	}()
	<-begun
	link.Cut()
	assert.ErrorIs(t, <-ended, context.Canceled)
	cancel()
	<-done
}

func TestAHandlerCallsItsOwnRole(t *testing.T) {
	_, nodes := fleet(t, "w1")
	w1 := nodes["w1"]
	var down func(context.Context, int) (int, error)
	handle(t, w1.Scope, "down", func(ctx context.Context, in int) (int, error) {
		if in == 0 {
			return 0, nil
		}
		out, err := down(ctx, in-1)
		return out + 1, err
	}, call.Concurrency(1))
	require.NoError(t, w1.AddRoles(soon(t), "worker"))
	down = call.Func[int, int](w1.Scope, "worker", "down")
	out, err := down(soon(t), 5)
	require.NoError(t, err)
	assert.Equal(t, 5, out)
}

func TestTwoHandlersOfOneMethod(t *testing.T) {
	_, nodes := fleet(t, "w1")
	w1 := nodes["w1"]
	first := handle(t, w1.Scope, "echo", echo)
	_, err := call.Handle(w1.Scope, "echo", echo)
	require.ErrorIs(t, err, call.ErrHandled)
	handle(t, w1.In("other"), "echo", echo) // another scope is another world
	require.NoError(t, first.Close(soon(t)))
	require.NoError(t, first.Close(soon(t)))
	handle(t, w1.Scope, "echo", echo)
}

func TestClosingAnEndpointLosesNothing(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	release, running := make(chan struct{}), make(chan struct{}, 1)
	e := handle(t, nodes["w1"].Scope, "slow", func(ctx context.Context, in string) (string, error) {
		running <- struct{}{}
		<-release
		return in, nil
	})
	work(t, nodes["w1"], caller)
	slow := method[string, string](t, caller.Scope, "worker", "slow")
	result := make(chan error, 1)
	go func() { _, err := slow.Call(soon(t), "x"); result <- err }()
	<-running
	closed := make(chan error, 1)
	go func() { closed <- e.Close(soon(t)) }()
	rolebustest.Eventually(t, "what is new is refused", func() bool {
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		select {
		case <-running: // one that came before
		default:
		}
		_, err := slow.Call(short, "x")
		return errors.Is(err, call.ErrDraining)
	})
	close(release)
	require.NoError(t, <-result)
	require.NoError(t, <-closed)
	rolebustest.Eventually(t, "nobody listens any more", func() bool {
		_, err := slow.Call(soon(t), "x")
		return errors.Is(err, call.ErrNoMethod)
	})
}

func TestNothingCrossesScopes(t *testing.T) {
	server := rolebustest.NewServer(t)
	caller := server.Bus(rolebus.WithNode("caller"), rolebus.WithScopes("other"))
	w1 := server.Bus(rolebus.WithNode("w1"), rolebus.WithScopes("other"))
	handle(t, w1.Scope, "echo", echo)
	work(t, w1, caller)
	require.NoError(t, w1.In("other").AddRoles(soon(t), "worker"))
	rolebustest.WaitNodes(t, caller.In("other"), "worker", 1)
	_, err := method[string, string](t, caller.In("other"), "worker", "echo").Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrNoMethod)
	_, err = method[string, string](t, caller.In("third"), "worker", "echo").Call(soon(t), "x")
	require.ErrorIs(t, err, rolebus.ErrNotJoined)
}

func TestAnObserverOfANodesNameIsNotThatNode(t *testing.T) {
	server := rolebustest.NewServer(t)
	w1 := server.Bus(rolebus.WithNode("w1"))
	handle(t, w1.Scope, "echo", echo)
	observer := server.Bus(rolebus.WithObserver(), rolebus.WithNode("w1"))
	work(t, w1, observer)
	for _, opt := range []call.Option{call.Random(), call.PreferLocal()} {
		out, err := method[string, string](t, observer.Scope, "worker", "echo", opt).Call(soon(t), "x")
		require.NoError(t, err)
		assert.Equal(t, "x", out)
	}
}

func TestACallWaitsForTheConnectionAndNoLongerThanItMay(t *testing.T) {
	server := rolebustest.NewServer(t)
	caller, w1 := server.Bus(rolebus.WithNode("caller")), server.Bus(rolebus.WithNode("w1"))
	handle(t, w1.Scope, "echo", echo)
	work(t, w1, caller)
	m := method[string, string](t, caller.Scope, "worker", "echo", call.Timeout(time.Minute), call.Retry(1000))
	own := method[string, string](t, w1.Scope, "worker", "echo")
	server.Stop()
	rolebustest.Eventually(t, "the connections are lost", func() bool {
		return !caller.Connected() && !w1.Connected()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := m.Call(ctx, "x")
	require.ErrorIs(t, err, call.ErrUnreachable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var failed *call.CallError
	require.ErrorAs(t, err, &failed)
	assert.False(t, failed.MayHaveRun())

	out, err := own.Call(soon(t), "to itself") // which needs no network
	require.NoError(t, err)
	assert.Equal(t, "to itself", out)

	result := make(chan error, 1)
	go func() { _, err := m.Call(t.Context(), "x"); result <- err }()
	server.Start()
	require.NoError(t, <-result)
}
