package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rolebus/rolebus/internal/found"
)

// Reason says of which kind a failure is: a label for metrics.
type Reason string

// The reasons.
const (
	ReasonEmpty        Reason = "empty"        // the source answered, and lists nothing: NODATA, an empty list or file
	ReasonNotFound     Reason = "not found"    // the source answered that there is no such thing: NXDOMAIN, 404, no file
	ReasonUnauthorized Reason = "unauthorized" // 401
	ReasonForbidden    Reason = "forbidden"    // 403, REFUSED, a file that may not be read
	ReasonGone         Reason = "gone"         // 410
	ReasonThrottled    Reason = "throttled"    // 429
	ReasonUnavailable  Reason = "unavailable"  // SERVFAIL, 5xx, nobody listens
	ReasonTimeout      Reason = "timeout"
	ReasonMalformed    Reason = "malformed" // what came is not what it should be: no JSON, no address, a packet of a stranger
	ReasonOther        Reason = "other"
)

// Failure is why something could not be learnt. errors.As finds it in the errors of strategies; whoever writes one makes them, so that
// hooks can tell failures apart.
type Failure struct {
	Source string // what was asked, such as "A nats.example" or "GET http://rancher-metadata/latest/self/service"; may be ""
	Reason Reason
	Mend   string // what somebody can do about it; "" if that is not known
	Err    error

	// RetryAfter is how long the source wants not to be asked, as HTTP's header of that name says; 0 if it says nothing. It is kept, up to
	// an hour.
	RetryAfter time.Duration
}

// Error tells all of it.
func (f *Failure) Error() string {
	text := string(f.Reason)
	if f.Err != nil {
		text = f.Err.Error()
	}
	if f.Source != "" {
		text = f.Source + ": " + text
	}
	if f.Mend != "" {
		text += " (" + f.Mend + ")"
	}
	return text
}

// Unwrap returns Err.
func (f *Failure) Unwrap() error { return f.Err }

// ReasonOf returns the reason of an error: that of a [Failure] in it, else what can be told of it.
func ReasonOf(err error) Reason {
	err = found.Tame(err)
	var f *Failure
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &f) && f.Reason != "":
		return f.Reason
	case errors.Is(err, found.ErrEmpty):
		return ReasonEmpty
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return ReasonTimeout
	}
	return ReasonOther
}

// ReasonOfStatus returns the reason of an HTTP status that is not one of success.
func ReasonOfStatus(status int) Reason {
	switch {
	case status == http.StatusUnauthorized:
		return ReasonUnauthorized
	case status == http.StatusForbidden:
		return ReasonForbidden
	case status == http.StatusNotFound:
		return ReasonNotFound
	case status == http.StatusGone:
		return ReasonGone
	case status == http.StatusTooManyRequests:
		return ReasonThrottled
	case status == http.StatusRequestTimeout || status == http.StatusGatewayTimeout:
		return ReasonTimeout
	case status >= 500:
		return ReasonUnavailable
	}
	return ReasonOther
}

// answered says of a failure that the source works: it says that there is nothing.
func answered(err error) bool {
	reason := ReasonOf(err)
	return reason == ReasonEmpty || reason == ReasonNotFound
}

func empty(source, mend string) *Failure {
	return &Failure{Source: source, Reason: ReasonEmpty, Mend: mend, Err: fmt.Errorf("%w", found.ErrEmpty)}
}

const fewMistakes = 3 // of many that are told

// few is the first of some errors, and how many more there are, in one line.
func few(errs []error) error {
	if more := len(errs) - fewMistakes; more > 0 {
		errs = append(slices.Clone(errs[:fewMistakes]), fmt.Errorf("and %d more", more))
	}
	args := make([]any, len(errs))
	for i, err := range errs {
		args[i] = err
	}
	return fmt.Errorf(strings.Repeat("; %w", len(errs))[2:], args...)
}
