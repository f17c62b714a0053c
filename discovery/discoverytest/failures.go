package discoverytest

import (
	"fmt"
	"testing"
)

// failure: the source fails in one way. That is told, nothing is lost, and all goes on once it works again; also for who begins just then,
// and who ends.
func failure(tb testing.TB, s Subject, name string) {
	src := s.New(tb)
	fail := src.Failures[name]
	src.Set(s.list(0, 1))
	w := s.watch(tb, src.Strategy)
	w.lists(s.list(0, 1))

	told := w.mark(false)
	fail()
	w.await(fmt.Sprintf("the failure %q is told as an error", name), told)
	w.still(s.list(0, 1), fmt.Sprintf("when the source failed (%s)", name))
	late := s.watch(tb, src.Strategy)
	late.await(fmt.Sprintf("the failure %q is told as an error by a strategy that begins with it", name), func() bool { return late.errs > 0 })
	late.still(nil, fmt.Sprintf("while the source fails (%s)", name))
	w.still(s.list(0, 1), fmt.Sprintf("while the source fails (%s)", name))

	src.Set(s.list(0, 2)) // it works again
	w.lists(s.list(0, 2))
	late.lists(s.list(0, 2))
	src.Set(s.list(1))
	w.lists(s.list(1))
	late.lists(s.list(1))

	s.endsInTime(tb, fmt.Sprintf("while the source fails (%s)", name), func() *watcher {
		src.Set(s.list(3))
		w := s.watch(tb, src.Strategy)
		w.lists(s.list(3))
		told := w.mark(false)
		fail()
		w.await(fmt.Sprintf("the failure %q is told once more", name), told)
		return w
	})
}

// nuisance: the source lives through something. Nothing is lost, and changes are told.
func nuisance(tb testing.TB, s Subject, name string) {
	src := s.New(tb)
	disturb := src.Nuisances[name]
	src.Set(s.list(0, 1))
	w := s.watch(tb, src.Strategy)
	w.lists(s.list(0, 1))
	for _, numbers := range [][]int{{0, 2}, {3}} {
		before := w.list()
		disturb()
		late := s.watch(tb, src.Strategy)
		late.lists(before)
		w.still(before, fmt.Sprintf("after %q", name))
		src.Set(s.list(numbers...))
		w.lists(s.list(numbers...))
		late.lists(s.list(numbers...))
	}
	s.endsInTime(tb, fmt.Sprintf("after %q", name), func() *watcher {
		src.Set(s.list(0))
		w := s.watch(tb, src.Strategy)
		w.lists(s.list(0))
		disturb()
		return w
	})
}
