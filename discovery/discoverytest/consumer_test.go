package discoverytest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// trusting uses a strategy as one should not: it believes all.
func trusting(_ testing.TB, s Strategy) (func() []Address, func()) {
	var mu sync.Mutex
	var kept []Address
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			func() {
				defer func() { _ = recover() }()
				_ = s.Discover(ctx, func(list []Address, _ error) {
					mu.Lock()
					defer mu.Unlock()
					kept = list
				})
			}()
		}
	}()
	return func() []Address { mu.Lock(); defer mu.Unlock(); return slices.Clone(kept) }, func() { cancel(); <-done }
}

// Whoever believes all is found out.
func TestATrustingConsumerIsFoundOut(t *testing.T) {
	survives := []string{"tells without end"} // which ends with the right list: it is there for those who cannot keep up
	for i, b := range Misbehaving(t) {
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			if strings.HasPrefix(b.Name, "ends its goroutine") {
				return // and that of whoever calls it: nothing could be told
			}
			within := 500 * time.Millisecond
			if slices.Contains(survives, b.Name) {
				within = time.Minute
			}
			try := func() string {
				return failuresOf(t, func(tb testing.TB) { Consumer{Use: trusting, Within: within}.uses(tb, Misbehaving(tb)[i]) })
			}
			if slices.Contains(survives, b.Name) {
				if got := try(); got != "" {
					t.Errorf("found out: %s", got)
				}
				return
			}
			for range 20 { // who calls again at once looks patient when the machine is busy just then
				if try() != "" {
					return
				}
			}
			t.Error("not found out")
		})
	}
}
