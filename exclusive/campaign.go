package exclusive

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/rolebus/rolebus"
)

// Campaign waits until this node holds a name in a scope that it has joined, and returns the term. Between its first look at the bucket and the
// end of the term before it sends nothing, but that it asks for the record of a holder that is not seen any more.
//
// The name is any text that could be a scope's. Nobody else holds it, in the whole scope, for as long as [Term.Context] lasts. It is had at once
// if nobody has it or the last holder has given it up; else when the holder gives it up, or has left, or has died and the server
// says so: one TTL after its last heartbeat. A holder that merely cannot be reached keeps it. If the bucket itself is younger than
// a TTL, or was out of reach, somebody may hold a name of which the bucket says nothing: then a TTL passes first. After a restart under the same node name
// within the TTL it takes a whole TTL from the restart, as the process before might still be running.
//
// Of several campaigns for one name in one process each waits for its turn. If ctx is over first the error is ctx's and nothing
// is left behind: what may have been written is given up. It matches [rolebus.ErrReadOnly] for an observer, [rolebus.ErrNotJoined] if the scope is
// not joined, is left meanwhile, or is being left, as it is when the Bus shuts down, [rolebus.ErrClosed] if the Bus has stopped, and [rolebus.ErrBadName] for a name that cannot be one.
// What the servers do not permit may be permitted later: it goes on to wait, tells it in the log, and has it in its error when ctx is over.
func Campaign(ctx context.Context, s *rolebus.Scope, name string, opts ...Option) (*Term, error) {
	c, err := newCampaign(ctx, s, name, opts)
	if err == nil {
		var t *Term
		if t, err = c.run(ctx); err == nil {
			return t, nil
		}
	}
	return nil, failed("campaign for", name, s, err)
}

// campaign is one that waits for a name.
type campaign struct {
	*options
	book  *book
	name  string
	posts []post
	hooks *hooks
	keep  bool // see Term

	handover *handover // see Term

	free  time.Time // since when it may have it; zero while it may not
	tries []pause   // of each post
}

// pause keeps attempts to claim a post apart. What is heard meanwhile ends it only if the post is another's: each attempt wakes all who
// wait here, and so itself.
type pause struct {
	until time.Time
	last  time.Duration // how long it was at least; 0 if nothing was tried
}

// longer has the next attempt wait for longer than the one before.
func (p *pause) longer(now time.Time) {
	p.last = max(firstRetry, min(2*p.last, lastRetry))
	p.until = now.Add(p.last + rand.N(p.last))
}

func newCampaign(ctx context.Context, s *rolebus.Scope, name string, opts []Option) (*campaign, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	c := &campaign{options: o, book: bookOf(s), name: name}
	c.posts, c.tries = make([]post, o.seats), make([]pause, o.seats)
	for seat := range c.posts {
		c.posts[seat] = seatOf(name, seat)
	}
	if err = checkName("scope", s.Name()); err == nil {
		err = checkSeats(name, o.seats)
	}
	if err == nil {
		c.hooks, err = newHooks(o.hooks, c.book.bus.Logger())
	}
	return c, err
}

// run waits for the term.
func (c *campaign) run(ctx context.Context) (*Term, error) {
	b, began := c.book, time.Now()
	if err := b.mayClaim(ctx); err != nil {
		return nil, err
	}
	for _, kind := range []string{kindName, kindSeat} {
		if kind == kindSeat && c.seats == 1 {
			break
		}
		if _, err := b.ready(ctx, kind); err != nil {
			return nil, err
		}
	}
	b.contest()
	wake := make(chan struct{}, 1)
	stop := b.await(c.posts, wake)
	defer stop()
	c.free = time.Time{} // of the campaign before, if Run has made it
	clear(c.tries)
	var refused refusals
	for {
		if err := b.mayClaim(ctx); err != nil {
			return nil, refused.join(err)
		}
		snap := b.scope.Snapshot()
		seat, again, err := c.choose(snap, time.Now())
		switch {
		case err != nil:
			return nil, err
		case seat >= 0:
			t, err := c.claim(ctx, seat, began)
			if t != nil {
				return t, nil
			}
			if errors.Is(err, rolebus.ErrBadName) {
				return nil, err
			}
			if ctx.Err() == nil {
				if tell := refused.note(err); tell != nil {
					b.log.Warn("a name is free, and cannot be claimed", "name", c.name, "seat", seat, "error", tell)
				}
			}
			c.tries[seat].longer(time.Now())
			continue // another seat may be free where this one is not
		}
		c.wait(ctx, wake, snap, again)
	}
}

