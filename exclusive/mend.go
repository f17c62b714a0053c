package exclusive

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
)

// How the bucket comes to say what is so of this process's own terms: a claim that is missing is written again, and one by which this process
// holds nothing is given up, whatever became of the attempt that wrote it.

const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second

	requestPatience = 5 * time.Second // one request to the bucket; what has no answer is asked anew
)

// tendLocked sees to it that the bucket says of a post what is so.
func (b *book) tendLocked(p post, k *entry) {
	if t := k.term; t != nil && t.live() && k.overtook(t.claim) {
		t.end(ErrTaken)
	}
	if do, _ := b.amissLocked(k); do == nothing || k.mending {
		return
	}
	if b.bus.Go(func(ctx context.Context) { b.mend(ctx, p) }) == nil {
		k.mending = true
	}
}

// amissLocked says what the bucket needs of this process at a post, and of which claim.
func (b *book) amissLocked(k *entry) (deed, claim) {
	o := own{busy: k.busy, life: b.ownLocked(k.claim) && b.scope.Incarnation() != 0} // else its life has said goodbye, which gives it up
	if k.term != nil && k.term.live() {
		o.term = k.term.claim
	}
	return k.amiss(o)
}

// ownLocked says whether a claim is of a life of this process, whoever wrote it.
func (b *book) ownLocked(c claim) bool {
	return c.node == b.bus.Name() && c.incarnation > 0 && (b.lives[c.incarnation] || c.incarnation == b.scope.Incarnation())
}

// mend does it, until nothing is amiss or the Bus stops.
func (b *book) mend(ctx context.Context, p post) {
	conflict, sh := false, b.shelfOf(p.kind)
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		_, err := b.catchUp(ctx, sh, p)
		b.mu.Lock()
		k := b.entryLocked(p)
		do, c := b.amissLocked(k)
		base := k.base
		if do == nothing || ctx.Err() != nil {
			k.mending = false
			k.wake() // a campaign of this process could not begin
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		if err == nil {
			_, err = b.write(ctx, sh, p, c.encode(), base, do == givingUp)
		}
		if err == nil {
			conflict = false
			continue
		}
		first := errors.Is(err, rolebus.ErrConflict) && !conflict // what it is now is soon read
		if conflict = first; !first && !sleep(ctx, wait) {
			continue // for the last time
		}
		_ = b.refresh(ctx, sh, p) // if it fails, the next attempt tells
	}
}

// write stores a claim, or that it is given up, in the place of what is of a generation, and takes that in. It returns its generation.
func (b *book) write(ctx context.Context, sh entries, p post, value string, base uint64, giveUp bool) (uint64, error) {
	select {
	case b.writes <- struct{}{}:
		defer func() { <-b.writes }()
	case <-ctx.Done():
		return 0, ended(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	store := sh.Put
	if giveUp {
		store = sh.Remove
	}
	generation, err := store(ctx, p.name, value, base)
	if err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.entryLocked(p); k.answers(base, generation) {
		b.takeLocked(p, rolebus.Entry{Name: p.name, Generation: generation, Value: value, Removed: giveUp}, b.scope.Snapshot(), time.Now())
	}
	return generation, nil
}

// line is how this process has been in touch with the bucket since something: the connection has not broken, nor was the lease lost.
type line struct {
	nc     *nats.Conn
	breaks uint64
	lease  context.Context
}

// line asks the connection: it waits while nats.go dials, and is called under no lock.
func (b *book) line() line {
	nc := b.bus.Conn()
	return line{nc, nc.Stats().Reconnects, b.scope.LeaseContext()}
}

// catchUp has what is known of a post be no older than the line on which this process is: a bucket that was made anew meanwhile, or went back, may
// have given the generation that is known to something else. It returns that line.
func (b *book) catchUp(ctx context.Context, sh *shelf, p post) (line, error) {
	if !b.bus.Connected() {
		return line{}, nats.ErrDisconnected // else it would wait until nats.go has dialed
	}
	by := b.line()
	b.mu.Lock()
	fresh := by.lease.Err() == nil && (sh.read == by || b.entryLocked(p).readBy == by)
	b.mu.Unlock()
	if fresh {
		return by, nil
	}
	if err := b.refresh(ctx, sh, p); err != nil {
		return by, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entryLocked(p).readBy = by
	return by, nil
}

// refresh takes in what stands at a post, as the stream's leader has it.
func (b *book) refresh(ctx context.Context, sh entries, p post) error {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	b.mu.Lock()
	base := b.entryLocked(p).base
	b.mu.Unlock()
	e, err := sh.Get(ctx, p.name)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.entryLocked(p); k.answers(base, e.Generation) {
		b.takeLocked(p, e, b.scope.Snapshot(), time.Now())
	}
	return nil
}

// sleep waits; false if ctx was over first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
