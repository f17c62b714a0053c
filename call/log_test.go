package call_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// logged is a log of every level, which is written by many goroutines.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

// to has a Bus log here.
func (l *logged) to() rolebus.Option {
	return rolebus.WithLogger(slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// of returns the lines about the calls of a method, in their order.
func (l *logged) of(t *testing.T, method string) (lines []map[string]any) {
	t.Helper()
	for text := range strings.Lines(l.String()) {
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		if line["method"] == method && line["role"] != nil {
			lines = append(lines, line)
		}
	}
	return lines
}

// part is what stands in a line under some keys.
func part(line map[string]any, keys ...string) (values []any) {
	for _, key := range keys {
		values = append(values, line[key])
	}
	return values
}

func TestTheLogTellsOfCallsAndAttempts(t *testing.T) {
	server := rolebustest.NewServer(t)
	log := &logged{}
	caller := server.Bus(rolebus.WithNode("caller"), log.to())
	w1, w2 := server.Bus(rolebus.WithNode("w1")), server.Bus(rolebus.WithNode("w2"))
	handle(t, w1.Scope, "echo", echo)
	work(t, w1, caller)
	work(t, w2, caller)
	last := call.Choose(func(nodes rolebus.Nodes) *rolebus.Node { return nodes.At(nodes.Len() - 1) }) // w2 first

	_, err := method[string, string](t, caller.Scope, "worker", "echo", last, call.Retry(4)).Call(soon(t), "x")
	require.NoError(t, err)
	lines := log.of(t, "echo")
	require.Len(t, lines, 2)
	keys := []string{"level", "msg", "scope", "role"}
	assert.Equal(t, []any{"WARN", "attempt failed", "default", "worker"}, part(lines[0], keys...))
	assert.Equal(t, []any{1., 5., "w2", "no"}, part(lines[0], "attempt", "of", "callee", "ran"))
	assert.Contains(t, lines[0]["error"], "no such method")
	assert.Equal(t, []any{"DEBUG", "call", "default", "worker"}, part(lines[1], keys...))
	assert.Equal(t, []any{2., "w1", nil}, part(lines[1], "attempts", "callee", "error"))

	_, err = method[string, string](t, caller.Scope, "worker", "none", last, call.Retry(2), call.Backoff(0, 0)).Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrNoMethod)
	lines = log.of(t, "none")
	require.Len(t, lines, 4)
	for i, line := range lines[:3] {
		assert.Equal(t, []any{"WARN", float64(i + 1), 3.}, part(line, "level", "attempt", "of"))
	}
	assert.Equal(t, []any{"ERROR", "call", 3., err.Error()}, part(lines[3], "level", "msg", "attempts", "error"))

	_, err = method[string, string](t, caller.Scope, "nobody", "nowhere").Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrNoNode)
	lines = log.of(t, "nowhere")
	require.Len(t, lines, 1)
	assert.Equal(t, []any{"ERROR", 0., err.Error()}, part(lines[0], "level", "attempts", "error"))
}

// Neither what goes to a handler nor what comes back is in any line, whatever becomes of the call, on both sides.
func TestNoPayloadIsInTheLog(t *testing.T) {
	const sent, returned = "open-sesame", "forty-thieves"
	server := rolebustest.NewServer(t)
	log := &logged{}
	caller := server.Bus(rolebus.WithNode("caller"), log.to())
	type out struct{ Text string }
	for _, name := range []string{"w1", "w2"} {
		b := server.Bus(rolebus.WithNode(name), log.to())
		handle(t, b.Scope, "answer", func(context.Context, string) (out, error) { return out{returned}, nil })
		handle(t, b.Scope, "fail", func(context.Context, string) (out, error) { return out{returned}, errors.New("told") })
		handle(t, b.Scope, "panic", func(context.Context, string) (out, error) { panic("told") })
		handle(t, b.Scope, "wait", func(ctx context.Context, _ string) (out, error) {
			<-ctx.Done()
			return out{returned}, ctx.Err()
		})
		handle(t, b.Scope, "raw", func(context.Context, string) ([]byte, error) { return []byte(returned), nil }, call.Encoding(call.Raw))
		handle(t, b.Scope, "large", func(context.Context, string) ([]string, error) {
			return []string{returned, strings.Repeat("x", 1<<20)}, nil
		})
		handle(t, b.Scope, "odd", func(context.Context, string) (any, error) { return []any{returned, func() {}}, nil })
		handle(t, b.Scope, "time", func(context.Context, time.Time) (string, error) { return returned, nil }) // whose decoder quotes what it gets
		handle(t, b.Scope, "number", func(context.Context, int) (string, error) { return returned, nil })
		work(t, b, caller)
	}
	results := map[string]error{"answer": nil, "fail": nil, "panic": nil, "wait": call.ErrTimeout, "raw": call.ErrContentType,
		"large": call.ErrTooLarge, "odd": call.ErrEncode, "number": call.ErrDecode, "time": call.ErrDecode, "none": call.ErrNoMethod}
	for name, want := range results {
		timeout := 20 * time.Second
		if name == "wait" {
			timeout = 50 * time.Millisecond
		}
		m := method[string, out](t, caller.Scope, "worker", name, call.Hash(), call.Retry(1), call.Idempotent(), call.Timeout(timeout))
		_, err := m.Call(soon(t), sent)
		if want != nil {
			require.ErrorIs(t, err, want, name)
		} else if name == "answer" {
			require.NoError(t, err)
		} else {
			var remote *call.RemoteError
			require.ErrorAs(t, err, &remote, name)
		}
		for range m.All(soon(t), sent) {
		}
		require.NoError(t, m.NotifyAll(soon(t), sent))
	}
	_, err := method[string, int](t, caller.Scope, "worker", "answer").Call(soon(t), sent)
	require.ErrorIs(t, err, call.ErrDecode) // here
	_, err = method[[]string, out](t, caller.Scope, "worker", "answer").Call(soon(t), []string{sent, strings.Repeat("x", 1<<20)})
	require.ErrorIs(t, err, call.ErrTooLarge)
	_, err = method[[]any, out](t, caller.Scope, "worker", "answer").Call(soon(t), []any{sent, func() {}})
	require.ErrorIs(t, err, call.ErrEncode)

	text := log.String()
	for name := range results {
		assert.Contains(t, text, `"method":"`+name+`"`)
	}
	assert.Contains(t, text, `"msg":"served"`)
	assert.NotContains(t, text, sent)
	assert.NotContains(t, text, returned)
}
