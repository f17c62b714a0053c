package discoverytest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus/internal/found"
)

// Bad is a strategy that does one thing wrong, for tests of whoever uses strategies. It tells addresses of the loopback device at which
// nobody listens: 127.0.0.1:1 and so on.
type Bad struct {
	// Name says what it does wrong.
	Name string
	// Strategy is for one use.
	Strategy Strategy
	// Lists is what is to be used of what it tells, in any order. Nil: nothing.
	Lists []Address
	// Most is, if not 0, how many are to be used of too many, whichever: then Lists is all of them.
	Most int
	// Calls is how often Discover is to be called at the least, if whoever uses it does as it should: again after it has failed.
	Calls int
	// Act has it do what it does wrong once it is in use; nil if it does that by itself. Nothing may change by it.
	Act func()
	// Late has it do what it does wrong when it is not used any more; nil if there is nothing. Nothing may happen by it.
	Late func()

	*calls
}

// calls are those of Discover.
type calls struct {
	mu    sync.Mutex
	at    []time.Time
	found []func([]Address, error)
	free  chan struct{} // closed at the end of the test
}

// Called returns when Discover was called.
func (b Bad) Called() []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.at)
}

// badAddress is one of those that bad strategies tell.
func badAddress(i int) Address {
	return Address{Host: fmt.Sprintf("127.%d.%d.%d", i>>16, i>>8&255, i&255), Port: 1}
}

