package call_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/assert"
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
