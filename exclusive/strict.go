package exclusive

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rolebus/rolebus"
)

// Partitions that are terms. One loop of a process takes what is free and its own, and has given up what is another's:
//
//	members, and who holds what --> who shall own what (assign.go) --> own terms: stay, or leave
//	                                                              \--> what is free and own: claimed

const (
	calmTime = 500 * time.Millisecond // the members must have been the same for so long before anything is given up for the balance
	calmMost = 2 * time.Second        // unless they have changed all the time for so long

	firstCalm = 250 * time.Millisecond // before the first is taken: where many begin at the same time they take their own at once

	leastPause = 5 * time.Millisecond // between two looks
	easy       = 4                    // and so many times what the last one took: of thousands, what is heard meanwhile is looked at in one

	// claimsAtOnce is how many partitions are claimed at the same time. Most of a claim is waiting for what others answer; of writes there are fewer at a time.
	claimsAtOnce = 8 * writesAtOnce
)

// dealer is this process's part in strict partitions.
type dealer struct {
	*division
	book     *book
	campaign campaign
	posts    []post
	stay     uint64 // the life of this node that takes part
	wake     chan struct{}
	told     chan struct{} // poked when what it has may have changed

	began, changed, restless time.Time // loop only; restless: since when the members change without being calm
	crew                     crew      // loop only
	held, owners             []int     // loop only

	claims sync.WaitGroup // that are under way

	mu      sync.Mutex
	has     map[int]*Term // mu
	taking  map[int]bool  // mu
	refused refusals      // mu
	due     []int         // mu; to be claimed by what was seen last, when one of those is done: the next look need not come first
	pauses  map[int]pause // mu
}

// followStrictly yields the terms that this node has, while the scope is joined.
func (d *division) followStrictly(ctx context.Context, hooks *hooks, yield func(Assignment) bool) {
	stay, is := d.begin(ctx)
	if !is {
		return
	}
	if stay == 0 { // an observer
		d.follow(ctx, yield)
		return
	}
	b := bookOf(d.scope)
	if _, err := b.ready(ctx, kindPartition); err != nil {
		return
	}
	b.contest()
	dl := &dealer{
		division: d, book: b, posts: d.posts(), stay: stay, wake: make(chan struct{}, 1), told: make(chan struct{}, 1),
		campaign: campaign{options: d.options, book: b, hooks: hooks},
		has:      map[int]*Term{}, taking: map[int]bool{}, pauses: map[int]pause{},
	}
	dl.campaign.handover = &handover{time: d.handover, asked: func() { poke(dl.told) }} // whoever asks: the balance, or whoever leaves the scope
	work, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	if err := b.bus.Go(func(stopped context.Context) {
		defer close(done)
		defer context.AfterFunc(stopped, cancel)()
		dl.run(work)
		cancel()
		dl.leaveAll() // whoever takes long over what he was told last keeps nobody waiting for longer than a handover may take
	}); err != nil {
		cancel()
		return
	}
	defer func() { // also after a panic of the loop's body
		cancel()
		<-done
		dl.close()
	}()
	dl.tell(ctx, done, yield)
}

// tell yields what this node has, whenever that changes, until the loop is done.
func (d *dealer) tell(ctx context.Context, done <-chan struct{}, yield func(Assignment) bool) {
	was := map[int]*Term{}
	for first, over := true, false; !over; first = false {
		select {
		case <-done:
			over = true
		default:
		}
		began := time.Now()
		is := map[int]*Term{}
		if !over {
			is = d.stays()
		} else if ctx.Err() != nil {
			return
		}
		a := Assignment{Partitions: slices.Sorted(maps.Keys(is)), terms: maps.Clone(is)}
		for p, t := range is {
			if was[p] != t {
				a.Gained = append(a.Gained, p)
			}
		}
		for p, t := range was {
			if is[p] == t {
				continue
			}
			a.Lost = append(a.Lost, p)
			if is[p] == nil {
				a.terms[p] = t
			}
		}
		slices.Sort(a.Gained)
		slices.Sort(a.Lost)
		took := time.Since(began)
		if (first || len(a.Gained)+len(a.Lost) > 0) && !yield(a) {
			return
		}
		was = is
		pause := time.NewTimer(easy * took)
		select {
		case <-pause.C:
		case <-done:
			pause.Stop()
		}
		select {
		case <-d.told:
		case <-done:
		}
	}
}

// stays returns the terms that last, and are not to be given up. They are told.
func (d *dealer) stays() map[int]*Term {
	d.mu.Lock()
	defer d.mu.Unlock()
	is := map[int]*Term{}
	for p, t := range d.has {
		switch {
		case t.stays():
			t.told.Store(true)
			is[p] = t
		case !t.live():
			delete(d.has, p)
		}
	}
	return is
}

