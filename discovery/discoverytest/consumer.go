package discoverytest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// Consumer is whoever uses strategies.
type Consumer struct {
	// Use has it use a strategy, until stop, which returns when that has ended. list is what it uses now of what the strategy tells, in
	// any order; host and port suffice, if there is no more to be seen.
	Use func(tb testing.TB, s Strategy) (list func() []Address, stop func())
	// Within bounds how long anything is waited for that is to come. Default: 30 s.
	Within time.Duration
}

// Wrapper is a Consumer that makes another strategy of one.
func Wrapper(wrap func(s Strategy) Strategy) Consumer {
	return Consumer{Use: func(tb testing.TB, s Strategy) (func() []Address, func()) {
		// As one that trusts what it uses: what the inner strategy does wrong must not come through.
		var mu sync.Mutex
		var kept []Address
		var wrong []string
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		over := false
		go func() {
			defer close(done)
			_ = wrap(s).Discover(ctx, func(list []Address, err error) {
				mu.Lock()
				defer mu.Unlock()
				if over {
					wrong = append(wrong, "found was called after Discover had returned")
				}
				if err == nil && len(list) > 0 {
					kept = list // not a copy: nobody may change it
				}
				for _, a := range list {
					if bad := a.Check(); bad != nil {
						wrong = append(wrong, bad.Error())
					}
				}
				if err != nil && err.Error() == "" {
					wrong = append(wrong, "an error has no text")
				}
			})
			mu.Lock()
			defer mu.Unlock()
			over = true
		}()
		tb.Cleanup(func() {
			mu.Lock()
			defer mu.Unlock()
			for _, each := range slices.Compact(wrong) {
				tb.Errorf("discoverytest: it came through that %s", each)
			}
		})
		return func() []Address {
				mu.Lock()
				defer mu.Unlock()
				return slices.Clone(kept)
			}, func() {
				cancel()
				<-done
			}
	}}
}

// RunConsumer has a consumer use each of the strategies that [Misbehaving] makes, each in a subtest, which are parallel.
func RunConsumer(t *testing.T, c Consumer) {
	t.Helper()
	for i, b := range Misbehaving(t) {
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			c.uses(t, Misbehaving(t)[i])
		})
	}
}

// uses has it use one.
func (c Consumer) uses(tb testing.TB, b Bad) {
	tb.Helper()
	if c.Within == 0 {
		c.Within = 30 * time.Second
	}
	list, stop := c.Use(tb, b.Strategy)
	stopped := false
	end := func() {
		if stopped {
			return
		}
		stopped = true
		done := make(chan struct{})
		go func() { defer close(done); stop() }()
		select {
		case <-done:
		case <-time.After(c.Within):
			tb.Errorf("discoverytest: it does not stop: %v", b.Name)
		}
	}
	defer end()
	c.await(tb, fmt.Sprintf("it calls Discover %d times", b.Calls), func() bool { return len(b.Called()) >= b.Calls }, list)
	c.await(tb, "it uses "+describe(b.Lists), func() bool { return b.uses(list()) }, list)
	if at := b.Called(); len(at) > 1 {
		if pause := at[1].Sub(at[0]); pause < 100*time.Millisecond {
			tb.Errorf("discoverytest: Discover, which failed, was called again after %v: a source that fails is to be left in peace for a while", pause)
		}
	}
	if b.Act != nil {
		b.Act()
		c.stays(tb, b, list, "when it was used")
	}
	end()
	if b.Late != nil {
		before := list()
		b.Late()
		if now := list(); !sameHosts(before, now) {
			tb.Errorf("discoverytest: after its end it uses %s, and not %s any more", describe(now), describe(before))
		}
	}
}

// uses says whether a list is what is to be used.
func (b Bad) uses(list []Address) bool {
	if b.Most == 0 {
		return sameHosts(list, b.Lists)
	}
	in := map[string]bool{}
	for _, a := range b.Lists {
		in[a.HostPort()] = true
	}
	for _, a := range list {
		if !in[a.HostPort()] {
			return false
		}
	}
	return len(list) == b.Most
}

func (c Consumer) stays(tb testing.TB, b Bad, list func() []Address, when string) {
	tb.Helper()
	if now := list(); !b.uses(now) {
		tb.Errorf("discoverytest: %s, %q made it use %s, and not %s any more", when, b.Name, describe(now), describe(b.Lists))
	}
}

func (c Consumer) await(tb testing.TB, what string, so func() bool, list func() []Address) {
	tb.Helper()
	for deadline := time.Now().Add(c.Within); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("discoverytest: within %v it did not come that %s; it uses %s", c.Within, what, describe(list()))
		}
	}
}

// sameHosts says whether two lists have the same hosts and ports.
func sameHosts(a, b []Address) bool {
	return same(bare(a), bare(b))
}

func bare(list []Address) []Address {
	all := make([]Address, len(list))
	for i, a := range list {
		all[i] = Address{Host: a.HostPort()}
	}
	return all
}