// wait waits until something may have changed.
func (c *campaign) wait(ctx context.Context, wake <-chan struct{}, snap *rolebus.Snapshot, again time.Time) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	if !again.IsZero() {
		timer.Reset(time.Until(again))
	}
	var superseded <-chan struct{}
	if c.among != nil || c.prefer != nil || !snap.Joined() {
		superseded = snap.Superseded()
	}
	select {
	case <-wake:
	case <-timer.C:
	case <-superseded:
	case <-ctx.Done():
	case <-c.book.bus.Context().Done():
	}
}

// mayClaim says why this process may claim nothing.
func (b *book) mayClaim(ctx context.Context) error {
	incarnation := b.scope.Incarnation()
	b.mu.Lock()
	drained := incarnation != 0 && b.drained == incarnation
	b.mu.Unlock()
	switch stopped := b.stopped(); {
	case stopped != nil:
		return stopped
	case ctx.Err() != nil:
		return ended(ctx)
	case errors.Is(context.Cause(b.scope.LeaseContext()), rolebus.ErrReadOnly):
		return rolebus.ErrReadOnly
	case incarnation == 0:
		return rolebus.ErrNotJoined
	case drained:
		return errLeaving
	}
	return nil
}

// choose returns the seat to claim, or -1 and when to look again; zero if news will tell. It fails if no seat can ever be claimed.
func (c *campaign) choose(snap *rolebus.Snapshot, now time.Time) (seat int, again time.Time, err error) {
	if n := snap.Node(c.book.bus.Name()); c.among != nil && (n == nil || !n.Has(*c.among)) {
		c.free = time.Time{}
		return -1, time.Time{}, nil
	}
	if c.book.scope.LeaseLeft() == 0 || !c.book.bus.Connected() {
		return -1, now.Add(leaseAgain), nil // until it has heard of NATS again
	}
	first, spent, paused := c.first(), 0, false
	for i := range c.posts {
		seat := (first + i) % len(c.posts)
		if c.book.engaged(c.posts[seat]) {
			continue
		}
		v, known := c.book.judge(c.posts[seat], snap, now)
		if known.largest == maxNumber {
			spent++
			continue
		}
		switch tried := &c.tries[seat]; {
		case !v.may && !v.confirm:
			*tried = pause{}
			again = sooner(again, v.again)
		case now.Before(tried.until):
			paused = true
			again = sooner(again, tried.until)
		default:
			if at := c.turn(snap, now); now.Before(at) {
				return -1, sooner(again, at), nil
			}
			return seat, time.Time{}, nil
		}
	}
	if !paused {
		c.free = time.Time{}
	}
	if spent == len(c.posts) {
		return -1, again, errNoToken
	}
	return -1, again, nil
}

// sooner returns the earlier of two times at which to look again; the zero time is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// leaseAgain is how often it is looked whether the lease, or the connection, is back.
const leaseAgain = 50 * time.Millisecond

// first is the seat that this node looks at first: those who wait for several do not all want the same one.
func (c *campaign) first() int {
	h := fnv.New64a()
	h.Write([]byte(c.book.bus.Name()))
	return int(h.Sum64() % uint64(len(c.posts)))
}

const (
	preferPatience = 500 * time.Millisecond // for each better candidate that there may be
	mostBetter     = 2

	herd = 50 * time.Microsecond // for each node beyond two: not all claim the same at the same time
)

