package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/rolebus/rolebus/internal/found"
)

// Combine makes one strategy of several, also of none that works: it lists what any of them lists, in their order, and an address goes only
// when none lists it any more. Each is followed for itself; what one does, or fails to do, means nothing to the others. If one of them is an
// [Announcer], it is one, too, and announces by all that are; one that cannot does not keep the others from it, and its error is returned when
// all have ended.
func Combine(strategies ...Strategy) Strategy {
	c := &combined{all: slices.Clone(strategies)}
	var errs []error
	announces := false
	for i, s := range strategies {
		if s == nil {
			errs = append(errs, fmt.Errorf("discovery: Combine: strategy %d is nil", i+1))
			continue
		}
		errs = append(errs, found.ErrOf(s))
		if _, ok := s.(Announcer); ok {
			announces = true
		}
	}
	if len(strategies) == 0 {
		errs = append(errs, errors.New("discovery: Combine: no strategies"))
	}
	c.err = errors.Join(errs...)
	if announces {
		return combinedAnnouncer{c}
	}
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
		names += [2]string{": ", ", "}[min(i, 1)] + found.NameOf(s)
	}
	return names
}

func (c *combined) Discover(ctx context.Context, tell func([]Address, error)) error {
	if c.err != nil {
		return c.err
	}
	var mu sync.Mutex
	lists := make([][]Address, len(c.all))
	var stuck []error
	var all sync.WaitGroup
	for i, s := range c.all {
		all.Go(func() {
			err := following(s, quiet, func(list []Address) {
				mu.Lock()
				defer mu.Unlock()
				lists[i] = list
				tell(union(lists), nil)
			}, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				tell(nil, fmt.Errorf("%s: %w", found.NameOf(s), err))
			}).Follow(ctx)
			mu.Lock()
			defer mu.Unlock()
			stuck = append(stuck, err)
		})
	}
	all.Wait()
	return cmp.Or(errors.Join(stuck...), ctx.Err())
}

// quiet is the log of whoever has none: what is followed within is told where it is told of what is around it, and panics on standard error.
var quiet = slog.New(slog.DiscardHandler)

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

// combinedAnnouncer are strategies of which some can announce.
type combinedAnnouncer struct{ *combined }

// Announce announces by all that can, until ctx is over, and returns what they say.
func (c combinedAnnouncer) Announce(ctx context.Context, addresses []Address) error {
	if c.err != nil {
		return c.err
	}
	var announcing sync.WaitGroup
	errs := make([]error, len(c.all))
	for i, s := range c.all {
		if a, ok := s.(Announcer); ok {
			announcing.Go(func() {
				if err := announce(ctx, s, a, quiet, addresses); err != nil {
					errs[i] = fmt.Errorf("%s: %w", found.NameOf(s), err)
				}
			})
		}
	}
	announcing.Wait()
	return errors.Join(errs...)
}
