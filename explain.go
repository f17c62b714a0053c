package rolebus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What the servers' errors mean here.

// hasConflict says whether the server refused a compare-and-set.
func hasConflict(err error) bool {
	return hasCode(err, jetstream.JSErrCodeStreamWrongLastSequence) || hasCode(err, jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// codes of the server's API that nats.go has no name for.
const (
	codeAccountFull jetstream.ErrorCode = 10002 // what it stores leaves no room for the message
	codeNoPeers     jetstream.ErrorCode = 10005
	codeStreams     jetstream.ErrorCode = 10027
	codeNoStore     jetstream.ErrorCode = 10049 // also while the one of a stream that was deleted a moment ago is taken away
	codeOverlap     jetstream.ErrorCode = 10065
	codeNotReplicas jetstream.ErrorCode = 10074
	codeNoTier      jetstream.ErrorCode = 10120 // the account has no limits for so many replicas
)

// explain turns an error of NATS into one of ours, beside which the cause stays matchable.
func (k *kv) explain(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.As(err, new(*missingError)):
		return fmt.Errorf("%s: %w", op, err)
	case hasCode(err, jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return fmt.Errorf("%s: %w: %w", op, errUndecided, err)
	case hasConflict(err):
		return fmt.Errorf("%s: %w: %w", op, errConflict, err)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%s: %w: %w: %w", op, errUnanswered, ErrNoBucket, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		k.suspect() // a subject may be missing, or direct gets forbidden
		return fmt.Errorf("%s: %w: %w", op, errUnanswered, err)
	case hasCode(err, jetstream.JSErrCodeStreamMessageExceedsMaximum), errors.Is(err, nats.ErrMaxPayload):
		k.suspect()
		return fmt.Errorf("%s: %w: %w", op, ErrTooLarge, err)
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		// There is no such buffer on our connections, see dial: its name would lead astray.
		return fmt.Errorf("%s: %w", op, &opError{"no connection to a NATS server", err})
	}
	// The server refuses a publish without an answer to it; the request then runs into its timeout.
	refusal := refused(k.nc, subject)
	if refusal != nil && errors.Is(err, context.Canceled) { // see unlessRefused
		return fmt.Errorf("%s: %w", op, refusal)
	}
	if refusal != nil && !errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("%s: %w: %w", op, refusal, err)
	}
	if cause := inaudible(k.nc); cause != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)) {
		return fmt.Errorf("%s: %w: %w", op, cause, err)
	}
	k.suspect() // such as that the stream is sealed, or gives no acknowledgements
	return fmt.Errorf("%s: %w", op, err)
}

// withMend adds to the server's refusal to make or change the stream what helps.
func (k *kv) withMend(err error) error {
	help := ""
	switch {
	case hasCode(err, codeOverlap):
		help = fmt.Sprintf("another stream takes what the bucket should, %s or %s: change its subjects, or take another bucket (WithBucket)", k.subj.records(), k.subj.leases())
	case hasCode(err, codeStreams):
		help = "the account has as many streams as it may: remove one, or raise its limit (max_streams)"
	case hasCode(err, codeNoStorage):
		help = "there is no room for it in files: give the account or the servers more, or keep the bucket in memory (WithStorage)"
	case hasCode(err, codeNoMemory):
		help = "there is no room for it in memory: give the account or the servers more, or keep the bucket in files (WithStorage)"
	default:
		return err
	}
	return fmt.Errorf("%s: %w", help, err)
}

// inaudible returns why this connection hears no answers, if that is the last thing that a server said of it: it takes no subscription to
// an inbox, or no more subscriptions, or the credentials are not good any more.
func inaudible(nc *trunk) error {
	err := nc.LastError()
	inbox := nc.NewInbox()
	switch {
	case err == nil:
	case errors.Is(err, nats.ErrPermissionViolation):
		if strings.Contains(err.Error(), `Subscription to "`+inbox[:strings.LastIndex(inbox, ".")+1]) {
			return err
		}
	case errors.Is(err, nats.ErrMaxSubscriptionsExceeded), badCredentials(err):
		return err
	}
	return nil
}

// badCredentials says whether a server takes no credentials that it took before.
func badCredentials(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired)
}
