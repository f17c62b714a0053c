package rolebus

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Errors that a caller may act on. Match them with errors.Is; the cause stands beside them in the same error and
// can be matched too. Every error of this package begins with "rolebus: ".
var (
	// ErrClosed says that the Bus was closed, or has stopped; [Bus.Err] then says why. A Bus that shuts down says so, too, to whoever
	// would give a role or join a scope; [Bus.Err] is still nil then.
	ErrClosed = sentinel("bus is closed")
	// ErrAlreadyJoined says that the scope to join is joined already.
	ErrAlreadyJoined = sentinel("scope is already joined")
	// ErrNotJoined says that the scope to leave is not joined.
	ErrNotJoined = sentinel("scope is not joined")
	// ErrSuperseded says that a newer process took this node's name, so that this one has stopped.
	ErrSuperseded = sentinel("a newer process took this node's name")
	// ErrLeaseLost says that this node is not certain to be listed any more: see [Scope.LeaseContext].
	ErrLeaseLost = sentinel("lease lost")
	// ErrNodeGone says that a node, or this life of it, is not listed any more: see [Scope.While].
	ErrNodeGone = sentinel("node is gone")
	// ErrStale says that this process's view of a scope may have missed something: see [Bus.Check].
	ErrStale = sentinel("the view is old")
	// ErrNotConfirmed says that the bucket did not confirm a change in time. A change of roles or metadata is still wanted: it is
	// written as soon as NATS can be reached. The way to take it back is the opposite call. Of an entry ([Entries.Put]) it says only that nobody
	// knows whether it was written.
	ErrNotConfirmed = sentinel("not confirmed by the bucket")
	// ErrConflict says that an entry was not replaced, because something else stands in its place than what was to be replaced, or may
	// stand there soon: see [Entries.Put].
	ErrConflict = sentinel("what stands there is not what it was")
	// ErrReadOnly says that an observer was asked to write; see [WithObserver].
	ErrReadOnly = sentinel("an observer only reads")
	// ErrBadName says that a name of a node, a scope, a bucket or a role is empty, too long or not UTF-8.
	ErrBadName = sentinel("bad name")
	// ErrTooLarge says that a node's record would be larger than the server takes; nothing was changed. It never stands beside
	// ErrNotConfirmed: a change that waits when the server's limit is lowered is taken back with all that wait for the same write.
	ErrTooLarge = sentinel("too large")
	// ErrServerTooOld says that the server cannot schedule messages; that needs nats-server 2.12.
	ErrServerTooOld = sentinel("NATS server is too old")
	// ErrNoBucket says that the bucket does not exist, and that it is not for this process to make it; see [WithObserver] and
	// [WithoutProvisioning].
	ErrNoBucket = sentinel("bucket does not exist")
	// ErrBucketMismatch says that a stream of the bucket's name is somebody else's, or has settings that rolebus cannot work with and
	// may not, or cannot, mend; nothing was changed. The error lists each difference, and the command that mends them, if there is
	// one that loses nothing.
	ErrBucketMismatch = sentinel("bucket has other settings")
	// ErrTwoBuckets says that two buckets answer to the same requests, so that what is written is in both, or in one of them: servers that
	// each have JetStream are linked so that its requests cross. The error says which two.
	ErrTwoBuckets = sentinel("two buckets answer")
)

// Mistakes in use, which nobody need tell apart.
var (
	errNotMade    = errors.New(notMade)
	errNilContext = errors.New(prefix + "nil context")
)

const notMade = prefix + "not made by Connect or New"

// What a store says of an operation, whatever the server called it.
var (
	errConflict = ErrConflict // a compare-and-set was refused
	// An errConflict, too: while a leader has not stored a write, which takes most of the replicas, it refuses the next one that has a condition.
	errUndecided  = &opError{"the bucket's leader has not stored what was written before: it may be cut off from the other servers", errConflict}
	errUnanswered = errors.New("the bucket does not answer") // it is gone, or has no leader; ErrNoBucket beside it: it is gone
)

// prefix begins the text of each error that a caller gets.
const prefix = "rolebus: "

func sentinel(text string) error { return errors.New(prefix + text) }

// opError is an error on its way to the caller.
type opError struct {
	text  string
	cause error
}

func (e *opError) Error() string { return e.text }
func (e *opError) Unwrap() error { return e.cause }

// failed says which operation an error ended; nil if there is none. The text has the prefix once, however many of ours it wraps.
func failed(op string, err error) error { return ours(op+": ", err) }

// ours makes an error begin with the prefix, which it then has once; nil if there is none.
func ours(start string, err error) error {
	if err == nil {
		return nil
	}
	return &opError{prefix + start + strings.ReplaceAll(err.Error(), prefix, ""), err}
}

// given says if there is no context at all.
func given(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	return nil
}

// must panics with an error, in a call that cannot return one.
func must(err error) {
	if err != nil {
		panic(err.Error())
	}
}

// ended returns why a caller's context is over, nil if it is not. It matches ctx.Err() also where a cause was given.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// overBy adds to an error of a call why its context is over, if it is.
func overBy(ctx context.Context, err error) error {
	if over := ended(ctx); over != nil && (!errors.Is(err, ctx.Err()) || !errors.Is(err, context.Cause(ctx))) {
		return fmt.Errorf("%w: %w", over, err)
	}
	return err
}
