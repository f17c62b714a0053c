package discovery

import (
	"context"
	"errors"
	"log/slog"
)

// With gives a strategy of your own what those of this package have: a name, hooks and a log, and that a failure takes nothing away.
// Options: [Name], [WithHooks], [WithLogger].
func With(s Strategy, opts ...Option) Strategy {
	o := collect(opts)
	if s == nil {
		return made("With", "", o, nil, errors.New("the strategy is nil"))
	}
	var wrong error
	if checked, ok := s.(interface{ Err() error }); ok {
		wrong = checked.Err()
	}
	w := made(nameOf(s), "", o, func(ctx context.Context, t *teller) error {
		following(s, t.list, t.failed).Follow(ctx)
		return ctx.Err()
	}, wrong)
	if a, ok := s.(Announcer); ok {
		w.announce = func(ctx context.Context, t *teller, addresses []Address) error {
			t.announced(addresses, nil)
			return a.Announce(ctx, addresses)
		}
		return announcer{w}
	}
	return w
}

// quiet is the log where whoever follows tells all that there is to say.
var quiet = slog.New(slog.DiscardHandler)
