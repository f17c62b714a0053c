package discoverytest

import (
	"context"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
)

// Checks of strategies by which a process makes itself known.
var announcements = []check{
	{"comes and goes", Change, comesAndGoes},
	{"itself", Change, itself},
	{"several", Change, severalAnnounce},
	{"ends in time", Change, announceEnds},
	{"no address", Change, announceNothing},
}

// announcing is an Announce that runs.
type announcing struct {
	tb     testing.TB
	s      Subject
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once it is done
}

func (s Subject) announce(tb testing.TB, strategy Strategy, addresses []Address) *announcing {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := &announcing{tb: tb, s: s, cancel: cancel, done: make(chan struct{})}
	go func() { // joined by end
		defer close(a.done)
		a.err = strategy.(discovery.Announcer).Announce(ctx, addresses)
	}()
	tb.Cleanup(func() { a.end() })
	return a
}

// end ends it and returns how long that took.
func (a *announcing) end() time.Duration {
	a.tb.Helper()
	began := time.Now()
	a.cancel()
	timer := time.NewTimer(a.s.Within)
	defer timer.Stop()
	select {
	case <-a.done:
		if a.err != nil {
			a.tb.Errorf("discoverytest: Announce, cancelled, returns an error: %v", a.err)
		}
	case <-timer.C:
		a.tb.Errorf("discoverytest: Announce had not returned %v after its context was cancelled", a.s.Within)
	}
	return time.Since(began)
}

// comesAndGoes: what is announced is found by another process, until it is not announced any more. One address is there all the time, as
// an empty list lets nothing go.
func comesAndGoes(tb testing.TB, s Subject) {
	src := s.New(tb)
	src.Set(s.list(0, 3))
	w := s.watch(tb, src.Peer())
	w.lists(s.list(0, 3))
	for range 2 {
		a := s.announce(tb, src.Strategy, s.list(1, 2))
		w.lists(s.list(0, 1, 2, 3))
		a.end()
		w.lists(s.list(0, 3))
	}
}

// itself: who announces finds the others, and is no stranger to itself: it may list itself, or not.
func itself(tb testing.TB, s Subject) {
	src := s.New(tb)
	s.announce(tb, src.Strategy, s.list(0))
	others := s.watch(tb, src.Peer())
	others.lists(s.list(0))
	src.Set(s.list(1))
	w := s.watch(tb, src.Strategy)
	sees := func(numbers ...int) {
		tb.Helper()
		w.await("a process that announces itself lists the others, with or without itself", func() bool {
			return same(w.kept, s.list(numbers...)) || same(w.kept, s.list(append(numbers, 0)...))
		})
	}
	sees(1)
	src.Set(s.list(2, 3))
	sees(2, 3)
	others.lists(s.list(0, 2, 3))
}

// severalAnnounce: what two announce is there until neither does.
func severalAnnounce(tb testing.TB, s Subject) {
	src := s.New(tb)
	src.Set(s.list(0))
	w := s.watch(tb, src.Peer())
	one := s.announce(tb, src.Strategy, s.list(1))
	other := s.announce(tb, src.Peer(), s.list(2))
	w.lists(s.list(0, 1, 2))
	one.end()
	w.lists(s.list(0, 2))
	other.end()
	w.lists(s.list(0))
}

func announceEnds(tb testing.TB, s Subject) {
	src := s.New(tb)
	src.Set(s.list(0))
	var took time.Duration
	for range tries {
		if took = s.announce(tb, src.Strategy, s.list(1)).end(); took <= s.patience {
			return
		}
	}
	tb.Errorf("discoverytest: Announce returns %v after its context was cancelled, each of %d times: it is to return within %v", took, tries, s.patience)
}

// announceNothing: what can never be made known is an error at once.
func announceNothing(tb testing.TB, s Subject) {
	src := s.New(tb)
	for what, list := range map[string][]Address{"no address": nil, "an address without a host": {{Port: 4222}}, "a port that is none": {{Host: "a", Port: 70000}}} {
		ctx, cancel := context.WithTimeout(context.Background(), s.Within)
		err := src.Strategy.(discovery.Announcer).Announce(ctx, list)
		if err == nil || ctx.Err() != nil {
			tb.Errorf("discoverytest: Announce of %s is to return an error at once, and returned %v", what, err)
		}
		cancel()
	}
}
