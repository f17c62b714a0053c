package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/rolebus/rolebus/internal/found"
	"github.com/rolebus/rolebus/internal/hook"
)

// With gives a strategy of your own what those of this package have: a name, hooks and a log, and that a failure takes nothing away.
// Options: [Name], [WithHooks], [WithLogger].
func With(s Strategy, opts ...Option) Strategy {
	o := collect(opts)
	if s == nil {
		return made("With", "", o, nil, errors.New("the strategy is nil"))
	}
	w := made(found.NameOf(s), "", o, func(ctx context.Context, t *teller) error {
		return cmp.Or(following(s, o.log, t.list, t.failed).Follow(ctx), ctx.Err())
	}, found.ErrOf(s))
	if a, ok := s.(Announcer); ok {
		w.announce = func(ctx context.Context, t *teller, addresses []Address) error {
			ended := make(chan error, 1)
			go func() { ended <- announce(ctx, s, a, o.log, addresses) }() // joined below
			timer := time.NewTimer(announceSoon)
			defer timer.Stop()
			select {
			case err := <-ended:
				return err
			case <-timer.C:
				t.announced(addresses, nil)
			}
			return <-ended
		}
		return announcer{w}
	}
	return w
}

// announceSoon is after what time a strategy of which one cannot hear more has announced, if it has not said that it cannot.
const announceSoon = 100 * time.Millisecond

// announce has a strategy announce until ctx is over, and waits until it has taken that back, not for ever.
func announce(ctx context.Context, s Strategy, a Announcer, log *slog.Logger, addresses []Address) error {
	done := make(chan error, 1)
	go func() { // ends with Announce
		failure := errors.New("it ended its goroutine (runtime.Goexit)")
		defer func() {
			if fault := recover(); fault != nil {
				hook.Blame(log, "a strategy of discovery panicked", fault, "strategy", found.NameOf(s))
				failure = fmt.Errorf("panic: %v", fault)
			}
			done <- failure
		}()
		failure = found.Tame(a.Announce(ctx, slices.Clone(addresses)))
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(found.Patience)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("%s: announce: %w", found.NameOf(s), found.ErrStuck)
	}
}

// following is how a strategy within another is followed.
func following(s Strategy, log *slog.Logger, changed func([]Address), failed func(error)) found.Following[Address] {
	return found.Following[Address]{
		Name: found.NameOf(s), Check: Address.Check, Changed: changed, Failed: failed, Log: log,
		// Not s.Discover: to take that of a nil pointer may panic, here.
		Discover: func(ctx context.Context, found func([]Address, error)) error { return s.Discover(ctx, found) },
	}
}
