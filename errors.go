package rolebus

import "errors"

// Errors that a caller may act on. Match them with errors.Is; the cause stands beside them in the same error and
// can be matched too.
var (
	// ErrClosed says that the Bus was closed, or has stopped; [Bus.Err] then says why.
	ErrClosed = errors.New("bus is closed")
	// ErrAlreadyJoined says that the scope to join is joined already.
	ErrAlreadyJoined = errors.New("scope is already joined")
	// ErrNotJoined says that the scope to leave is not joined.
	ErrNotJoined = errors.New("scope is not joined")
	// ErrSuperseded says that a newer process took this node's name, so that this one has stopped.
	ErrSuperseded = errors.New("a newer process took this node's name")
	// ErrLeaseLost says that this node is not certain to be listed any more: see [Scope.Context].
	ErrLeaseLost = errors.New("lease lost")
	// ErrNotConfirmed says that the bucket did not confirm a change in time. The change is still wanted: it is
	// written as soon as NATS can be reached. The way to take it back is the opposite call.
	ErrNotConfirmed = errors.New("not confirmed by the bucket")
	// ErrReadOnly says that an observer was asked to write; see [WithObserver].
	ErrReadOnly = errors.New("an observer only reads")
	// ErrBadName says that a name of a node, a scope, a bucket or a role is empty, too long or not UTF-8.
	ErrBadName = errors.New("bad name")
	// ErrTooLarge says that a node's record would be larger than the server takes; nothing was changed.
	ErrTooLarge = errors.New("too large")
	// ErrServerTooOld says that the server cannot schedule messages; that needs nats-server 2.12.
	ErrServerTooOld = errors.New("NATS server is too old")
	// ErrBucketMismatch says that the bucket's stream exists with settings that rolebus cannot work with and may not,
	// or cannot, mend. The error lists each difference and the command that mends it.
	ErrBucketMismatch = errors.New("bucket has other settings")
)

// What a store says of an operation, whatever the server called it.
var (
	errConflict = errors.New("the record is not what it was") // a compare-and-set was refused
	errNoBucket = errors.New("the bucket does not answer")    // it is gone, or has no leader
	errDeleted  = errors.New("it does not exist")             // beside errNoBucket: the server says so
)
