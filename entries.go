package rolebus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What a package that builds on the bus keeps in the bucket, beside the nodes' records.

// Entry is one fact that a package keeps in the bucket, under a name: the newest, as that is all that the bucket has.
type Entry struct {
	Name       string
	Generation uint64    // the KV revision, by which it is replaced; 0 if nothing stands there
	Value      string    // the JSON that was put, without needless spaces; "" if what stands there is none of ours
	Removed    bool      // it was removed; then Value is what Remove said, and "" if somebody else did it
	Stored     time.Time // when, by the server's clock; zero if nothing stands there
}

// EntryNews is what [Entries.Follow] tells.
type EntryNews struct {
	Entries []Entry // the oldest first, each name once
	Whole   bool    // these are all that the bucket has of the kind, the removed ones that it still has among them; what is missing is not there
	Err     error   // why they cannot be heard or read now, if that does not pass by itself: told once, without entries, and tried again
}

// Entries are those of one kind in one scope. All methods may be called from any goroutine.
type Entries struct {
	scope *Scope
	kind  string
}

// Entries returns those of a kind: facts that belong to a scope, and not to a node's life, such as who holds what. An entry is a key of the
// bucket, <scope>.<kind>.<name>, that any member of the scope may write, so it is compared and set: who writes says which generation he
// replaces, and of two who do so at the same time one is refused. It has no lease: it stands until somebody removes it, or the bucket
// loses it. Nobody's snapshot shows it, and no other scope's entries.
//
// The kind keeps packages apart, as that of [Scope.Address]: letters, digits, - and _, and none of the protocol's own. Anything else is
// a panic.
func (s *Scope) Entries(kind string) *Entries {
	must(s.made())
	must(failed("entries", checkKind(kind)))
	return &Entries{scope: s, kind: kind}
}

// maxEntry is the largest value of an entry: so it fits into a header, in which it is announced.
const maxEntry = 8 << 10

// Put writes an entry in the place of what stands there at a generation, of 0 where nothing does, and returns its own. What was removed
// has a generation, too, as long as the bucket remembers it. The value is JSON, of 8 KiB at most. It is asked once, and takes no longer than
// ctx and [WithRequestTimeout] allow.
//
// The error matches [ErrConflict] if something else stands there, or what was written before is not decided yet: nothing was written.
// It matches [ErrNotConfirmed] if no answer came: then nobody knows whether it was written, until [Entries.Get] says so, and it may be
// written even later. All other errors say that nothing was written: [ErrNotJoined], [ErrReadOnly] for an observer, [ErrBadName] for a name
// that takes more than 200 bytes as a token (see [SubjectToken]) or is no UTF-8, [ErrTooLarge], [ErrClosed], nats.ErrDisconnected at once
// while there is no connection, or that of the servers.
func (e *Entries) Put(ctx context.Context, name, value string, replaces uint64) (generation uint64, err error) {
	return e.write(ctx, "put", name, value, replaces, false)
}

// Remove writes over an entry that it is no more, for a reason, which is JSON, or "" for none: whoever follows hears it, and the bucket forgets it after
// an hour. It replaces, waits and fails as [Entries.Put] does.
func (e *Entries) Remove(ctx context.Context, name, value string, replaces uint64) (generation uint64, err error) {
	return e.write(ctx, "remove", name, value, replaces, true)
}

func (e *Entries) write(ctx context.Context, op, name, value string, replaces uint64, removed bool) (generation uint64, err error) {
	if err := e.usable(ctx); err != nil {
		return 0, failed(op, err)
	}
	s := e.scope
	err = s.writable(ctx)
	if err == nil && s.member.Load() == nil {
		err = ErrNotJoined
	}
	if err == nil {
		err = checkName("name", name)
	}
	if err == nil && (value != "" || !removed) {
		value, err = compactValue(value)
	}
	if err == nil {
		err = e.reachable()
	}
	if err == nil {
		generation, err = s.bus.entries.putEntry(ctx, place{s.name, e.kind, name}, value, removed, replaces)
		if err != nil && !decided(err) {
			err = fmt.Errorf("%w: %w", ErrNotConfirmed, err)
		}
		err = overBy(ctx, err)
	}
	return generation, e.opErr(op, name, err)
}

// decided says of an error of a write that was sent whether it shows that nothing was written.
func decided(err error) bool {
	return isAnswer(err) || errors.Is(err, errConflict) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, errNotSent)
}

// Get returns what stands under a name, as the stream's leader has it; an Entry of generation 0 if nothing does. The scope need not be joined.
// The error is that of ctx or of NATS, at once nats.ErrDisconnected while there is no connection, or matches [ErrClosed] or [ErrBadName].
func (e *Entries) Get(ctx context.Context, name string) (Entry, error) {
	if err := e.usable(ctx); err != nil {
		return Entry{}, failed("get", err)
	}
	err := e.scope.readable(ctx)
	if err == nil {
		err = checkName("name", name)
	}
	if err == nil {
		err = e.reachable()
	}
	if err != nil {
		return Entry{}, e.opErr("get", name, err)
	}
	entry, err := e.scope.bus.entries.getEntry(ctx, place{e.scope.name, e.kind, name})
	return entry, e.opErr("get", name, overBy(ctx, err))
}

// Follow has a function called with what the bucket has of the kind: first with all of it, as soon as it could be read, and then with what
// changes, as it is announced. After anything by which changes may have been missed, such as a break of the connection, messages that
// were dropped, another bucket in the place of this one, or a loss that is found by a look now and then, it is called with all of it again.
// What was put or removed before Follow was called, and confirmed, is in the first, or follows it if somebody in this process follows already. Of each name generations only grow until the bucket itself went back,
// or was made anew: then all of it is told. The scope need not be joined.
//
// The function is called once at a time, on a goroutine of its own, until stop, which may be called within it and does not wait for it, or until the
// Bus ends, which does. While it is busy news wait, of each name only the newest. All who follow a kind in a process share one
// subscription and one copy. Nil is a panic.
//
// Nothing is waited for: the error matches [ErrClosed] if the Bus has stopped, or [ErrBadName]. What the servers refuse is told in the log, and as
// EntryNews.Err.
func (e *Entries) Follow(hear func(EntryNews)) (stop func(), err error) {
	if hear == nil {
		panic(prefix + "nil function")
	}
	ctx := context.Background()
	if err = e.usable(ctx); err != nil {
		return nil, failed("follow", err)
	}
	if err = e.scope.readable(ctx); err == nil {
		stop, err = e.scope.bus.shelves.follow(e, hear)
	}
	if err != nil {
		return nil, e.scope.opErr("follow entries of kind "+e.kind, err)
	}
	return stop, nil
}

func (e *Entries) usable(ctx context.Context) error {
	if e == nil || e.scope == nil {
		return errNotMade
	}
	return e.scope.usable(ctx)
}

// readable says why the bucket cannot be read for a scope.
func (s *Scope) readable(ctx context.Context) error {
	if s.bus.ctx.Err() != nil {
		return s.bus.endedOr(ctx)
	}
	if s.bad != nil {
		return s.bad
	}
	return ended(ctx)
}

// reachable says why nothing can be asked now: nats.go, which dials, keeps whoever asks waiting for longer than ctx.
func (e *Entries) reachable() error {
	if b := e.scope.bus; b.nc != nil && !b.Connected() {
		return nats.ErrDisconnected
	}
	return nil
}

func (e *Entries) opErr(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return e.scope.opErr(fmt.Sprintf("%s %s %q", op, e.kind, clip(name)), err)
}
