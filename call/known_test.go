package call_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What ended a call between two attempts is told beside what ended the last one.
func TestWhatEndsACallBetweenAttempts(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	work(t, nodes["w1"], caller)
	m := method[string, string](t, caller.Scope, "worker", "none", call.Retry(5), call.Backoff(time.Hour, time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := m.Call(ctx, "x")
	require.ErrorIs(t, err, call.ErrNoMethod)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	asked := make(chan call.AttemptInfo, 1)
	m = method[string, string](t, caller.Scope, "worker", "none", call.Retry(5), call.Backoff(time.Hour, time.Hour), call.WithHooks(attempts{asked}))
	go func() { <-asked; _ = caller.Close() }()
	_, err = m.Call(t.Context(), "x")
	require.ErrorIs(t, err, call.ErrNoMethod)
	require.ErrorIs(t, err, rolebus.ErrClosed)
}

type attempts struct{ made chan call.AttemptInfo }

func (h attempts) OnAttempt(info call.AttemptInfo) { h.made <- info }

// A caller that changes its mind is no fault of the node, nor is an input that nobody could be sent.
func TestStickyStaysThroughWhatSaysNothingOfTheNode(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2", "w3", "w4")
	begun := make(chan struct{})
	for name, n := range nodes {
		handle(t, n.Scope, "who", func(ctx context.Context, in string) (string, error) {
			if in == "hang" {
				begun <- struct{}{}
				<-ctx.Done()
			}
			return name, nil
		})
		work(t, n, caller)
	}
	m := method[string, string](t, caller.Scope, "worker", "who", call.Sticky())
	first, err := m.Call(soon(t), "x")
	require.NoError(t, err)
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-begun; cancel() }()
		_, err := m.Call(ctx, "hang")
		require.ErrorIs(t, err, context.Canceled)
		_, err = m.Call(soon(t), strings.Repeat("x", 1<<20))
		require.ErrorIs(t, err, call.ErrTooLarge)
		name, err := m.Call(soon(t), "x")
		require.NoError(t, err)
		require.Equal(t, first, name)
	}
}

// Of several calls that end with the first that fails, as in an errgroup, each is told what is known of itself.
func TestTheErrorOfAnotherCallThatEndedThisOne(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	begun := make(chan struct{})
	handle(t, nodes["w1"].Scope, "wait", func(ctx context.Context, fail bool) (int, error) {
		if fail {
			return 0, call.Error("no", "not so")
		}
		close(begun)
		<-ctx.Done()
		return 0, ctx.Err()
	})
	work(t, nodes["w1"], caller)
	m := method[bool, int](t, caller.Scope, "worker", "wait")
	_, first := m.Call(soon(t), true)
	_, none := method[bool, int](t, caller.Scope, "nobody", "wait").Call(soon(t), true)
	require.ErrorIs(t, none, call.ErrNoNode)
	ctx, cancel := context.WithCancelCause(soon(t))
	go func() { <-begun; cancel(errors.Join(first, none)) }()
	_, err := m.Call(ctx, false)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "not so", "why it was cancelled is told")
	require.NotErrorIs(t, err, call.ErrNoNode)
	var remote *call.RemoteError
	require.NotErrorAs(t, err, &remote)
	var failed *call.CallError
	require.ErrorAs(t, err, &failed)
	assert.True(t, failed.MayHaveRun())

	why := errors.New("why")
	ctx, cancel = context.WithCancelCause(t.Context())
	cancel(why)
	_, err = m.Call(ctx, false)
	require.ErrorIs(t, err, why)
}

// It is the same whether a node is called by another process or by itself.
func TestWhatANodeAnswersItselfIsTheCallersOwn(t *testing.T) {
	_, nodes := fleet(t, "w1")
	kept := []byte("kept")
	handle(t, nodes["w1"].Scope, "raw", func(context.Context, []byte) ([]byte, error) { return kept, nil }, call.Encoding(call.Raw))
	require.NoError(t, nodes["w1"].AddRoles(soon(t), "worker"))
	out, err := method[[]byte, []byte](t, nodes["w1"].Scope, "worker", "raw", call.Encoding(call.Raw)).Call(soon(t), nil)
	require.NoError(t, err)
	clear(out)
	assert.Equal(t, "kept", string(kept))
}

