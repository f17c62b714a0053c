package exclusive

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
)

// Term is this process's exclusive hold on a name, or on a seat of it, made by [Campaign]. All methods may be called from any goroutine.
type Term struct {
	book  *book
	post  post
	name  string
	seat  int
	claim claim
	among *rolebus.Role
	began time.Time
	hooks *hooks
	keep  bool // whoever has it says when it lets go: Run

	handover *handover   // how it is given up when that is asked for; nil: at once
	told     atomic.Bool // whoever has so long to end what he does has heard of the term; until then nothing is done under it
	asked    sync.Once
	leaving  chan struct{} // closed when it is to be given up, and when it is over

	lease  context.Context // that this process had before it claimed
	ctx    context.Context // of that, and over with it
	cancel context.CancelCauseFunc

	held     atomic.Bool  // it has begun
	askings  atomic.Int64 // who asked for it since it was looked last whether the claim stands; 0 if nobody looks
	mu       sync.Mutex
	ear      *rolebus.Subscription // hears those who ask who has the post
	letGo    bool
	released chan struct{} // closed when it has let go
}

// Context returns a context that is over, with its cause, before anybody else can hold the name: what only the holder may do is done under
// it. It ends as soon as this node is not certain any more to be listed, as [rolebus.Scope.LeaseContext] does: when no heartbeat
// got through for nine tenths of the TTL ([rolebus.ErrLeaseLost]); when the term is given up ([ErrResigned]); when the node has lost the role of [Among]
// ([ErrNotCandidate]); when somebody else has a later term, which takes a store that lost what it acknowledged ([ErrTaken]); when the scope is left or
// the Bus stops, which matches [rolebus.ErrNotJoined], or is what [rolebus.Bus.Err] says. A term that has ended never goes on.
//
// A process that was frozen, or whose machine slept, learns of it only when it runs again, and its other goroutines may run first: ask
// [Term.Left] before something that cannot be taken back, and have what must never be done by two refuse smaller tokens: nothing else is sure.
func (t *Term) Context() context.Context {
	if !t.made() {
		return over(errNotMade)
	}
	return t.ctx
}

// Token returns the fencing token of the term. It is larger than that of every earlier term of the name, or of the seat, also after the store
// lost data, went back or was made anew, as long as the servers' clocks say roughly the same. A resource that remembers the largest token
// that it has seen, and refuses smaller ones, is safe from holders of before, whatever becomes of clocks and processes. It is at least
// 1 and at most 2^53 - 1, about the milliseconds since 1970.
func (t *Term) Token() uint64 {
	if !t.made() {
		return 0
	}
	return t.claim.token
}

// Seat returns the number of the seat, from 0 on; 0 without [Seats].
func (t *Term) Seat() int {
	if !t.made() {
		return 0
	}
	return t.seat
}

// Leaving returns a channel that is closed when this node is to give the term up, and has time for it, as [Strict] partitions do: whoever works
// under the term comes to an end then, and calls [Term.Resign]. It is closed in any case when the term is over.
func (t *Term) Leaving() <-chan struct{} {
	if !t.made() {
		return t.Context().Done()
	}
	return t.leaving
}

// handover is how terms are given up that a program ends itself.
type handover struct {
	time  time.Duration // that it has
	asked func()        // called when it is to; must not block
}

// leave has the term given up, in the time that there is for it.
func (t *Term) leave(cause error) {
	t.asked.Do(func() {
		close(t.leaving)
		if t.handover == nil || t.handover.time == 0 || !t.told.Load() {
			t.end(cause)
			return
		}
		t.handover.asked()
		timer := time.AfterFunc(t.handover.time, func() { t.end(cause) })
		context.AfterFunc(t.ctx, func() { timer.Stop() })
	})
}

// stays says whether the term lasts, and is not to be given up.
func (t *Term) stays() bool {
	select {
	case <-t.leaving:
		return false
	default:
		return t.live()
	}
}

// Left returns for how long this process is still certain to have the term, if nothing is heard from now on; 0 if it is over. A heartbeat of
// the node makes it nearly a whole TTL again. It finds out, as [rolebus.Scope.LeaseLeft] does, that this process was frozen or its machine has slept.
func (t *Term) Left() time.Duration {
	if !t.made() {
		return 0
	}
	left := t.book.scope.LeaseLeft()
	if t.ctx.Err() != nil { // looked at last: what LeaseLeft found out has ended it
		return 0
	}
	return left
}

// Resign ends the term and passes it on at once: when it returns, anybody may have the next one. If nobody confirms that in time the error
// is that of ctx, and matches [rolebus.ErrNotConfirmed]; the term is over all the same, and this process gives it up as soon as it can. Of
// a term that is over it makes sure only that it is given up, and returns nil if it was, or somebody else has the next one. It may be called more than once.
//
// After a scope was left without contact nobody can give it up any more, and nobody has to: its life is over for all as soon as the server says
// so. Then the error matches [rolebus.ErrNotJoined], and [rolebus.ErrClosed] when the Bus has stopped. ctx must not be nil.
func (t *Term) Resign(ctx context.Context) error {
	switch {
	case !t.made():
		return errNotMade
	case ctx == nil:
		return failed("resign", t.name, t.book.scope, errNilContext)
	}
	return t.resign(ctx, ErrResigned)
}

