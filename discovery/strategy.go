package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rolebus/rolebus"
)

// Strategy finds NATS servers: see [rolebus.Strategy] for what it promises.
type Strategy = rolebus.Strategy

// Address is where a NATS server listens, and what is known about it.
type Address = rolebus.Address

// ParseAddress makes an address of text: see [rolebus.ParseAddress].
func ParseAddress(text string) (Address, error) { return rolebus.ParseAddress(text) }

// Func is a strategy that is a function: see [rolebus.Strategy] for what it is to do. For one that asks again and again there is [Poll].
type Func func(ctx context.Context, found func(addresses []Address, err error)) error

// Discover calls the function.
func (f Func) Discover(ctx context.Context, found func(addresses []Address, err error)) error {
	if f == nil {
		return errors.New("a Func that is nil finds nothing")
	}
	return f(ctx, found)
}

// Announcer is what a [Strategy] is, too, if a process can make its own server known by it: that of [Local], [Gossip] and [Combine].
type Announcer interface {
	// Announce makes addresses known until ctx is over, then takes them back, as far as that is possible, and returns nil. It returns an
	// error at once if they can never be made known. What fails in passing is tried again, and told to hooks and the log.
	Announce(ctx context.Context, addresses []Address) error
}

// source is what the functions of this package return: a strategy with a name, a log and hooks.
type source struct {
	name     string
	o        *options
	err      error // the mistakes of whoever made it
	discover func(ctx context.Context, t *teller) error
	announce func(ctx context.Context, t *teller, addresses []Address) error // nil: it cannot
}

// made makes a source. What is wrong with it is told by whoever uses it, before anything else.
func made(kind, of string, o *options, discover func(ctx context.Context, t *teller) error, wrong ...error) *source {
	s := &source{name: o.named(kind, of), o: o, discover: discover}
	if err := errors.Join(append([]error{errors.Join(o.errs...)}, wrong...)...); err != nil {
		s.err = fmt.Errorf("discovery: %s: %w", s.name, err)
	}
	return s
}

// Err says what is wrong with the strategy, nil if it can be used. [rolebus.Connect] asks it before anything starts.
func (s *source) Err() error { return s.err }

// String returns the name of the strategy, as logs and hooks have it.
func (s *source) String() string { return s.name }

func (s *source) Discover(ctx context.Context, found func([]Address, error)) error {
	if s.err != nil {
		return s.err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.discover(ctx, s.o.teller(s.name, found))
}

// announcer is a source by which a process makes itself known.
type announcer struct{ *source }

func (s announcer) Announce(ctx context.Context, addresses []Address) error {
	if s.err != nil {
		return s.err
	}
	var errs []error
	for _, a := range addresses {
		errs = append(errs, a.Check())
	}
	if len(addresses) == 0 {
		errs = append(errs, errors.New("no address to announce"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("discovery: %s: announce: %w", s.name, err)
	}
	t := s.o.teller(s.name, nil)
	err := s.announce(ctx, t, slices.Clone(addresses))
	if err != nil {
		t.announced(addresses, err)
	}
	return err
}
