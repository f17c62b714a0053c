package exclusive

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rolebus/rolebus"
)

// Errors that a caller may act on, and causes of the contexts of terms. Match them with errors.Is. Beside these there are
// [rolebus.ErrLeaseLost], which ends the terms of a process that NATS has not heard of in time, [rolebus.ErrNotJoined],
// [rolebus.ErrReadOnly], [rolebus.ErrBadName], [rolebus.ErrClosed] and [rolebus.ErrSuperseded].
var (
	// ErrResigned ends the context of a term that was given up: by [Term.Resign], or because the function of [Run] has returned.
	ErrResigned = errors.New(prefix + "term was given up")
	// ErrTaken ends the context of a term of which the bucket says that somebody else has a later one. By the rules nobody may have; it
	// takes a store that lost what it had acknowledged, or somebody who writes to the bucket by other rules.
	ErrTaken = errors.New(prefix + "somebody else has a later term")
	// ErrNotCandidate ends the context of a term when this node has no longer the role that candidates must have: see [Among].
	ErrNotCandidate = errors.New(prefix + "node has no longer the role that candidates must have")
)

var (
	errNilContext = errors.New("nil context") // a mistake in use
	errNotMade    = errors.New(prefix + "term that no campaign has made")
)

// prefix begins the text of each error that a caller gets.
const prefix = "rolebus: "

// opError is an error on its way to the caller.
type opError struct {
	text  string
	cause error
}

func (e *opError) Error() string { return e.text }
func (e *opError) Unwrap() error { return e.cause }

// failed says which operation an error ended. The text has the prefix once, however many errors of ours it wraps.
func failed(op, name string, s *rolebus.Scope, err error) error {
	start := fmt.Sprintf("%s%s %q in scope %q: ", prefix, op, clip(name), clip(s.Name()))
	return &opError{start + strings.ReplaceAll(err.Error(), prefix, ""), err}
}

// stopped returns why the Bus has stopped, as an error that matches ErrClosed, whatever ended it; nil while it runs.
func (b *book) stopped() error {
	cause := context.Cause(b.bus.Context())
	if cause == nil || errors.Is(cause, rolebus.ErrClosed) {
		return cause
	}
	return fmt.Errorf("%w: %w", rolebus.ErrClosed, cause)
}

// ended returns the error of a context that is over, with its cause.
func ended(ctx context.Context) error {
	cause, err := context.Cause(ctx), ctx.Err()
	if err == nil || errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
