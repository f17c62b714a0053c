package discoverytest

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
)

// What is against the contract, in whatever check it comes up.
func TestWhatIsAgainstTheContractIsSaid(t *testing.T) {
	for name, tc := range map[string]struct {
		discover func(ctx context.Context, found func([]Address, error), own []Address) error
		says     string
	}{
		"a panic": {func(context.Context, func([]Address, error), []Address) error { panic("oops") }, "Discover panicked: oops"},
		"the end of its goroutine": {func(context.Context, func([]Address, error), []Address) error {
			runtime.Goexit()
			return nil
		}, "runtime.Goexit"},
		"two at once": {func(ctx context.Context, found func([]Address, error), own []Address) error {
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for ctx.Err() == nil {
						found(own, nil)
					}
				})
			}
			all.Wait()
			return nil
		}, "by two goroutines at once"},
		"an error without a text": {func(ctx context.Context, found func([]Address, error), own []Address) error {
			found(own, (*discovery.Failure)(nil))
			<-ctx.Done()
			return nil
		}, "an error has no text: *discovery.Failure"},
		"a secret": {func(ctx context.Context, found func([]Address, error), own []Address) error {
			found(own, errors.New("GET http://me:hunter2@example"))
			<-ctx.Done()
			return nil
		}, "secret 1 of the subject is in what is told: GET http://me:(secret)@example"},
		"nothing": {func(ctx context.Context, found func([]Address, error), own []Address) error {
			<-ctx.Done()
			return nil
		}, "it did not come that the strategy lists"},
		"no end": {func(ctx context.Context, found func([]Address, error), own []Address) error {
			found(own, nil)
			select { // longer than Within
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
				time.Sleep(time.Second) // the breach itself
			}
			return nil
		}, "Discover had not returned 300ms after its context was cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := []Address{{Host: "a"}, {Host: "b"}}
			s := Subject{Within: 300 * time.Millisecond, Secrets: []string{"hunter2"}, Cannot: Change, New: func(testing.TB) Source {
				return Source{Lists: own, Strategy: Func(func(ctx context.Context, found func([]Address, error)) error {
					return tc.discover(ctx, found, own)
				})}
			}}
			s, _ = s.complete(t)
			got := failuresOf(t, func(tb testing.TB) { firstList(tb, s) })
			if !strings.Contains(got, tc.says) {
				t.Errorf("it says %q", got)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("it says the secret itself: %q", got)
			}
		})
	}
}

// What comes after the end is seen, as something still runs.
func TestWhatComesAfterTheEndIsSaid(t *testing.T) {
	late := make(chan func([]Address, error), 1)
	s, _ := subject(func(b *board) Strategy {
		return Func(func(ctx context.Context, found func([]Address, error)) error {
			found([]Address{{Host: "a"}}, nil)
			select {
			case late <- found:
			default:
			}
			<-ctx.Done()
			return nil
		})
	}).complete(t)
	got := failuresOf(t, func(tb testing.TB) {
		w := s.watch(tb, s.New(tb).Strategy)
		w.lists([]Address{{Host: "a"}})
		w.end()
		(<-late)(nil, errors.New("late"))
	})
	if !strings.Contains(got, "found was called after Discover had returned") {
		t.Errorf("it says %q", got)
	}
}

// A name with a secret, an address that nobody can use.
func TestTheFirstListIsLookedAt(t *testing.T) {
	s := Subject{Cannot: Change, Secrets: []string{"hunter2"}, New: func(testing.TB) Source {
		return Source{Lists: []Address{{Host: "a", Port: -1}}, Strategy: discovery.With(Func(func(_ context.Context, found func([]Address, error)) error {
			found([]Address{{Host: "a", Port: -1}}, nil)
			return nil
		}), discovery.Name("hunter2"))}
	}}
	s, src := s.complete(t)
	named := src.Strategy
	s.New = func(testing.TB) Source {
		return Source{Lists: src.Lists, Strategy: badlyNamed{named}}
	}
	got := failuresOf(t, func(tb testing.TB) { firstList(tb, s) })
	for _, says := range []string{"secret 1", "an address that nobody can use"} {
		if !strings.Contains(got, says) {
			t.Errorf("it does not say %q: %q", says, got)
		}
	}
}

// badlyNamed has a name, and tells addresses as they are.
type badlyNamed struct{ Strategy }

func (badlyNamed) String() string { return "source with hunter2" }

func (badlyNamed) Discover(ctx context.Context, found func([]Address, error)) error {
	found([]Address{{Host: "a", Port: -1}}, nil)
	return nil
}

// What was forgotten does not pass for what cannot be.
func TestASubjectThatIsNotCompleteIsRefused(t *testing.T) {
	whole := func() Source { return subject(nil).New(t) }
	for says, change := range map[string]func(s *Subject, src *Source){
		"Source.Strategy is nil":         func(_ *Subject, src *Source) { src.Strategy = nil },
		"Subject.Many: at least 3":       func(s *Subject, _ *Source) { s.Many = 2 },
		"Subject.Secrets: one is empty":  func(s *Subject, _ *Source) { s.Secrets = []string{""} },
		"Source.Set is nil: give it":     func(_ *Subject, src *Source) { src.Set = nil },
		"Source.Set is given, and":       func(s *Subject, _ *Source) { s.Cannot = Change },
		"Source.Lists is empty":          func(s *Subject, src *Source) { s.Cannot, src.Set = Change, nil },
		"Source.Lists is for a source":   func(_ *Subject, src *Source) { src.Lists = []Address{{Host: "a"}} },
		"Source.Part is nil":             func(_ *Subject, src *Source) { src.Part = nil },
		"Source.Part is given, and":      func(s *Subject, _ *Source) { s.Cannot = Part },
		"Source.Failures is empty":       func(_ *Subject, src *Source) { src.Failures = nil },
		"Source.Failures is given, and":  func(s *Subject, _ *Source) { s.Cannot = Fail },
		"Source.Nuisances is given, and": func(s *Subject, _ *Source) { s.Cannot = Change },
		"Source.Peer is nil, and":        func(_ *Subject, src *Source) { src.Peer = nil },
		"Source.Peer is given, and":      func(_ *Subject, src *Source) { src.Strategy = Func(nil) },
	} {
		src := whole()
		s := Subject{}
		change(&s, &src)
		s.New = func(testing.TB) Source { return src }
		got := failuresOf(t, func(tb testing.TB) { s.complete(tb) })
		if !strings.Contains(got, says) {
			t.Errorf("%q is not in %q", says, got)
		}
	}
	if got := failuresOf(t, func(tb testing.TB) { Subject{}.complete(tb) }); !strings.Contains(got, "Subject.New is nil") {
		t.Error(got)
	}
}

// Func is a strategy that cannot announce.
type Func func(ctx context.Context, found func([]Address, error)) error

func (f Func) Discover(ctx context.Context, found func([]Address, error)) error { return f(ctx, found) }