// Nobody waits for a notification: it waits for its turn.
func TestANotificationToItselfWaitsForItsTurn(t *testing.T) {
	_, nodes := fleet(t, "w1")
	var note *call.Method[int, int]
	var e *call.Endpoint
	e = handle(t, nodes["w1"].Scope, "note", func(ctx context.Context, notes int) (waiting int, err error) {
		for range notes {
			err = errors.Join(err, note.Notify(ctx, 0))
		}
		return e.Stats().Waiting, err
	}, call.Concurrency(1))
	require.NoError(t, nodes["w1"].AddRoles(soon(t), "worker"))
	note = method[int, int](t, nodes["w1"].Scope, "worker", "note")
	waiting, err := note.Call(soon(t), 20)
	require.NoError(t, err)
	assert.Equal(t, 20, waiting)
}

// A caller that was cancelled in error, as one that seemed to have gone, hears that, and not an error of the handler's own.
func TestACancelledHandlersErrorIsNotItsOwn(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	begun := make(chan struct{})
	handle(t, nodes["w1"].Scope, "wait", func(ctx context.Context, _ int) (int, error) {
		close(begun)
		<-ctx.Done()
		return 0, ctx.Err()
	})
	work(t, nodes["w1"], caller)
	nc := caller.Conn()
	answers, err := nc.SubscribeSync("answers")
	require.NoError(t, err)
	subject := caller.Address("call", caller.Snapshot().Node("w1"), "wait")
	require.NoError(t, nc.PublishRequest(subject, "answers", []byte("1")))
	<-begun
	require.NoError(t, nc.PublishMsg(&nats.Msg{Subject: subject, Header: nats.Header{"Rolebus-Call": {"cancel"}}, Data: []byte("answers")}))
	answer, err := answers.NextMsgWithContext(soon(t))
	require.NoError(t, err)
	assert.Equal(t, "canceled", answer.Header.Get("Rolebus-Call"))
}

func TestCloseSaysWhyItDidNotWait(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	begun, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	e := handle(t, nodes["w1"].Scope, "stuck", func(context.Context, int) (int, error) {
		close(begun)
		<-release
		return 0, nil
	})
	work(t, nodes["w1"], caller)
	require.NoError(t, method[int, int](t, caller.Scope, "worker", "stuck").Notify(soon(t), 1))
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := e.Close(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, call.ErrTimeout)
	require.NoError(t, nodes["w1"].Close())
	require.ErrorIs(t, e.Close(t.Context()), rolebus.ErrClosed)
}

func TestAHandlerCallsItsOwnRoleByWayOfAnotherNode(t *testing.T) {
	server := rolebustest.NewServer(t)
	a, b := server.Bus(rolebus.WithNode("a")), server.Bus(rolebus.WithNode("b"))
	both := map[*rolebus.Bus]*rolebus.Bus{a: b, b: a}
	for own, other := range both {
		down := method[int, int](t, own.Scope, "worker", "down", call.Nodes(other.Name()))
		handle(t, own.Scope, "down", func(ctx context.Context, in int) (int, error) {
			if in == 0 {
				return 0, nil
			}
			out, err := down.Call(ctx, in-1)
			return out + 1, err
		}, call.Concurrency(1), call.Queue(0))
	}
	work(t, a, b)
	work(t, b, a)
	down := method[int, int](t, a.Scope, "worker", "down", call.Nodes("b"))
	out, err := down.Call(soon(t), 6)
	require.NoError(t, err)
	assert.Equal(t, 6, out)

	// There is an end to it.
	_, err = down.Call(soon(t), 1000)
	var remote *call.RemoteError
	require.ErrorAs(t, err, &remote)
	assert.Contains(t, remote.Message, "busy")
}

func TestWhatCannotBeCalled(t *testing.T) {
	caller, _ := fleet(t)
	m := method[string, string](t, caller.Scope, "worker", "echo")
	var none context.Context
	_, err := m.Call(none, "x")
	require.ErrorContains(t, err, "nil context")
	_, err = m.CallNode(soon(t), nil, "x")
	require.ErrorIs(t, err, call.ErrNoNode)
	assert.PanicsWithValue(t, "rolebus: a method that is not made by New", func() { _, _ = (&call.Method[string, string]{}).Call(soon(t), "x") })
	_, err = call.New[string, string](caller.In(""), "worker", "echo")
	require.ErrorIs(t, err, rolebus.ErrBadName)
	_, err = call.New[string, string](nil, "worker", "echo")
	require.ErrorContains(t, err, "nil scope")
	_, err = call.Handle(nil, "echo", echo)
	require.ErrorContains(t, err, "nil scope")
}