// Misbehaving makes a strategy for each thing that one can do wrong. Those that do not end do so with the test.
func Misbehaving(tb testing.TB) []Bad {
	tb.Helper()
	good := []Address{badAddress(1), badAddress(2)}
	other := []Address{badAddress(3)}
	var all []Bad
	add := func(b Bad, discover func(ctx context.Context, call int, found func([]Address, error), c *calls) error) *Bad {
		c := &calls{free: make(chan struct{})}
		tb.Cleanup(func() { close(c.free) })
		b.calls = c
		b.Calls = max(b.Calls, 1)
		b.Strategy = strategyFunc(func(ctx context.Context, found func([]Address, error)) error {
			c.mu.Lock()
			c.at = append(c.at, time.Now())
			c.found = append(c.found, found)
			call := len(c.at)
			c.mu.Unlock()
			return discover(ctx, call, found, c)
		})
		all = append(all, b)
		return &all[len(all)-1]
	}
	last := func(c *calls) func([]Address, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.found[len(c.found)-1]
	}
	// act has what was told last do something.
	act := func(b *Bad, do func(found func([]Address, error))) { b.Act = func() { do(last(b.calls)) } }
	late := func(b *Bad, do func(found func([]Address, error))) { b.Late = func() { do(last(b.calls)) } }
	tells := func(list []Address, err error) func(found func([]Address, error)) {
		return func(found func([]Address, error)) { found(list, err) }
	}
	tellsAndWaits := func(ctx context.Context, _ int, found func([]Address, error), _ *calls) error {
		found(slices.Clone(good), nil)
		<-ctx.Done()
		return ctx.Err()
	}

	b := add(Bad{Name: "ignores its end", Lists: good}, func(_ context.Context, _ int, found func([]Address, error), c *calls) error {
		found(slices.Clone(good), nil)
		<-c.free
		return nil
	})
	late(b, tells(other, nil))
	add(Bad{Name: "blocks for ever, and tells nothing"}, func(_ context.Context, _ int, _ func([]Address, error), c *calls) error {
		<-c.free
		return nil
	})
	late(add(Bad{Name: "tells after its end", Lists: good}, tellsAndWaits), tells(other, nil))
	act(add(Bad{Name: "tells after it has returned", Lists: good}, func(_ context.Context, _ int, found func([]Address, error), _ *calls) error {
		found(slices.Clone(good), nil)
		return nil
	}), func(found func([]Address, error)) { found(other, nil); found(nil, errors.New("late")) })
	b = add(Bad{Name: "tells by its first call when the second one runs", Lists: good, Calls: 2}, func(ctx context.Context, call int, found func([]Address, error), _ *calls) error {
		found(slices.Clone(good), nil)
		if call == 1 {
			return errors.New("once more")
		}
		<-ctx.Done()
		return nil
	})
	first := b.calls
	b.Act = func() {
		first.mu.Lock()
		found := first.found[0]
		first.mu.Unlock()
		found(other, nil)
	}

	type ending struct {
		name string
		end  func() error
	}
	for _, e := range []ending{
		{"panics", func() error { panic("a strategy that panics, by intention") }},
		{"panics with an error", func() error { panic(fmt.Errorf("a strategy that panics, by intention")) }},
		{"ends its goroutine", func() error { runtime.Goexit(); return nil }},
		{"fails", func() error { return errors.New("it fails, by intention") }},
		{"fails without a text", func() error { return errors.New("") }},
		{"fails with nil of a type", func() error { return (*nobody)(nil) }},
		{"says that it was cancelled", func() error { return context.Canceled }},
	} {
		add(Bad{Name: e.name + " at first", Lists: good, Calls: 2}, func(ctx context.Context, call int, found func([]Address, error), c *calls) error {
			if call == 1 {
				return e.end()
			}
			return tellsAndWaits(ctx, call, found, c)
		})
		add(Bad{Name: e.name + " when it has told a list", Lists: good, Calls: 2}, func(ctx context.Context, call int, found func([]Address, error), c *calls) error {
			if call > 1 {
				<-ctx.Done()
				return nil
			}
			found(slices.Clone(good), nil)
			return e.end()
		})
		add(Bad{Name: e.name + " always", Calls: 2}, func(context.Context, int, func([]Address, error), *calls) error { return e.end() })
	}
	add(Bad{Name: "returns nil, and has told nothing"}, func(context.Context, int, func([]Address, error), *calls) error { return nil })

	add(Bad{Name: "tells without end", Lists: good}, func(ctx context.Context, _ int, found func([]Address, error), _ *calls) error {
		for i := range 20_000 {
			if i%3 == 0 {
				found(nil, fmt.Errorf("failure %d", i))
			}
			found([]Address{badAddress(i%7 + 1)}, nil)
		}
		return tellsAndWaits(ctx, 0, found, nil)
	})
	add(Bad{Name: "tells by many goroutines at once", Lists: good}, func(ctx context.Context, _ int, found func([]Address, error), _ *calls) error {
		var many sync.WaitGroup
		for range 8 {
			many.Go(func() {
				for range 200 {
					found(slices.Clone(good), nil)
					found(nil, errors.New("it fails, by intention"))
				}
			})
		}
		many.Wait()
		<-ctx.Done()
		return nil
	})
	huge := make([]Address, 100_000)
	for i := range huge {
		huge[i] = badAddress(i + 1)
	}
	add(Bad{Name: "tells a hundred thousand addresses", Lists: huge, Most: found.Most}, func(ctx context.Context, _ int, found func([]Address, error), _ *calls) error {
		found(slices.Clone(huge), nil)
		<-ctx.Done()
		return nil
	})
	wrong := []Address{{}, {Host: "no host"}, {Host: "127.0.0.1", Port: 70000}, {Host: "127.0.0.1", Port: -1}, {Host: "127.0.0.1", Scheme: "http"}, {Host: "a:b@c"}, {Host: "0.0.0.0"}, {Host: "a\x00b"}, {Host: "a", TLSName: "*"}}
	add(Bad{Name: "tells addresses that cannot be used", Lists: good}, func(ctx context.Context, _ int, found func([]Address, error), _ *calls) error {
		found(slices.Concat(wrong, good, wrong, good), nil)
		<-ctx.Done()
		return nil
	})
	type telling struct {
		name string
		tell func(found func([]Address, error))
	}
	for _, e := range []telling{
		{"tells only addresses that cannot be used", tells(wrong, nil)},
		{"tells an empty list", tells([]Address{}, nil)},
		{"tells nothing at all", tells(nil, nil)},
		{"tells an error", tells(nil, errors.New("it fails, by intention"))},
		{"tells an error without a text", tells(nil, errors.New(""))},
		{"tells an error that is nil of a type", tells(nil, (*nobody)(nil))},
		{"tells a part", tells(good[1:], errors.New("half of it"))},
		{"tells a part that cannot be used", tells(wrong, errors.New("half of it"))},
	} {
		act(add(Bad{Name: e.name, Lists: good}, tellsAndWaits), e.tell)
	}
	mine := slices.Clone(good)
	add(Bad{Name: "changes its list when it has told it", Lists: good}, func(ctx context.Context, _ int, found func([]Address, error), _ *calls) error {
		found(mine, nil)
		<-ctx.Done()
		return nil
	}).Act = func() { mine[0], mine[1] = other[0], other[0] }
	return all
}

// nobody is an error whose text panics.
type nobody struct{ text string }

func (n *nobody) Error() string { return n.text }

type strategyFunc func(ctx context.Context, found func([]Address, error)) error

func (f strategyFunc) Discover(ctx context.Context, found func([]Address, error)) error {
	return f(ctx, found)
}
