package hello

import (
	"errors"
	"fmt"
)

// What is wrong with the other side. Both sides tell it: [Asker.Ask] returns it, [Server].Strange is called with it.
var (
	// ErrForeign: the two have no secret in common, or one has none at all; or what came was changed on its way.
	ErrForeign = errors.New("no secret in common")
	// ErrVersion: the other speaks another version of this protocol. The text has both.
	ErrVersion = errors.New("another version of this protocol")
	// ErrNone: something else speaks there, such as a NATS server, or HTTP. The text has how it begins.
	ErrNone = errors.New("something else speaks there")
	// ErrLong: more than Most bytes.
	ErrLong = fmt.Errorf("more than %d bytes", Most)
	// ErrTLS: one side speaks TLS and the other does not, or they do not agree on it, as about certificates: the text and what is wrapped
	// say so.
	ErrTLS = errors.New("no TLS in common")
	// ErrFull: the server has all the connections that it may have, and answers on each of them just now.
	ErrFull = errors.New("no place for another connection")
	// ErrSilent is for Strange alone: who went, was too slow, or had to make room, before it had said who it is.
	ErrSilent = errors.New("it did not say who it is")
)

// What an asker tries again.
var (
	errLost  = errors.New("the connection was lost before the other had said anything")
	errAgain = errors.New("the secret of this connection is not accepted any more")
)

// begins says what came from something that is none of ours. It is quoted: it may be anything.
func begins(b []byte) error {
	return fmt.Errorf("%w: it begins with %q", ErrNone, b[:min(len(b), 16)])
}