// run looks whenever anything may have changed, until ctx is over or the scope is left.
func (d *dealer) run(ctx context.Context) {
	defer d.book.await(d.posts, d.wake)()
	d.began = time.Now()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		snap, now := d.scope.Snapshot(), time.Now()
		if !snap.Joined() || d.scope.Incarnation() != d.stay {
			break
		}
		again := d.look(ctx, snap, now)
		if !sleep(ctx, max(leastPause, easy*time.Since(now))) {
			break
		}
		timer.Stop()
		timer.Reset(time.Hour)
		if !again.IsZero() {
			timer.Reset(time.Until(again))
		}
		select {
		case <-d.wake:
		case <-snap.Superseded():
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// look does what is to be done now, and returns when to look again if nothing is heard until then.
func (d *dealer) look(ctx context.Context, snap *rolebus.Snapshot, now time.Time) (again time.Time) {
	nodes := snap.Nodes(d.role)
	own := placeOf(nodes, d.book.bus.Name(), d.stay)
	crew, held := crewIn(nodes, d.meta), d.holders(nodes, own)
	if !crew.equal(d.crew) {
		if now.Sub(d.changed) >= calmTime {
			d.restless = now
		}
		d.changed = now
	}
	if !crew.equal(d.crew) || !slices.Equal(held, d.held) || d.owners == nil {
		d.crew, d.held, d.owners = crew, held, crew.assign(string(d.role), d.n, held)
	}
	calm := d.changed.Add(calmTime)
	if most := d.restless.Add(calmMost); most.Before(calm) {
		calm = most
	}
	may := own != nobody && d.book.mayClaim(ctx) == nil
	if first := d.began.Add(firstCalm); may && now.Before(first) {
		may = false
		again = sooner(again, first)
	}
	if may && d.scope.LeaseLeft() == 0 {
		may = false
		again = sooner(again, now.Add(leaseAgain))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due = d.due[:0]
	for p, owner := range d.owners {
		switch t := d.has[p]; {
		case t != nil && t.live():
			if !t.stays() || owner == own && own != nobody {
				break
			}
			if own != nobody && now.Before(calm) {
				again = sooner(again, calm)
				break
			}
			t.leave(ErrResigned)
		case owner == own && may && !d.taking[p] && len(d.taking) >= claimsAtOnce:
			d.due = append(d.due, p)
		case owner == own && may && !d.taking[p]:
			again = sooner(again, d.takeLocked(ctx, p, snap, now))
		}
	}
	return again
}

// holders returns who of the members holds each partition, as far as this process knows.
func (d *dealer) holders(nodes rolebus.Nodes, own int) []int {
	places := make(map[life]int, nodes.Len())
	for i := range nodes.Len() {
		n := nodes.At(i)
		places[life{n.Name(), n.Incarnation()}] = i
	}
	held := make([]int, d.n)
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	for p, at := range d.posts {
		held[p] = nobody
		k := d.book.posts[at]
		if k == nil || k.claim.token == 0 {
			continue
		}
		i, is := places[k.claim.life]
		switch {
		case k.term != nil && k.term.live():
			held[p] = own
		case is && i != own && !k.resigned:
			held[p] = i
		}
	}
	return held
}

// takeLocked claims a partition if it may, and returns otherwise when to look again; zero if news will tell.
func (d *dealer) takeLocked(ctx context.Context, p int, snap *rolebus.Snapshot, now time.Time) time.Time {
	if d.book.engaged(d.posts[p]) {
		return time.Time{}
	}
	v, _ := d.book.judge(d.posts[p], snap, now)
	if !v.may && !v.confirm { // claim asks what must be confirmed
		delete(d.pauses, p)
		return v.again
	}
	if until := d.pauses[p].until; now.Before(until) {
		return until
	}
	c := d.campaign
	c.name, c.posts = d.posts[p].name, []post{d.posts[p]}
	d.taking[p] = true
	d.claims.Add(1)
	if d.book.bus.Go(func(context.Context) {
		defer d.claims.Done()
		t, err := c.claim(ctx, 0, now) // whatever it was: it is looked at again
		d.took(ctx, p, t, err)
	}) != nil {
		d.claims.Done() // the Bus stops
	}
	return time.Time{}
}

// took takes in what has become of an attempt, and begins the next ones.
func (d *dealer) took(ctx context.Context, p int, t *Term, err error) {
	d.mu.Lock()
	var tell error
	if ctx.Err() == nil {
		tell = d.refused.note(err)
	}
	delete(d.taking, p)
	if t != nil {
		d.has[p] = t
	} else {
		d.pauseLocked(p)
	}
	for ctx.Err() == nil && len(d.due) > 0 && len(d.taking) < claimsAtOnce {
		next := d.due[0]
		d.due = d.due[1:]
		d.takeLocked(ctx, next, d.scope.Snapshot(), time.Now()) // when to try again if it may not be had the next look says
	}
	d.mu.Unlock()
	if tell != nil {
		d.book.log.Warn("a partition is free, and cannot be claimed", "role", d.role, "partition", p, "error", tell)
	}
	if t != nil {
		context.AfterFunc(t.ctx, func() { d.ended(p, time.Since(t.began)) })
		poke(d.told)
	}
	poke(d.wake)
}

// ended takes in that a term is over, and how long it lasted. A program that resigns at once what stays its own has it again and again, with a pause.
func (d *dealer) ended(p int, lasted time.Duration) {
	d.mu.Lock()
	if lasted >= lastRetry {
		delete(d.pauses, p)
	}
	d.pauseLocked(p)
	d.mu.Unlock()
	poke(d.told)
	poke(d.wake)
}

// pauseLocked has a partition not be claimed for a moment: each time in a row for longer.
func (d *dealer) pauseLocked(p int) {
	next := d.pauses[p]
	next.longer(time.Now())
	d.pauses[p] = next
}

// leaveAll has all given up that it has: nothing is claimed any more.
func (d *dealer) leaveAll() {
	leave := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, t := range d.has {
			t.leave(ErrResigned)
		}
	}
	leave()
	d.claims.Wait() // their context is over; one may have come to its end before
	leave()
}

// close gives up what it has, and waits until the bucket knows, for some seconds at most.
func (d *dealer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.has {
		t.end(ErrResigned)
		t.let()
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestPatience)
	defer cancel()
	for _, t := range d.has {
		_ = d.book.givenUp(ctx, t) // the book goes on with it
	}
}

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