// turn returns when this node may claim what is free, so that those whom others prefer come first.
func (c *campaign) turn(snap *rolebus.Snapshot, now time.Time) time.Time {
	if c.free.IsZero() {
		c.free = now.Add(rand.N(1 + herd*time.Duration(max(0, min(snap.Members().Len(), 2000)-2))))
	}
	if c.prefer == nil {
		return c.free
	}
	own := snap.Node(c.book.bus.Name())
	if own == nil {
		return c.free
	}
	nodes := snap.Members()
	if c.among != nil {
		nodes = snap.Nodes(*c.among)
	}
	mine, better := c.prefer(own), map[int]bool{}
	for n := range nodes.All() {
		if v := c.prefer(n); v > mine {
			better[v] = true
		}
	}
	return c.free.Add(preferPatience * time.Duration(min(len(better), mostBetter)))
}

var (
	errNoToken = errors.New("no token is left: the largest that is known is 2^53 - 1")
	errAgain   = errors.New("look again")
)

// claim claims a seat. Without a term and an error, or with one that passes, it is to be looked at again.
func (c *campaign) claim(ctx context.Context, seat int, began time.Time) (*Term, error) {
	b, p := c.book, c.posts[seat]
	lease, incarnation := b.scope.LeaseContext(), b.scope.Incarnation()
	if lease.Err() != nil || !b.take(p, incarnation) {
		return nil, errAgain
	}
	t := &Term{
		book: b, post: p, name: c.name, seat: seat, among: c.among, hooks: c.hooks, keep: c.keep, lease: lease,
		handover: c.handover, leaving: make(chan struct{}), released: make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancelCause(lease) // a lease that was lost and is back is another one
	if err := b.claim(ctx, t, incarnation); err != nil {
		t.end(err)
		t.deafen()
		b.release(p)
		return nil, err
	}
	t.began = time.Now()
	t.start(time.Since(began))
	return t, nil
}

// claim writes the claim of a term that is to be, of this process's life, which is certain of its lease; it returns when the bucket holds it.
func (b *book) claim(ctx context.Context, t *Term, incarnation uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	snap, p := b.scope.Snapshot(), t.post
	b.mu.Lock()
	sh, k := b.shelves[p.kind], b.entryLocked(p)
	b.mu.Unlock()
	line, err := b.catchUp(ctx, sh, p)
	if err != nil {
		return err
	}
	v, known := b.judge(p, snap, time.Now()) // anew: it may be another's by now
	if !v.may && !v.confirm {
		return errAgain
	}
	base, err := b.inquire(ctx, sh, p, known, v)
	if err != nil {
		return err
	}
	now, err := b.bus.ServerTime(ctx)
	if err != nil {
		return err
	}
	own := snap.Node(b.bus.Name())
	// Just as it is read back, with the same zone: claims are compared.
	c := claim{life: life{b.bus.Name(), incarnation}, token: b.next(p, now), since: time.UnixMilli(now.UnixMilli())}
	switch {
	case c.token == 0:
		return errNoToken
	case own == nil || own.Incarnation() != incarnation:
		return errAgain
	}
	c.ttl = own.TTL()
	t.claim = c
	nc, subject := line.nc, b.scope.Subject(p.kind, p.name)
	before := nc.LastError()
	t.listen() // before anybody can know of the claim: so nobody takes it for one that is not heard of, whatever becomes of the bucket
	// One that was refused of late is waited for: else the claim would be written and given up again and again.
	if refused(nc, subject, nil) != nil {
		if err := flush(ctx, nc); err != nil {
			return err
		}
		if err := refused(nc, subject, before); err != nil {
			return err
		}
	}
	if _, err := b.write(ctx, sh, p, c.encode(), base, false); err != nil {
		if ferr := b.refresh(ctx, sh, p); ferr != nil {
			return ferr
		}
		b.mu.Lock()
		stored := k.stands && k.claim == c
		b.mu.Unlock()
		if !stored { // if it is stored after this, it is found and given up, or claimed anew
			return err
		}
	}
	// Whoever may not listen, of which the server has told before it answered the write, would hold what nobody can ask him for.
	if err := refused(nc, subject, before); err != nil {
		return err
	}
	if line != b.line() {
		return errAgain // since it was asked the servers may have been set back to before somebody's claim
	}
	return context.Cause(t.ctx)
}
