package discoverytest

import (
	"fmt"
	"testing"

	"github.com/rolebus/rolebus/internal/found"
)

// Checks of lists: what is told of what the source says.

func firstList(tb testing.TB, s Subject) {
	src := s.New(tb)
	if checked, ok := src.Strategy.(interface{ Err() error }); ok && checked.Err() != nil {
		tb.Fatalf("discoverytest: the strategy is made wrongly: %v", checked.Err())
	}
	want := s.first(src)
	w := s.watch(tb, src.Strategy)
	w.lists(want)
	if named, ok := src.Strategy.(fmt.Stringer); ok {
		w.secret(named.String())
	}
	for _, a := range w.list() {
		if err := a.Check(); err != nil {
			tb.Errorf("discoverytest: an address that nobody can use: %v", err)
		}
	}
}

func changes(tb testing.TB, s Subject) {
	src := s.New(tb)
	src.Set(s.list(0, 1))
	w := s.watch(tb, src.Strategy)
	w.lists(s.list(0, 1))
	for _, numbers := range [][]int{{0, 1, 2}, {1, 2}, {1, 2, 3}, {4, 5}, {0, 1, 4, 5}} { // comes, goes, is another one
		src.Set(s.list(numbers...))
		w.lists(s.list(numbers...))
	}
}

func anyOrder(tb testing.TB, s Subject) {
	src := s.New(tb)
	src.Set(s.list(0, 1, 2))
	w := s.watch(tb, src.Strategy)
	w.lists(s.list(0, 1, 2))
	for _, numbers := range [][]int{{2, 1, 0}, {1, 2, 0}, {3, 0, 2}, {2, 3}, {0, 3, 2, 1}} {
		src.Set(s.list(numbers...))
		w.lists(s.list(numbers...))
	}
}

func duplicates(tb testing.TB, s Subject) {
	src := s.New(tb)
	src.Set(s.list(0, 0, 1, 1))
	w := s.watch(tb, src.Strategy)
	w.lists(s.list(0, 1))
	for _, numbers := range [][]int{{0, 0, 2, 2, 2}, {1, 1, 2}, {3, 4, 4}} {
		src.Set(s.list(numbers...))
		w.lists(s.list(numbers...))
	}
}

// onlyOne is also what a process finds that finds only itself.
func onlyOne(tb testing.TB, s Subject) {
	src := s.New(tb)
	src.Set(s.list(0))
	w := s.watch(tb, src.Strategy)
	w.lists(s.list(0))
	src.Set(s.list(0, 1))
	w.lists(s.list(0, 1))
	src.Set(s.list(0))
	w.lists(s.list(0))
}

// many: as many of them are told as anybody uses, and none that was not there. Few are told well again.
func many(tb testing.TB, s Subject) {
	src := s.New(tb)
	src.Set(s.list(0, 1))
	w := s.watch(tb, src.Strategy)
	w.lists(s.list(0, 1))
	all := make([]Address, s.Many)
	there := make(map[Address]bool, s.Many)
	for i := range all {
		all[i] = s.Address(i)
		there[all[i]] = true
	}
	src.Set(all)
	enough := min(s.Many, found.Most)
	w.await(fmt.Sprintf("the strategy lists at least %d of %d addresses", enough, s.Many), func() bool { return len(w.kept) >= enough })
	for _, a := range w.list() {
		if !there[a] {
			tb.Fatalf("discoverytest: of many addresses one is told that the source does not list: %v", a)
		}
	}
	src.Set(s.list(2, 3))
	w.lists(s.list(2, 3))
}

// empty: the source lists nothing. That is told, and what stood stays.
func empty(tb testing.TB, s Subject) {
	src := s.New(tb)
	src.Set(s.list(0, 1))
	w := s.watch(tb, src.Strategy)
	w.lists(s.list(0, 1))
	told := w.mark(true)
	w.guard(s.list(0, 1), s.list(0, 1))
	src.Set(nil)
	w.await("an empty list is told, as such or as an error", told)
	w.still(s.list(0, 1), "while the source lists nothing")

	late := s.watch(tb, src.Strategy) // there is nothing when it begins
	late.await("an empty list is told, as such or as an error, by a strategy that begins with it", func() bool { return late.told > 0 })
	late.still(nil, "of a source that lists nothing")
	w.guard(nil, s.list(0, 1, 2)) // who is heard one after another need not come back in one list
	for _, numbers := range [][]int{{1, 2}, {2, 3}} {
		src.Set(s.list(numbers...))
		w.lists(s.list(numbers...))
		w.guard(nil, nil)
		late.lists(s.list(numbers...))
	}
}

// part: what a list lacks stays, what it has comes; once it is whole, only that stands.
func part(tb testing.TB, s Subject) {
	src := s.New(tb)
	src.Set(s.list(0, 1, 2, 3))
	w := s.watch(tb, src.Strategy)
	w.lists(s.list(0, 1, 2, 3))
	told := w.mark(false)
	w.guard(s.list(0, 1, 2, 3), s.list(0, 1, 2, 3, 4))
	src.Part(s.list(0, 2))
	w.await("an error tells that a list lacks something", told)
	w.still(s.list(0, 1, 2, 3), "when a list came that lacks something")
	src.Part(s.list(0, 2, 4))
	w.lists(s.list(0, 1, 2, 3, 4))

	late := s.watch(tb, src.Strategy)
	late.lists(s.list(0, 2, 4))
	late.await("an error tells that the first list lacks something", func() bool { return late.errs > 0 })
	w.guard(nil, nil)
	for _, numbers := range [][]int{{0, 1, 5}, {5, 7}, {6, 8}} {
		src.Set(s.list(numbers...))
		w.lists(s.list(numbers...))
		late.lists(s.list(numbers...))
	}
}
