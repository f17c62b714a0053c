package call

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// A handler's context is over in the same way whether anybody waits for it or only looks.
func TestAHandlersContextIsOver(t *testing.T) {
	for name, tc := range map[string]struct {
		end        func(h *handling, base context.CancelCauseFunc)
		err, cause error
	}{
		"its time is up": {func(*handling, context.CancelCauseFunc) { time.Sleep(time.Second) }, context.DeadlineExceeded, context.DeadlineExceeded},
		"cancelled":      {func(h *handling, _ context.CancelCauseFunc) { h.cancel() }, context.Canceled, context.Canceled},
		"no more time":   {func(_ *handling, base context.CancelCauseFunc) { base(errClosing) }, context.Canceled, errClosing},
	} {
		for waits, wait := range map[string]func(*handling) context.Context{
			"nobody waits":  func(h *handling) context.Context { return h },
			"it is awaited": func(h *handling) context.Context { h.Done(); return h },
			"another one depends on it": func(h *handling) context.Context {
				ctx, cancel := context.WithCancel(context.WithValue(h, traceOf{}, "value"))
				t.Cleanup(cancel)
				return ctx
			},
		} {
			t.Run(name+"/"+waits, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					base, end := context.WithCancelCause(context.Background())
					defer end(nil)
					s := &serving{within: "x"}
					h := &handling{base: base, ends: time.Now().Add(time.Second), serving: s}
					defer h.cancel()
					ctx := wait(h)
					assert.NoError(t, ctx.Err())
					assert.NoError(t, context.Cause(ctx))
					deadline, has := ctx.Deadline()
					assert.True(t, has)
					assert.Equal(t, time.Second, time.Until(deadline))
					assert.Equal(t, "x", withinOf(ctx))

					tc.end(h, end)
					synctest.Wait()
					assert.Equal(t, tc.err, ctx.Err())
					assert.Equal(t, tc.cause, context.Cause(ctx))
					assert.Equal(t, "x", withinOf(ctx))
					<-ctx.Done()
					h.cancel()
					end(errClosing)
					assert.Equal(t, tc.err, ctx.Err(), "as it ended first")
				})
			})
		}
	}
}

type traceOf struct{}
