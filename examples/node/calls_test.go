//go:build node

package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
)

// What main.js handles: it waits.
type (
	waitIn struct {
		Ms any `json:"ms"`
	}
	waitOut struct {
		Waited int `json:"waited"`
	}
)

const endless = 600_000 // milliseconds

func waitOf(t *testing.T, b *rolebus.Bus, method string, opts ...call.Option) *call.Method[waitIn, waitOut] {
	t.Helper()
	m, err := call.New[waitIn, waitOut](b.Scope, "js", method, opts...)
	require.NoError(t, err)
	return m
}

func handle[In, Out any](t *testing.T, b *rolebus.Bus, method string, f func(context.Context, In) (Out, error), opts ...call.HandleOption) *call.Endpoint {
	t.Helper()
	e, err := call.Handle(b.Scope, method, f, opts...)
	require.NoError(t, err)
	return e
}

// soon is a context for what must end soon.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// asked returns a channel that is told of each request for a method of the example, as soon as it is on its way.
func asked(t *testing.T, server *rolebustest.Server) <-chan *nats.Msg {
	t.Helper()
	requests := make(chan *nats.Msg, 100)
	nc := server.Conn()
	_, err := nc.ChanSubscribe("rolebus.call.default.js.*.wait", requests)
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	return requests
}

// cancelled waits until so many calls were cancelled in the example, and returns why the last one was.
func (c *child) cancelled(t *testing.T, n int) (why string) {
	t.Helper()
	rolebustest.Eventually(t, "js to hear that nobody waits any more", func() bool {
		events := slices.DeleteFunc(c.all(), func(ev event) bool { return ev.Event != "cancelled" })
		if len(events) >= n {
			require.NoError(t, json.Unmarshal(events[n-1].Error, &why))
		}
		return len(events) >= n
	})
	return why
}

// result is what became of a call that the example made.
type result struct {
	Kind, Code, Ran, Message string

	output string
}

// result waits for the result of the n-th call.
func (c *child) result(t *testing.T, n int) (r result) {
	t.Helper()
	rolebustest.Eventually(t, "js to hear an answer", func() bool {
		events := slices.DeleteFunc(c.all(), func(ev event) bool { return ev.Event != "answer" })
		if len(events) < n {
			return false
		}
		r.output = string(events[n-1].Output)
		if events[n-1].Error != nil {
			require.NoError(t, json.Unmarshal(events[n-1].Error, &r))
		}
		return true
	})
	return r
}

func TestGoCallsIt(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	web := bus(server, "web")
	js := start(t, server.URL(), "größe 1", long, "js")
	rolebustest.WaitNodes(t, web, "js", 1)
	wait := waitOf(t, web, "wait")

	out, err := wait.Call(soon(t), waitIn{20})
	require.NoError(t, err)
	require.Equal(t, waitOut{20}, out)
	answers, err := wait.First(soon(t), 1, waitIn{1})
	require.NoError(t, err)
	require.Equal(t, waitOut{1}, answers[0].Value)

	_, err = wait.Call(soon(t), waitIn{-1})
	var remote *call.RemoteError
	require.ErrorAs(t, err, &remote)
	require.Equal(t, call.RemoteError{
		Node: "größe 1", Incarnation: remote.Incarnation, Method: "wait", Code: "BAD_MS", Message: "ms is -1, must be a number and not negative",
	}, *remote)

	_, err = waitOf(t, web, "größe").Call(soon(t), waitIn{1})
	require.ErrorIs(t, err, call.ErrNoMethod)
	raw, err := call.New[string, string](web.Scope, "js", "wait", call.Encoding(call.Raw))
	require.NoError(t, err)
	_, err = raw.Call(soon(t), `{"ms":1}`)
	require.ErrorIs(t, err, call.ErrContentType)

	_, err = waitOf(t, web, "wait", call.Timeout(100*time.Millisecond)).Call(soon(t), waitIn{endless})
	require.ErrorIs(t, err, call.ErrTimeout)
	require.Regexp(t, "time is over|given up", js.cancelled(t, 1))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = waitOf(t, web, "wait", call.Timeout(time.Hour)).Call(ctx, waitIn{endless})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Regexp(t, "time is over|given up", js.cancelled(t, 2))
	given, giveUp := context.WithCancel(t.Context())
	stop := time.AfterFunc(100*time.Millisecond, giveUp)
	defer stop.Stop()
	_, err = wait.Call(given, waitIn{endless})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "its caller has given up", js.cancelled(t, 3))

	require.NoError(t, wait.Notify(soon(t), waitIn{1}))
	out, err = wait.Call(soon(t), waitIn{2})
	require.NoError(t, err, "and what is never answered has done no harm")
	require.Equal(t, waitOut{2}, out)
}

