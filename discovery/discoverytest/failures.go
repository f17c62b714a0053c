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
	w.guard(s.list(0, 1), s.list(0, 1))
	fail()
	w.await(fmt.Sprintf("the failure %q is told as an error", name), told)
	w.still(s.list(0, 1), fmt.Sprintf("when the source failed (%s)", name))
	late := s.watch(tb, src.Strategy)
	late.await(fmt.Sprintf("the failure %q is told as an error by a strategy that begins with it", name), func() bool { return late.errs > 0 })
	late.still(nil, fmt.Sprintf("while the source fails (%s)", name))
	w.still(s.list(0, 1), fmt.Sprintf("while the source fails (%s)", name))

	w.guard(s.list(0), s.list(0, 1, 2))
	src.Set(s.list(0, 2)) // it works again
	w.lists(s.list(0, 2))
	w.guard(nil, nil)
	late.lists(s.list(0, 2))
	src.Set(s.list(1, 3))
	w.lists(s.list(1, 3))
	late.lists(s.list(1, 3))

	s.endsInTime(tb, fmt.Sprintf("while the source fails (%s)", name), func() *watcher {
		src.Set(s.list(3, 4))
		w := s.watch(tb, src.Strategy)
		w.lists(s.list(3, 4))
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
	for _, n := range []int{0, 2} { // that stays
		before, next := w.list(), s.list(n, n+2)
		w.guard(before, before)
		disturb()
		late := s.watch(tb, src.Strategy)
		late.lists(before)
		w.still(before, fmt.Sprintf("after %q", name))
		w.guard(s.list(n), append(before, next...))
		src.Set(next)
		w.lists(next)
		late.lists(next)
	}
	w.guard(nil, nil)
	s.endsInTime(tb, fmt.Sprintf("after %q", name), func() *watcher {
		src.Set(s.list(0, 1))
		w := s.watch(tb, src.Strategy)
		w.lists(s.list(0, 1))
		disturb()
		return w
	})
}
