package call

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rolebus/rolebus"
)

// Errors that a caller may act on. Match them with errors.Is; the cause stands beside them in the same error and can be matched
// too. Beside these a call may end with [rolebus.ErrClosed], [rolebus.ErrNotJoined], a [*RemoteError], or with the error of its ctx.
var (
	// ErrNoNode says that no node has the role, or none of those that were given, so that nobody could be asked, or, after attempts that
	// failed, nobody else.
	ErrNoNode = errors.New(prefix + "no node has the role")
	// ErrUnreachable says that the node could not be reached, or went away before it answered; [Attempt.Ran] says whether it may
	// have run the call.
	ErrUnreachable = errors.New(prefix + "node is unreachable")
	// ErrTimeout says that no answer came in time; the node may have run the call. It matches context.DeadlineExceeded.
	ErrTimeout error = timeoutError{}
	// ErrBusy says that as many calls run and wait at the node as may; it did not run this one.
	ErrBusy = errors.New(prefix + "node is busy")
	// ErrDraining says that the node takes no more calls, because it goes away or stops to handle the method; it did not run this one.
	ErrDraining = errors.New(prefix + "node takes no more calls")
	// ErrNoMethod says that the node is there, but does not handle the method.
	ErrNoMethod = errors.New(prefix + "node has no such method")
	// ErrTooLarge says that the input, or the output, is larger than the server takes; with its headers [nats.Conn.MaxPayload]
	// at most. If it is the output, the node has run the call.
	ErrTooLarge = errors.New(prefix + "too large")
	// ErrEncode says that the input, or the output, could not be encoded. If it is the output, the node has run the call.
	ErrEncode = errors.New(prefix + "cannot be encoded")
	// ErrDecode says that the node could not decode the input, so that it did not run the call, or the caller not the output.
	ErrDecode = errors.New(prefix + "cannot be decoded")
	// ErrContentType says that one of both sides has another encoding than the other: see [Encoding].
	ErrContentType = errors.New(prefix + "unknown content type")
	// ErrChoice says that a function of the user's chose no node, or one that it was not offered, or panicked: see [Choose].
	ErrChoice = errors.New(prefix + "no valid choice")
	// ErrHandled says that this process handles the method in the scope already.
	ErrHandled = errors.New(prefix + "method is handled already")
)

// prefix begins the text of each error that a caller gets.
const prefix = "rolebus: "

type timeoutError struct{}

func (timeoutError) Error() string        { return prefix + "no answer in time" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// The codes of a [RemoteError] whose handler chose none.
const (
	CodeUnknown = "unknown" // the handler returned an error without a code
	CodePanic   = "panic"   // the handler panicked, or ended its goroutine
)

// Error makes an error for a handler to return, with a code by which callers tell what it is: see [RemoteError]. It may be wrapped:
// the text is that of the whole error. A code is printable ASCII without spaces, of 1 to 64 bytes; any other is told as [CodeUnknown].
func Error(code, text string) error { return &codedError{code, text} }

type codedError struct{ code, text string }

func (e *codedError) Error() string { return e.text }

// codeOf returns the code that a handler chose for its error.
func codeOf(err error) string {
	var coded *codedError
	if !errors.As(err, &coded) {
		return CodeUnknown
	}
	return validCode(coded.code)
}

// validCode returns a code, or CodeUnknown if it is none.
func validCode(code string) string {
	if len(code) == 0 || len(code) > 64 || strings.ContainsFunc(code, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return CodeUnknown
	}
	return code
}

// RemoteError is what a handler returned: the call has run. It is never tried again.
type RemoteError struct {
	Node        string
	Incarnation uint64
	Method      string
	Code        string // that of [Error]; CodeUnknown, CodePanic
	Message     string // the text of the handler's error
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("%snode %s: %s: %s", prefix, e.Node, e.Code, e.Message)
}

// Ran says whether a node has run a call.
type Ran int

const (
	RanNo    Ran = iota // certainly not
	RanMaybe            // nobody knows
	RanYes              // it has: it answered
)

// String returns "no", "maybe" or "yes".
func (r Ran) String() string {
	switch r {
	case RanNo:
		return "no"
	case RanMaybe:
		return "maybe"
	case RanYes:
		return "yes"
	}
	return "Ran(?)"
}

// Attempt is one request of a call, to one life of one node.
type Attempt struct {
	Node  *rolebus.Node // as it was when it was chosen
	Began time.Time
	Took  time.Duration
	Ran   Ran
	Err   error // nil if it answered
}

// CallError is how a call failed, with every attempt. It matches what the last of them matches, and the error of ctx if that is over.
type CallError struct {
	Scope    string
	Role     rolebus.Role
	Method   string
	Attempts []Attempt // in the order in which they ended; none if nobody was asked
	Err      error     // why it failed in the end
}

// MayHaveRun says whether any node has, or may have, run the call. If not it can be made again by whatever means.
func (e *CallError) MayHaveRun() bool {
	for _, a := range e.Attempts {
		if a.Ran != RanNo {
			return true
		}
	}
	return false
}

func (e *CallError) Unwrap() error { return e.Err }

func (e *CallError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%scall %q in scope %q", prefix, clip(e.Method), clip(e.Scope))
	if e.Role != "" {
		fmt.Fprintf(&b, ", role %q", clip(string(e.Role)))
	}
	if n := len(e.Attempts); n > 0 {
		last := e.Attempts[n-1]
		fmt.Fprintf(&b, ": attempt %d, node %s, %v", n, last.Node, last.Took.Round(time.Microsecond))
		switch ran := e.MayHaveRun(); {
		case last.Ran == RanYes:
		case ran:
			b.WriteString(", may have run")
		default:
			b.WriteString(", did not run")
		}
	}
	b.WriteString(": " + plain(e.Err))
	return b.String()
}

// plain is an error's text without our prefix, which its wrapper has.
func plain(err error) string {
	if err == nil {
		return "no error"
	}
	return strings.ReplaceAll(err.Error(), prefix, "")
}

// discreet is an error as it may stand in a log, or be told to whoever asks: what a codec says of data may quote it.
func discreet(err error) error {
	for _, codecs := range [...]error{ErrDecode, ErrEncode} {
		if errors.Is(err, codecs) {
			return codecs
		}
	}
	return err
}

// because joins what a caller matches with what led to it.
func because(what error, format string, args ...any) error {
	return fmt.Errorf("%w: %w", what, fmt.Errorf(format, args...))
}

// clip shortens text that goes into an error or a log line.
func clip(text string) string {
	const limit = 64
	if len(text) <= limit {
		return text
	}
	return text[:limit] + "..."
}
