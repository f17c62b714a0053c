//go:build long

package discoverytest

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// broken are strategies that do one thing wrong, with the checks that are to find it, and how the first of these says so; after a "?" it
// is chance. All others must pass: so no check fails by chance, and none cannot fail.
var broken = []flawed{
	{"is made wrongly", func(b *board) Strategy { return wronglyMade{reader{b}} }, "the first list", "made wrongly: no name"},
	{"lets nothing go", func(b *board) Strategy {
		return perCall(b, func() twist {
			var all []Address
			return func(list []Address, err error) ([]Address, error) {
				all = append(all, list...)
				return all, err
			}
		})
	}, "changes, any order, duplicates, only one, many, empty, part, two at once, failure/refuses, failure/hangs, nuisance/the same again, announce/comes and goes, announce/itself, announce/several", "it did not come that the strategy lists [nats://10.0.0.2:4222 nats://10.0.0.3:4222]"},
	{"wants order", twisted(func(list []Address, err error) ([]Address, error) {
		if !slices.IsSortedFunc(list, func(a, b Address) int { return strings.Compare(a.Host, b.Host) }) && len(list) < 100 {
			return nil, errors.New("no order")
		}
		return list, err
	}), "any order, announce/comes and goes, announce/itself, ?announce/several", "no order"},
	{"refuses duplicates", twisted(func(list []Address, err error) ([]Address, error) {
		seen := map[Address]bool{}
		for _, a := range list {
			if seen[a] {
				return nil, errors.New("twice")
			}
			seen[a] = true
		}
		return list, err
	}), "duplicates", "twice"},
	{"ignores a list of one", twisted(func(list []Address, err error) ([]Address, error) {
		if len(list) == 1 && err == nil {
			return nil, errors.New("only me")
		}
		return list, err
	}), "only one, announce/itself, announce/several", "only me"},
	{"cannot tell many", twisted(func(list []Address, err error) ([]Address, error) {
		if len(list) > 1000 {
			return nil, errors.New("too long")
		}
		return list, err
	}), "many", "at least 1024 of 10000"},
	{"invents some of many", twisted(func(list []Address, err error) ([]Address, error) {
		if len(list) > 1000 {
			list[7].Port++
		}
		return list, err
	}), "many", "one is told that the source does not list: nats://10.0.0.8:4223"},
	{"is silent about nothing", silentAbout(func(err error) bool { return errors.Is(err, errEmpty) }), "empty", "an empty list is told"},
	{"takes nothing for a list", twisted(func(list []Address, err error) ([]Address, error) {
		if errors.Is(err, errEmpty) {
			return []Address{{Host: "localhost"}}, nil
		}
		return list, err
	}), "empty", "an empty list is told"},
	{"tells nothing, and something else", twistedAlso(func(err error) bool { return errors.Is(err, errEmpty) }), "empty", "while the source lists nothing, what stood is lost"},
	{"takes a part for all", twistedAlso(func(err error) bool { return errors.Is(err, errPart) }), "part", "when a list came that lacks something, what stood is lost"},
	{"is silent about what lacks", twisted(func(list []Address, err error) ([]Address, error) {
		if errors.Is(err, errPart) {
			err = nil
		}
		return list, err
	}), "part", "an error tells that a list lacks something"},
	{"tells no part", twisted(func(list []Address, err error) ([]Address, error) {
		if errors.Is(err, errPart) {
			list = nil
		}
		return list, err
	}), "part", "the strategy lists [nats://10.0.0.1:4222 nats://10.0.0.2:4222 nats://10.0.0.3:4222 nats://10.0.0.4:4222 nats://10.0.0.5:4222]"},
	{"is silent about a failure", silentAbout(func(err error) bool { return errors.Is(err, errRefused) }), "failure/refuses, nothing is left", `the failure "refuses" is told`},
	{"is silent about silence", silentAbout(func(err error) bool { return errors.Is(err, errSilent) }), "failure/hangs, nothing is left", `the failure "hangs" is told`},
	{"fails without a word", twisted(func(list []Address, err error) ([]Address, error) {
		if errors.Is(err, errRefused) {
			err = wordless{}
		}
		return list, err
	}), "failure/refuses, nothing is left", "an error has no text: discoverytest.wordless"},
	{"loses all by a failure", twistedAlso(func(err error) bool { return errors.Is(err, errRefused) }), "failure/refuses", "when the source failed (refuses), what stood is lost"},
	{"stops at a failure", func(b *board) Strategy {
		return Func(func(ctx context.Context, found func([]Address, error)) error {
			within, cancel := context.WithCancel(ctx)
			defer cancel()
			_ = reader{b}.Discover(within, func(list []Address, err error) {
				if found(list, err); errors.Is(err, errRefused) {
					cancel()
				}
			})
			return nil
		})
	}, "failure/refuses", "Discover returned nil"},
	{"does not survive a nuisance", func(b *board) Strategy {
		return perCall(b, func() twist {
			var last []Address
			return func(list []Address, err error) ([]Address, error) {
				if last != nil && slices.Equal(last, list) {
					return []Address{{Host: "localhost"}}, nil
				}
				last = list
				return list, err
			}
		})
	}, "nuisance/the same again", "what stood is lost"},
	{"ends late", func(b *board) Strategy { return slowEnd{reader{b}, func(context.Context) bool { return true }} },
		"cancel, cancelled before, failure/refuses, failure/hangs, nuisance/the same again", "it is to return within"},
	{"ends late what never began", func(b *board) Strategy {
		return slowEnd{reader{b}, func(ctx context.Context) bool { return context.Cause(ctx) != context.Canceled }}
	}, "cancelled before", "cancelled before it was called, returns after"},
	{"serves one at a time", func(b *board) Strategy {
		one := make(chan struct{}, 1)
		return Func(func(ctx context.Context, found func([]Address, error)) error {
			select {
			case one <- struct{}{}:
				defer func() { <-one }()
				return reader{b}.Discover(ctx, found)
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}, "two at once, empty, part, failure/refuses, failure/hangs, nuisance/the same again", "it did not come that the strategy lists"},
	{"tells what is new to itself", func(b *board) Strategy {
		var mu sync.Mutex
		var last []Address
		return Func(func(ctx context.Context, found func([]Address, error)) error {
			return reader{b}.Discover(ctx, func(list []Address, err error) {
				mu.Lock()
				old := slices.Equal(last, list) && err == nil
				last = list
				mu.Unlock()
				if !old {
					found(list, err)
				}
			})
		})
	}, "again, ?cancel, two at once, empty, part, nothing is left, failure/refuses, failure/hangs, nuisance/the same again, announce/several", "it did not come that the strategy lists"},
	{"leaves a goroutine", func(b *board) Strategy {
		return Func(func(ctx context.Context, found func([]Address, error)) error {
			go func() { <-b.ended }()
			return reader{b}.Discover(ctx, found)
		})
	}, "nothing is left", "goroutines, before"},
	{"leaves a file", func(b *board) Strategy {
		return Func(func(ctx context.Context, found func([]Address, error)) error {
			file, err := os.Open(os.DevNull)
			if err != nil {
				return err
			}
			go func() { <-b.ended; _ = file.Close() }()
			return reader{b}.Discover(ctx, found)
		})
	}, "nothing is left", "open files, before"},
	{"announces nothing", func(b *board) Strategy {
		return announcing1{reader{b}, func(ctx context.Context, list []Address) error {
			<-ctx.Done()
			return errors.Join()
		}}
	}, "announce/comes and goes, announce/itself, announce/several, announce/no address", "it did not come that the strategy lists"},
	{"takes nothing back", func(b *board) Strategy {
		return announcing1{reader{b}, func(ctx context.Context, list []Address) error {
			within, cancel := context.WithCancel(context.Background())
			go func() { <-b.ended; cancel() }()
			if err := (reader{b}).check(list); err != nil {
				cancel()
				return err
			}
			go func() { _ = reader{b}.Announce(within, list) }()
			<-ctx.Done()
			return nil
		}}
	}, "announce/comes and goes, announce/several", "it did not come that the strategy lists"},
	{"hides the others from who announces", func(b *board) Strategy {
		var mu sync.Mutex
		var own []Address
		return announcing1{
			Func(func(ctx context.Context, found func([]Address, error)) error {
				return reader{b}.Discover(ctx, func(list []Address, err error) {
					mu.Lock()
					defer mu.Unlock()
					if own != nil {
						list = own
					}
					found(list, err)
				})
			}),
			func(ctx context.Context, list []Address) error {
				mu.Lock()
				own = list
				mu.Unlock()
				return reader{b}.Announce(ctx, list)
			},
		}
	}, "announce/itself", "lists the others, with or without itself"},
	{"lets only one announce", func(b *board) Strategy {
		return announcing1{reader{b}, func(ctx context.Context, list []Address) error {
			select {
			case b.one <- struct{}{}:
				defer func() { <-b.one }()
				return reader{b}.Announce(ctx, list)
			case <-ctx.Done():
				return (reader{b}).check(list)
			}
		}}
	}, "announce/several", "it did not come that the strategy lists"},
	{"says that its end is an error", func(b *board) Strategy {
		return announcing1{reader{b}, func(ctx context.Context, list []Address) error {
			return errors.Join(reader{b}.Announce(ctx, list), ctx.Err())
		}}
	}, "announce/comes and goes, announce/itself, announce/several, announce/ends in time", "Announce, cancelled, returns an error"},
	{"ends to announce late", func(b *board) Strategy {
		return announcing1{reader{b}, func(ctx context.Context, list []Address) error {
			err := reader{b}.Announce(ctx, list)
			if err == nil {
				time.Sleep(5 * shortPatience) // the breach itself
			}
			return err
		}}
	}, "announce/ends in time", "it is to return within"},
	{"announces anything", func(b *board) Strategy {
		return announcing1{reader{b}, func(ctx context.Context, list []Address) error {
			if (reader{b}).check(list) != nil {
				<-ctx.Done()
				return nil
			}
			return reader{b}.Announce(ctx, list)
		}}
	}, "announce/no address", "is to return an error at once"},
}

type flawed struct {
	name   string
	make   func(b *board) Strategy
	fails  string // by commas
	saying string
}

const shortPatience = 100 * time.Millisecond

// twist changes what a reader tells.
type twist func(list []Address, err error) ([]Address, error)

func perCall(b *board, makeIt func() twist) Strategy {
	return announcing1{Func(func(ctx context.Context, found func([]Address, error)) error {
		t := makeIt()
		return reader{b}.Discover(ctx, func(list []Address, err error) { found(t(list, err)) })
	}), reader{b}.Announce}
}

func twisted(t twist) func(b *board) Strategy {
	return func(b *board) Strategy { return perCall(b, func() twist { return t }) }
}

// silentAbout does not tell some errors.
func silentAbout(which func(error) bool) func(b *board) Strategy {
	return func(b *board) Strategy {
		return announcing1{Func(func(ctx context.Context, found func([]Address, error)) error {
			return reader{b}.Discover(ctx, func(list []Address, err error) {
				if !which(err) {
					found(list, err)
				}
			})
		}), reader{b}.Announce}
	}
}

// twistedAlso tells some errors, and a whole list that is none.
func twistedAlso(which func(error) bool) func(b *board) Strategy {
	return func(b *board) Strategy {
		return announcing1{Func(func(ctx context.Context, found func([]Address, error)) error {
			return reader{b}.Discover(ctx, func(list []Address, err error) {
				if which(err) {
					found([]Address{{Host: "localhost"}}, nil)
				}
				found(list, err)
			})
		}), reader{b}.Announce}
	}
}

// announcing1 is a strategy that announces otherwise than it finds.
type announcing1 struct {
	Strategy
	announce func(ctx context.Context, list []Address) error
}

func (a announcing1) Announce(ctx context.Context, list []Address) error {
	return a.announce(ctx, list)
}

type wronglyMade struct{ reader }

func (wronglyMade) Err() error { return errors.New("no name") }

type wordless struct{}

func (wordless) Error() string { return " " }

// slowEnd takes its time to end, of some contexts.
type slowEnd struct {
	reader
	slow func(ctx context.Context) bool
}

func (s slowEnd) Discover(ctx context.Context, found func([]Address, error)) error {
	err := s.reader.Discover(ctx, found)
	if s.slow(ctx) {
		time.Sleep(2 * shortPatience) // the breach itself
	}
	return err
}

// allChecks are those of Run, by name, also of failures, nuisances and announcements.
func allChecks(src Source) map[string]func(tb testing.TB, s Subject) {
	all := map[string]func(tb testing.TB, s Subject){}
	for _, c := range checks {
		all[c.name] = c.run
	}
	for name := range src.Failures {
		all["failure/"+name] = func(tb testing.TB, s Subject) { failure(tb, s, name) }
	}
	for name := range src.Nuisances {
		all["nuisance/"+name] = func(tb testing.TB, s Subject) { nuisance(tb, s, name) }
	}
	if src.Peer != nil {
		for _, c := range announcements {
			all["announce/"+c.name] = c.run
		}
	}
	return all
}

func TestEachBrokenStrategyFailsTheChecksThatAreForIt(t *testing.T) {
	missing := map[string]bool{}
	for name := range allChecks(subject(nil).New(t)) {
		missing[name] = true
	}
	for _, one := range broken {
		delete(missing, strings.Split(one.fails, ", ")[0])
		tried(t, one, "nothing is left") // counts goroutines: alone
	}
	for name := range missing {
		t.Errorf("no broken strategy is there for %q", name)
	}
	for _, one := range broken {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			_, src := subject(one.make).complete(t)
			all := allChecks(src)
			delete(all, "nothing is left")
			for _, name := range slices.Sorted(maps.Keys(all)) {
				tried(t, one, name)
			}
		})
	}
}

// tried puts a broken strategy through one check.
func tried(t *testing.T, one flawed, name string) {
	t.Helper()
	s, src := subject(one.make).complete(t)
	s.patience = shortPatience
	fails := strings.Split(one.fails, ", ")
	expected, may := slices.Contains(fails, name), slices.Contains(fails, "?"+name)
	switch {
	case name == fails[0]:
		s.Within = 2 * time.Second
	case expected || may:
		s.Within = 200 * time.Millisecond
	}
	got := failuresOf(t, func(tb testing.TB) { allChecks(src)[name](tb, s) })
	switch {
	case expected && got == "":
		t.Errorf("%s: %q does not fail", one.name, name)
	case !expected && !may && got != "":
		t.Errorf("%s: %q fails, too: %s", one.name, name, got)
	case name == fails[0] && !strings.Contains(got, one.saying):
		t.Errorf("%s: %q says %s", one.name, name, got)
	}
}
