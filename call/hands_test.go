package call_test

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Handlers that wait for one another come to an end only if none of them keeps another from running.
func TestHandlersRunAtTheSameTime(t *testing.T) {
	t.Parallel()
	const together, rounds = 200, 3
	caller, nodes := fleet(t, "w1")
	var turn sync.Mutex
	here, all := 0, make(chan struct{})
	e := handle(t, nodes["w1"].Scope, "meet", func(ctx context.Context, in int) (int, error) {
		turn.Lock()
		meet := all
		if here++; here == together {
			here, all = 0, make(chan struct{})
			close(meet)
		}
		turn.Unlock()
		select {
		case <-meet:
			return in, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}, call.Concurrency(together), call.Queue(rounds*together))
	work(t, nodes["w1"], caller)
	meet := method[int, int](t, caller.Scope, "worker", "meet")
	ctx := soon(t)
	var calls sync.WaitGroup
	for i := range rounds * together {
		calls.Go(func() {
			out, err := meet.Call(ctx, i)
			assert.NoError(t, err)
			assert.Equal(t, i, out)
		})
	}
	calls.Wait()
	assert.Equal(t, uint64(rounds*together), e.Stats().Requests)

	rolebustest.Eventually(t, "without calls no goroutine waits for them for long", func() bool { return hands() == 0 })
}

// hands is how many goroutines of this process run calls, or wait for some.
func hands() int {
	stacks := make([]byte, 1<<22)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "call.(*Endpoint).work(")
}

// Who calls one thing after another never finds the node busy with what it has the answer of, however long that takes to be logged.
func TestWhoHasTheAnswerIsNotInTheWay(t *testing.T) {
	t.Parallel()
	for queue := range 2 {
		const calls = 8
		log := &holdsServed{Handler: slog.DiscardHandler, release: make(chan struct{})}
		server := rolebustest.NewServer(t)
		caller, w1 := server.Bus(rolebus.WithNode("caller")), server.Bus(rolebus.WithNode("w1"), rolebus.WithLogger(slog.New(log)))
		t.Cleanup(sync.OnceFunc(func() { close(log.release) }))
		e := handle(t, w1.Scope, "echo", echo, call.Concurrency(1), call.Queue(queue))
		work(t, w1, caller)
		m := method[string, string](t, caller.Scope, "worker", "echo", call.Nodes("w1"))
		for range calls {
			_, err := m.Call(soon(t), "x")
			require.NoError(t, err)
		}
		require.Zero(t, e.Stats().Running)
		require.Equal(t, uint64(calls), e.Stats().Requests)
	}
}

// holdsServed is a handler of a log that takes long over the end of a call.
type holdsServed struct {
	slog.Handler
	release chan struct{}
}

func (h *holdsServed) Enabled(context.Context, slog.Level) bool { return true }
func (h *holdsServed) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *holdsServed) WithGroup(string) slog.Handler            { return h }
func (h *holdsServed) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "served" {
		<-h.release
	}
	return nil
}