// made says whether a campaign has made it.
func (t *Term) made() bool { return t != nil && t.book != nil }

// over returns a context that has ended.
func over(cause error) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	return ctx
}

func (t *Term) resign(ctx context.Context, cause error) error {
	t.end(cause)
	t.let()
	if err := t.book.givenUp(ctx, t); err != nil {
		return failed("resign", t.name, t.book.scope, err)
	}
	return nil
}

// live says whether the term lasts.
func (t *Term) live() bool { return t.ctx.Err() == nil }

func (t *Term) end(cause error) { t.cancel(cause) }

// see ends the term if a snapshot says that this node is no candidate any more.
func (t *Term) see(snap *rolebus.Snapshot) {
	if n := snap.Node(t.book.bus.Name()); t.among != nil && t.live() && n != nil && !n.Has(*t.among) {
		t.end(ErrNotCandidate)
	}
}

// start makes it the term of its post.
func (t *Term) start(took time.Duration) {
	b := t.book
	t.held.Store(true)
	b.mu.Lock()
	k := b.entryLocked(t.post)
	k.term = t
	b.ending++
	if b.drained == t.claim.incarnation {
		t.leave(errLeaving) // which began when this term was about to
	}
	t.see(b.scope.Snapshot()) // what came before the book had the term is told by nobody else
	b.tendLocked(t.post, k)
	b.mu.Unlock()
	b.log.Log(context.Background(), t.level(), "term began", "name", t.name, "seat", t.seat, "token", t.claim.token)
	t.hooks.tellBegan(t.info(took))
	context.AfterFunc(t.ctx, t.over)
}

// over is called when its context has ended.
func (t *Term) over() {
	defer t.book.toldEnd()
	t.asked.Do(func() { close(t.leaving) })
	cause := context.Cause(t.ctx)
	info := t.info(time.Since(t.began))
	info.Err = cause
	t.book.log.Log(context.Background(), t.level(), "term is over", "name", t.name, "seat", t.seat, "token", t.claim.token, "cause", cause)
	t.hooks.tellEnded(info)
	t.deafen() // who asks is to hear at once that nobody has the post, not wait for an answer
	if !t.keep {
		t.let()
	}
}

// toldEnd takes note that all of a term's end is done.
func (b *book) toldEnd() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ending--
	b.ended.Broadcast()
}

// level is that of the lines in the log which tell of it: partitions come and go by the hundred.
func (t *Term) level() slog.Level {
	if t.post.kind == kindPartition {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func (t *Term) info(took time.Duration) TermInfo {
	return TermInfo{Scope: t.book.scope.Name(), Name: t.name, Seat: t.seat, Token: t.claim.token, Took: took}
}

// let lets the post go, which the book gives up then; once.
func (t *Term) let() {
	t.mu.Lock()
	first := !t.letGo
	t.letGo = true
	t.mu.Unlock()
	if !first {
		<-t.released
		return
	}
	t.deafen()
	t.book.release(t.post)
	close(t.released)
}

// deafen ends that it listens.
func (t *Term) deafen() {
	t.mu.Lock()
	ear := t.ear
	t.ear = nil
	t.mu.Unlock()
	if ear != nil {
		ear.Stop()
	}
}

// listen has those answered who ask whether anybody holds the post, once the term has begun.
func (t *Term) listen() {
	b := t.book
	ear, err := b.bus.Subscribe(b.scope.Subject(t.post.kind, t.post.name), func(msg *nats.Msg) {
		if !t.held.Load() || !t.live() || !b.bus.Answerable(msg.Reply) {
			return
		}
		_ = msg.Respond([]byte(t.claim.encode())) // who gets no answer asks again
		t.verify()
	})
	if err != nil {
		return // the Bus stops
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ear = ear
}

// verify looks whether the claim stands in the bucket: whoever asked did not find it there. However many ask, there is one look at a time, and one more for those who
// asked meanwhile.
func (t *Term) verify() {
	if t.askings.Add(1) > 1 {
		return
	}
	b := t.book
	_ = b.bus.Go(func(ctx context.Context) { // it fails if the Bus stops
		for {
			n := t.askings.Load()
			if _ = b.refresh(ctx, b.shelfOf(t.post.kind), t.post); t.askings.CompareAndSwap(n, 0) {
				return
			}
		}
	})
}

// givenUp waits until the bucket does not say any more that a term lasts, or nobody here can see to that.
func (b *book) givenUp(ctx context.Context, t *Term) error {
	wake := make(chan struct{}, 1)
	stop := b.await([]post{t.post}, wake)
	defer stop()
	for {
		b.mu.Lock()
		k := b.entryLocked(t.post)
		b.tendLocked(t.post, k)
		over := k.resigned || k.claim != t.claim || !k.stands && !k.mending
		idle := !k.busy && !k.mending
		b.mu.Unlock()
		switch stopped := b.stopped(); {
		case over:
			return nil
		case stopped != nil:
			return stopped
		case idle:
			return rolebus.ErrNotJoined
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return errors.Join(rolebus.ErrNotConfirmed, ended(ctx))
		case <-b.bus.Context().Done():
			return b.stopped()
		}
	}
}
