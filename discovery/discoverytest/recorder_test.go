package discoverytest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// recorder is a test that may fail.
type recorder struct {
	testing.TB // for what is not below

	mu       sync.Mutex
	failures []string
	cleanups []func()
}

// failuresOf runs a check, and returns how it failed.
func failuresOf(tb testing.TB, check func(tb testing.TB)) string {
	r := &recorder{TB: tb}
	r.inside(func() { check(r) })
	for len(r.cleanups) > 0 {
		last := len(r.cleanups) - 1
		cleanup := r.cleanups[last]
		r.cleanups = r.cleanups[:last]
		r.inside(cleanup)
	}
	return strings.Join(r.failures, "\n")
}

// inside calls it where FailNow may end the goroutine.
func (r *recorder) inside(f func()) {
	var wg sync.WaitGroup
	wg.Go(f)
	wg.Wait()
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Helper()          {}
func (r *recorder) FailNow()         { runtime.Goexit() }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.FailNow()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }
