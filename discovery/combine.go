package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/rolebus/rolebus/internal/found"
)

// Combine makes one strategy of several, also of none that works: it lists what any of them lists, in their order, and an address goes only
// when none lists it any more. Each is followed for itself; what one does, or fails to do, means nothing to the others. It announces by all
// that are an [Announcer].
func Combine(strategies ...Strategy) Strategy {
	c := &combined{all: slices.Clone(strategies)}
	var errs []error
	for i, s := range strategies {
		if s == nil {
			errs = append(errs, fmt.Errorf("discovery: Combine: strategy %d is nil", i+1))
			continue
		}
		if checked, ok := s.(interface{ Err() error }); ok {
			errs = append(errs, checked.Err())
		}
	}
	if len(strategies) == 0 {
		errs = append(errs, errors.New("discovery: Combine: no strategies"))
	}
	c.err = errors.Join(errs...)
	return c
}

type combined struct {
	all []Strategy
	err error
}

// Err says what is wrong with the strategies, nil if all can be used.
func (c *combined) Err() error { return c.err }

func (c *combined) String() string {
	names := "Combine"
	for i, s := range c.all {
		names += [2]string{": ", ", "}[min(i, 1)] + nameOf(s)
	}
	return names
}

func (c *combined) Discover(ctx context.Context, tell func([]Address, error)) error {
	if c.err != nil {
		return c.err
	}
	var mu sync.Mutex
	lists := make([][]Address, len(c.all))
	var all sync.WaitGroup
	for i, s := range c.all {
		all.Go(func() {
			following(s, func(list []Address) {
				mu.Lock()
				defer mu.Unlock()
				lists[i] = list
				tell(union(lists), nil)
			}, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				tell(nil, fmt.Errorf("%s: %w", nameOf(s), err))
			}).Follow(ctx)
		})
	}
	all.Wait()
	return ctx.Err()
}

// following is how a strategy within another is followed.
func following(s Strategy, changed func([]Address), failed func(error)) found.Following[Address] {
	return found.Following[Address]{Name: nameOf(s), Discover: s.Discover, Check: Address.Check, Changed: changed, Failed: failed, Log: quiet}
}

func union(lists [][]Address) []Address {
	var all []Address
	seen := map[Address]bool{}
	for _, list := range lists {
		for _, a := range list {
			if !seen[a] {
				seen[a] = true
				all = append(all, a)
			}
		}
	}
	return all
}

// Announce announces by all that can, until ctx is over, and returns what they say. If none can, that is an error.
func (c *combined) Announce(ctx context.Context, addresses []Address) error {
	if c.err != nil {
		return c.err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var announcing sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	any := false
	for _, s := range c.all {
		if a, ok := s.(Announcer); ok {
			any = true
			announcing.Go(func() {
				if err := a.Announce(ctx, addresses); err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, fmt.Errorf("%s: %w", nameOf(s), err))
				}
			})
		}
	}
	if !any {
		return fmt.Errorf("discovery: %s: by none of them a process can make itself known", c)
	}
	announcing.Wait()
	return errors.Join(errs...)
}
