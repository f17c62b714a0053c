package discoverytest

import (
	"context"
	"errors"
	"maps"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
)

// Checks of beginnings and ends.

// A busy machine may hold up who ends in time; it does not do so again and again.
const tries = 5

// endsInTime begins and cancels until Discover has once returned in time.
func (s Subject) endsInTime(tb testing.TB, when string, begin func() *watcher) {
	tb.Helper()
	var quickest time.Duration
	for try := range tries {
		took, err := begin().end()
		if err != nil {
			tb.Fatalf("discoverytest: Discover, cancelled %s, does not return", when)
		}
		if quickest = min(quickest, took); try == 0 {
			quickest = took
		}
		if took <= s.patience {
			return
		}
	}
	tb.Errorf("discoverytest: Discover, cancelled %s, returns after %v, of %d times the quickest: it is to return within %v", when, quickest, tries, s.patience)
}

func cancelled(tb testing.TB, s Subject) {
	src := s.New(tb)
	want := s.first(src)
	s.endsInTime(tb, "at once", func() *watcher { return s.watch(tb, src.Strategy) })
	s.endsInTime(tb, "when it had told a list", func() *watcher {
		w := s.watch(tb, src.Strategy)
		w.lists(want)
		return w
	})
}

// cancelledBefore: a context that was over before Discover was called.
func cancelledBefore(tb testing.TB, s Subject) {
	src := s.New(tb)
	s.first(src)
	s.endsInTime(tb, "before it was called", func() *watcher {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(errors.New("over before it began"))
		w := &watcher{tb: tb, s: s, cancel: func() {}, done: make(chan struct{}), moved: make(chan struct{})}
		go func() {
			defer close(w.done)
			if err, ok := w.discover(ctx, src.Strategy); ok && err != nil {
				w.failed("Discover returned an error: ", err)
			}
		}()
		tb.Cleanup(w.report)
		return w
	})
}

// twoAtOnce: each call of Discover stands for itself.
func twoAtOnce(tb testing.TB, s Subject) {
	src := s.New(tb)
	want := s.first(src)
	one, other := s.watch(tb, src.Strategy), s.watch(tb, src.Strategy)
	one.lists(want)
	other.lists(want)
	one.end()
	third := s.watch(tb, src.Strategy)
	third.lists(want)
	if s.Cannot&Change != 0 {
		return
	}
	for _, numbers := range [][]int{{0, 3}, {4, 5}} {
		src.Set(s.list(numbers...))
		other.lists(s.list(numbers...))
		third.lists(s.list(numbers...))
	}
}

// again: after an end all begins anew.
func again(tb testing.TB, s Subject) {
	src := s.New(tb)
	want := s.first(src)
	for round := range 4 {
		w := s.watch(tb, src.Strategy)
		w.lists(want)
		w.end()
		if s.Cannot&Change == 0 && round%2 == 1 {
			want = s.list(round, round+3)
			src.Set(want)
		}
	}
}

// nothingIsLeft counts what one more Discover after the other leaves behind. Some things may be kept for the next one, such as idle
// connections; they do not grow with the number of calls.
func nothingIsLeft(tb testing.TB, s Subject) {
	src := s.New(tb)
	want := s.first(src)
	kinds := slices.Sorted(maps.Keys(src.Failures))
	round := func(i int) {
		w := s.watch(tb, src.Strategy)
		w.lists(want)
		if len(kinds) > 0 && i%2 == 1 {
			told := w.mark(false)
			src.Failures[kinds[i/2%len(kinds)]]()
			w.await("a failure is told", told)
		}
		w.end()
		if len(kinds) > 0 {
			src.Set(want)
		}
	}
	for i := range 2 * max(1, len(kinds)) {
		round(i)
	}
	const rounds = 20
	goroutines, files := runtime.NumGoroutine(), openFiles()
	for i := range rounds {
		round(i)
	}
	grown := func(now, before int) bool { return now >= before+rounds/2 }
	deadline := time.Now().Add(s.Within)
	for grown(runtime.NumGoroutine(), goroutines) || grown(openFiles(), files) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			stacks = stacks[:runtime.Stack(stacks, true)]
			tb.Fatalf("discoverytest: after %d calls of Discover, each cancelled and over, there are %d goroutines, before %d, and %d open files, before %d:\n%s",
				rounds, runtime.NumGoroutine(), goroutines, openFiles(), files, stacks)
		}
		time.Sleep(5 * time.Millisecond) // there is nothing that would tell
	}
}

// openFiles counts the files and sockets of this process, 0 where the system does not show them, as on Windows.
func openFiles() int {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		if entries, err := os.ReadDir(dir); err == nil {
			return len(entries)
		}
	}
	return 0
}