// Whoever sees it can call it at once: it listens before its record is there.
func TestItListensBeforeItIsSeen(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	web := bus(server, "web")
	wait := waitOf(t, web, "wait")
	for range 3 {
		js := start(t, server.URL(), "js", long, "js")
		snap, err := web.Wait(soon(t), func(snap *rolebus.Snapshot) bool { return snap.Nodes("js").Len() > 0 })
		require.NoError(t, err)
		_, err = wait.CallNode(soon(t), snap.Node("js"), waitIn{0})
		require.NoError(t, err)
		js.say(t, `{"leave":true}`)
		require.Equal(t, 0, js.wait(t), js)
		_, err = wait.CallNode(soon(t), snap.Node("js"), waitIn{0})
		require.ErrorIs(t, err, call.ErrUnreachable)
	}
}

func TestItDrains(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	web := bus(server, "web")
	js := start(t, server.URL(), "js", long, "js")
	rolebustest.WaitNodes(t, web, "js", 1)
	node := web.Nodes("js").Find("js")
	wait := waitOf(t, web, "wait")
	requests, accepted := asked(t, server), make(chan error, 1)
	go func() {
		_, err := wait.CallNode(soon(t), node, waitIn{2500})
		accepted <- err
	}()
	<-requests
	js.say(t, `{"leave":true}`)
	rolebustest.WaitNodes(t, web, "js", 0)
	rolebustest.Eventually(t, "what is new to be refused", func() bool {
		_, err := wait.CallNode(soon(t), node, waitIn{0})
		if err != nil {
			require.ErrorIs(t, err, call.ErrDraining)
		}
		return err != nil
	})
	require.NoError(t, <-accepted)
	require.Equal(t, 0, js.wait(t), js)
}

// Calls of who has died end, on either side.
func TestCallsOfTheDeadEnd(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	link := server.Link()
	web := link.Bus(rolebus.WithNode("web"), rolebus.WithTTL(ttl))
	began, over := make(chan struct{}, 1), make(chan struct{}, 1)
	other := bus(server, "other", rolebus.WithRoles("go"))
	handle(t, other, "endless", func(ctx context.Context, _ any) (string, error) {
		began <- struct{}{}
		<-ctx.Done()
		over <- struct{}{}
		return "", ctx.Err()
	})
	js := start(t, server.URL(), "js", long, "js")
	rolebustest.WaitNodes(t, web, "js", 1)
	js.waitNodes(t, map[string][]string{"js": {"js"}, "web": {}, "other": {"go"}})

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	requests, ended := asked(t, server), make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = waitOf(t, web, "wait", call.Timeout(time.Hour)).Call(ctx, waitIn{endless})
	}()
	<-requests
	link.Cut()
	require.Equal(t, "its caller is gone", js.cancelled(t, 1))
	cancel()
	<-ended

	js.say(t, `{"call":{"role":"go","method":"endless","timeout":600000}}`)
	<-began
	js.kill()
	select {
	case <-over:
	case <-soon(t).Done():
		require.Fail(t, "it runs on")
	}
}

func TestItCallsGo(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	web := bus(server, "web", rolebus.WithRoles("go"))
	handle(t, web, "größe", func(_ context.Context, in []int) (map[string]int, error) {
		if len(in) == 0 {
			return nil, call.Error("EMPTY", "nothing\nat all: ü")
		}
		return map[string]int{"n": len(in)}, nil
	})
	handle(t, web, "plain", func(context.Context, any) (any, error) { return nil, errors.New("no code") })
	endless := handle(t, web, "endless", func(ctx context.Context, _ any) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
	handle(t, web, "long", func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil })
	handle(t, web, "raw", func(context.Context, string) (string, error) { return "x", nil }, call.Encoding(call.Raw))
	js := start(t, server.URL(), "js", long, "js")
	js.waitNodes(t, map[string][]string{"js": {"js"}, "web": {"go"}})

	for i, tc := range []struct {
		call   string
		output string
		want   result // Message: a part of it
	}{
		{call: `{"role":"go","method":"größe","input":[1,2,3]}`, output: `{"n":3}`},
		{call: `{"node":"web","method":"größe","input":[1]}`, output: `{"n":1}`},
		{call: `{"role":"js","method":"wait","input":{"ms":1}}`, output: `{"waited":1}`},
		{call: `{"role":"go","method":"größe","input":[]}`, want: result{Kind: "failed", Code: "EMPTY", Ran: "yes", Message: "nothing\nat all: ü"}},
		{call: `{"role":"go","method":"plain"}`, want: result{Kind: "failed", Code: "unknown", Ran: "yes", Message: "no code"}},
		{call: `{"role":"go","method":"größe","input":"text"}`, want: result{Kind: "decode", Ran: "no"}},
		{call: `{"role":"go","method":"raw"}`, want: result{Kind: "content-type", Ran: "no"}},
		{call: `{"role":"go","method":"long","input":2000000}`, want: result{Kind: "too-large", Ran: "yes"}},
		{call: `{"role":"go","method":"unknown"}`, want: result{Kind: "no-method", Ran: "no"}},
		{call: `{"role":"nobody","method":"größe"}`, want: result{Kind: "no-node", Ran: "no"}},
		{call: `{"role":"go","method":"endless","timeout":100}`, want: result{Kind: "timeout", Ran: "maybe"}},
		{call: `{"role":"go","method":"endless","timeout":600000,"cancel":100}`, want: result{Kind: "TimeoutError"}}, // of AbortSignal
	} {
		js.say(t, `{"call":`+tc.call+`}`)
		got := js.result(t, i+1)
		require.Equal(t, tc.output, got.output, tc.call)
		require.Contains(t, got.Message, tc.want.Message, tc.call)
		got.output, got.Message, tc.want.Message = "", "", ""
		require.Equal(t, tc.want, got, tc.call)
	}
	rolebustest.Eventually(t, "Go to hear that nobody waits any more", func() bool { return endless.Stats().Requests == 2 })
}

// A call does not wait for a node that goes.
func TestItsCallEndsWithTheNode(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	link := server.Link()
	web := link.Bus(rolebus.WithNode("web"), rolebus.WithTTL(ttl), rolebus.WithRoles("go"))
	began := make(chan struct{}, 1)
	handle(t, web, "endless", func(ctx context.Context, _ any) (string, error) {
		began <- struct{}{}
		<-ctx.Done()
		return "", ctx.Err()
	})
	js := start(t, server.URL(), "js", long, "js")
	js.waitNodes(t, map[string][]string{"js": {"js"}, "web": {"go"}})
	js.say(t, `{"call":{"role":"go","method":"endless","timeout":600000}}`)
	<-began
	link.Cut()
	require.Equal(t, result{Kind: "unreachable", Ran: "maybe", Message: "unreachable: web has gone"}, js.result(t, 1))
}
