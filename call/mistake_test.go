package call_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
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

// What goes wrong in what users write: it is told, and stops nothing else.

// asking is an error whose text is not made without asking its endpoint.
type asking struct{ stats func() call.EndpointStats }

func (e asking) Error() string { return fmt.Sprint("after ", e.stats().Requests) }

// exits is what ends the goroutine when it is asked for its text.
type exits struct{}

func (exits) Error() string { runtime.Goexit(); return "" }

func TestAnErrorWhoseTextAsksTheEndpoint(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	var e *call.Endpoint
	e = handle(t, nodes["w1"].Scope, "fail", func(context.Context, int) (int, error) { return 0, asking{e.Stats} })
	work(t, nodes["w1"], caller)
	var remote *call.RemoteError
	_, err := method[int, int](t, caller.Scope, "worker", "fail").Call(soon(t), 1)
	require.ErrorAs(t, err, &remote)
	assert.Contains(t, remote.Message, "after ")
}

func TestAnErrorWithoutAText(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	handle(t, nodes["w1"].Scope, "fail", func(context.Context, int) (int, error) { return 0, call.Error("none", "") })
	work(t, nodes["w1"], caller)
	var remote *call.RemoteError
	_, err := method[int, int](t, caller.Scope, "worker", "fail").Call(soon(t), 1)
	require.ErrorAs(t, err, &remote)
	assert.Equal(t, [2]string{"none", ""}, [2]string{remote.Code, remote.Message})
}

// A call whose panic cannot even be told in words ends, and so does its place.
func TestAPanicWithoutAText(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	e := handle(t, nodes["w1"].Scope, "fail", func(context.Context, int) (int, error) { panic(exits{}) }, call.Concurrency(1), call.Queue(0))
	work(t, nodes["w1"], caller)
	m := method[int, int](t, caller.Scope, "worker", "fail")
	for range 2 {
		var remote *call.RemoteError
		_, err := m.Call(soon(t), 1)
		require.ErrorAs(t, err, &remote)
		assert.Equal(t, call.CodePanic, remote.Code)
		rolebustest.Eventually(t, "it is over", func() bool { return e.Stats().Running == 0 })
	}
	require.NoError(t, e.Close(soon(t)))
}

func TestExtractReturnsNoContext(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	none := func(context.Context, nats.Header) (ctx context.Context) { return ctx }
	handle(t, nodes["w1"].Scope, "echo", echo, call.Extract(none))
	work(t, nodes["w1"], caller)
	var remote *call.RemoteError
	_, err := method[string, string](t, caller.Scope, "worker", "echo").Call(soon(t), "x")
	require.ErrorAs(t, err, &remote)
	assert.Equal(t, call.CodePanic, remote.Code)
	assert.Contains(t, remote.Message, "nil context")
}

func TestAHeaderThatCannotBeOne(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	handle(t, nodes["w1"].Scope, "echo", echo)
	work(t, nodes["w1"], caller)
	m := method[string, string](t, caller.Scope, "worker", "echo", call.Retry(3), call.Inject(func(_ context.Context, h nats.Header) {
		h["no name"] = []string{"x"}
	}))
	_, err := m.Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrEncode)
	require.NotErrorIs(t, err, call.ErrUnreachable)
	var failed *call.CallError
	require.ErrorAs(t, err, &failed)
	assert.Len(t, failed.Attempts, 1, "it is the same everywhere")
	require.ErrorIs(t, m.Notify(soon(t), "x"), call.ErrEncode)
}

// odd is a codec that has a content type only.
type odd struct {
	call.Codec
	kind string
}

func (c *odd) ContentType() string { return c.kind }

func TestContentTypesThatAreNone(t *testing.T) {
	caller, _ := fleet(t)
	for name, c := range map[string]call.Codec{"spaces": &odd{kind: "  "}, "parameters": &odd{kind: "; charset=utf-8"}, "nil pointer": (*odd)(nil)} {
		_, err := call.New[string, string](caller.Scope, "worker", "echo", call.Encoding(c), call.Retry(-1))
		require.ErrorContains(t, err, "content type", name)
		require.ErrorContains(t, err, "Retry", name)
		_, err = call.Handle(caller.Scope, "echo", echo, call.Encoding(c))
		require.ErrorContains(t, err, "content type", name)
	}
}

func TestNamesThatNoNodeHas(t *testing.T) {
	caller, _ := fleet(t)
	_, err := call.New[string, string](caller.Scope, "worker", "echo", call.Nodes("api-1", "", "\xff"))
	require.ErrorContains(t, err, `Nodes: "" cannot`)
	require.ErrorContains(t, err, `Nodes: "\xff" cannot`)
	require.NotContains(t, err.Error(), "api-1")
	_, err = call.New[any, string](caller.Scope, "worker", "echo", call.HashBy(func(string) string { return "" }))
	require.ErrorContains(t, err, "a func(string) string, but the input is a interface {}")
}

func TestLimitsThatAreTooLarge(t *testing.T) {
	caller, _ := fleet(t)
	_, err := call.Handle(caller.Scope, "echo", echo, call.Concurrency(math.MaxInt), call.Queue(math.MaxInt))
	require.ErrorContains(t, err, "Concurrency 9223372036854775807: 1 to 2147483647")
	require.ErrorContains(t, err, "Queue 9223372036854775807: 0 to 2147483647")
}

