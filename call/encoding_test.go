package call_test

import (
	"context"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTooLargeInBothDirections(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	handle(t, nodes["w1"].Scope, "size", func(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil })
	handle(t, nodes["w1"].Scope, "len", func(_ context.Context, b []byte) (int, error) { return len(b), nil })
	work(t, nodes["w1"], caller)
	for who, scope := range map[string]*rolebus.Scope{"another": caller.Scope, "itself": nodes["w1"].Scope} {
		_, err := method[int, []byte](t, scope, "worker", "size", call.Retry(2), call.Idempotent()).Call(soon(t), 1<<20)
		require.ErrorIs(t, err, call.ErrTooLarge, who)
		_, err = method[[]byte, int](t, scope, "worker", "len", call.Retry(2)).Call(soon(t), make([]byte, 1<<20))
		require.ErrorIs(t, err, call.ErrTooLarge, who)
	}
}

func TestEncodings(t *testing.T) {
	caller, nodes := fleet(t, "w1")
	w1 := nodes["w1"]
	handle(t, w1.Scope, "raw", func(_ context.Context, b []byte) ([]byte, error) { return b, nil }, call.Encoding(call.Raw))
	handle(t, w1.Scope, "json", func(_ context.Context, n int) (any, error) {
		if n == 1 {
			return func() {}, nil
		}
		return "text", nil
	})
	work(t, w1, caller)
	raw := method[[]byte, []byte](t, caller.Scope, "worker", "raw", call.Encoding(call.Raw))
	out, err := raw.Call(soon(t), []byte{0, 1, 2})
	require.NoError(t, err)
	assert.Equal(t, []byte{0, 1, 2}, out)

	_, err = method[string, string](t, caller.Scope, "worker", "raw").Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrContentType)
	_, err = method[string, string](t, caller.Scope, "worker", "json").Call(soon(t), "x")
	require.ErrorIs(t, err, call.ErrDecode) // over there
	_, err = method[int, int](t, caller.Scope, "worker", "json").Call(soon(t), 2)
	require.ErrorIs(t, err, call.ErrDecode) // here
	_, err = method[int, any](t, caller.Scope, "worker", "json").Call(soon(t), 1)
	require.ErrorIs(t, err, call.ErrEncode) // over there
	_, err = method[func(), any](t, caller.Scope, "worker", "json").Call(soon(t), func() {})
	require.ErrorIs(t, err, call.ErrEncode) // here
}

func TestEveryBadOptionIsNamedAtOnce(t *testing.T) {
	caller, _ := fleet(t)
	_, err := call.New[string, string](caller.Scope, "", "", call.Timeout(-1), call.Retry(-1), call.Hedge(time.Second), nil,
		call.HashBy(func(int) string { return "" }), call.Sticky(), call.Backoff(2, 1), call.Encoding(nil), call.Choose(nil),
		call.WithHooks(nil, 3))
	require.ErrorIs(t, err, rolebus.ErrBadName)
	for _, part := range []string{"method", "role", "Timeout", "Retry", "Hedge", "option 4", "Backoff", "codec", "Choose", "hook 1", "hook 2"} {
		assert.Contains(t, err.Error(), part)
	}
	_, err = call.Handle(caller.Scope, "x", echo, call.Concurrency(0), call.Queue(-1), call.Extract(nil), nil)
	for _, part := range []string{"Concurrency", "Queue", "Extract", "option 4"} {
		assert.ErrorContains(t, err, part)
	}
	_, err = call.New[string, string](caller.Scope, "", "x")
	assert.EqualError(t, err, `rolebus: call "x" in scope "default": bad name: role is empty`)
	assert.Panics(t, func() { call.Func[int, int](caller.Scope, "x", "m", call.Retry(-1)) })
}
