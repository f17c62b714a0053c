package call

import (
	"context"
	"sync"
	"time"
)

// handling is the context of a handler. It knows the call, and is over when the caller's time is up, when it is cancelled, or when the
// endpoint has no more time. What it takes to be told of that, a timer and a place among those that end with the endpoint, is made for
// a handler that waits for it: most return before they do.
type handling struct {
	base    context.Context // the endpoint's; nil of a call that is refused
	ends    time.Time
	serving *serving

	mu        sync.Mutex
	cancelled bool
	told      context.Context // nil until somebody waits
	end       context.CancelFunc
}

func (h *handling) Deadline() (time.Time, bool) { return h.ends, true }

func (h *handling) Done() <-chan struct{} { return h.teller().Done() }

func (h *handling) Err() error {
	h.mu.Lock()
	over := h.told != nil || h.cancelled || h.base.Err() != nil || !time.Now().Before(h.ends)
	h.mu.Unlock()
	if !over {
		return nil
	}
	return h.teller().Err() // which stays the same from now on
}

func (h *handling) Value(key any) any {
	if key == (servingKey{}) {
		return h.serving
	}
	h.mu.Lock()
	told := h.told
	h.mu.Unlock()
	if told == nil {
		told = h.base // which knows the cause, if it is over
	}
	return told.Value(key)
}

// teller returns what tells that it is over.
func (h *handling) teller() context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.told != nil:
	case h.cancelled:
		h.told, h.end = context.WithCancel(h.base)
		h.end()
	default:
		h.told, h.end = context.WithDeadline(h.base, h.ends)
	}
	return h.told
}

func (h *handling) cancel() {
	h.mu.Lock()
	end := h.end
	h.cancelled = true
	h.mu.Unlock()
	if end != nil {
		end()
	}
}

type servingKey struct{}

// withinOf returns the call within which, in the end, a call is made with a context: "" if no handler makes it.
func withinOf(ctx context.Context) string {
	if s, is := ctx.Value(servingKey{}).(*serving); is {
		return s.within
	}
	return ""
}