func TestCloseWithoutAContext(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	begun, release := make(chan struct{}), make(chan struct{})
	e := handle(t, nodes["w1"].Scope, "wait", func(context.Context, int) (int, error) {
		close(begun)
		<-release
		return 1, nil
	})
	work(t, nodes["w1"], caller)
	result := make(chan error, 1)
	m := method[int, int](t, caller.Scope, "worker", "wait")
	go func() { _, err := m.Call(t.Context(), 1); result <- err }()
	<-begun
	var none context.Context
	require.ErrorContains(t, e.Close(none), "nil context")
	close(release)
	require.NoError(t, <-result)
	require.NoError(t, e.Close(soon(t)))
}

// What is handled when the work is about to end would never be called.
func TestHandleWhileTheBusShutsDown(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	w1 := nodes["w1"]
	begun, release := make(chan struct{}), make(chan struct{})
	handle(t, w1.Scope, "wait", func(context.Context, int) (int, error) {
		close(begun)
		<-release
		return 1, nil
	})
	work(t, w1, caller)
	ended := make(chan error, 2)
	m := method[int, int](t, caller.Scope, "worker", "wait")
	go func() { _, err := m.Call(t.Context(), 1); ended <- err }()
	<-begun
	ctx := soon(t)
	go func() { ended <- w1.Shutdown(ctx) }()
	rolebustest.Eventually(t, "the roles are gone", func() bool { return caller.Nodes("worker").Len() == 0 })
	for _, s := range []*rolebus.Scope{w1.Scope, w1.In("other")} {
		_, err := call.Handle(s, "late", echo)
		require.ErrorIs(t, err, rolebus.ErrClosed)
	}
	require.NoError(t, w1.Err())
	close(release)
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
	_, err := call.Handle(w1.Scope, "late", echo)
	require.ErrorIs(t, err, rolebus.ErrClosed)
}

// Whoever has a role already is called as soon as Handle has returned.
func TestAMethodIsHeardWhenHandleReturns(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	work(t, nodes["w1"], caller)
	for i := range 200 {
		name := fmt.Sprint("m", i)
		m := method[string, string](t, caller.Scope, "worker", name)
		handle(t, nodes["w1"].Scope, name, echo)
		_, err := m.Call(soon(t), "x")
		require.NoError(t, err)
	}
}

func TestWhoIsNotNeededAnyMoreHasNotFailed(t *testing.T) {
	server := rolebustest.NewServer(t)
	log := &logged{}
	caller := server.Bus(rolebus.WithNode("caller"), log.to())
	for _, name := range []string{"quick", "slow-1", "slow-2", "broken"} {
		n := server.Bus(rolebus.WithNode(name))
		handle(t, n.Scope, "who", func(ctx context.Context, wait bool) (string, error) {
			switch {
			case name == "broken":
				return "", errors.New("broken")
			case name != "quick":
				<-ctx.Done()
			}
			return name, nil
		})
		work(t, n, caller)
	}
	m := method[bool, string](t, caller.Scope, "worker", "who")
	answers, err := m.First(soon(t), 1, true)
	require.NoError(t, err)
	require.Equal(t, "quick", answers[0].Value)
	for range m.All(soon(t), true) {
		break
	}
	assert.NotContains(t, log.String(), "attempt failed")

	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	answered := 0
	for range m.All(ctx, true) {
		if answered++; answered == 2 { // of whoever answers at all
			cancel()
		}
	}
	assert.Equal(t, 2, strings.Count(log.String(), "attempt failed"))
}

// A pause that begins with nothing grows all the same.
func TestABackoffFromNothing(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	work(t, nodes["w1"], caller)
	m := method[int, int](t, caller.Scope, "worker", "none", call.Retry(1000), call.Backoff(0, time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := m.Call(ctx, 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var failed *call.CallError
	require.ErrorAs(t, err, &failed)
	assert.Less(t, len(failed.Attempts), 20)
}

// An error whose text is longer than the server takes is told all the same, by what fits.
func TestAnErrorThatIsTooLarge(t *testing.T) {
	server := rolebustest.NewServer(t, func(o *server.Options) { o.MaxPayload = 8 << 10 })
	caller, w1 := server.Bus(rolebus.WithNode("caller")), server.Bus(rolebus.WithNode("w1"))
	handle(t, w1.Scope, "fail", func(_ context.Context, long bool) (string, error) {
		if long {
			return "", call.Error("long", strings.Repeat("x", 10_000))
		}
		panic(strings.Repeat("x", 10_000))
	})
	work(t, w1, caller)
	for _, b := range []*rolebus.Bus{caller, w1} {
		for long, code := range map[bool]string{true: "long", false: call.CodePanic} {
			_, err := method[bool, string](t, b.Scope, "worker", "fail").Call(soon(t), long)
			var remote *call.RemoteError
			require.ErrorAs(t, err, &remote)
			assert.Equal(t, code, remote.Code)
			assert.Contains(t, remote.Message, "xxx")
		}
	}
}
