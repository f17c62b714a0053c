package rolebus

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	newerEvery   = 4  // every so many syncs everything newer than the last reading is read, though it seems to be known
	wholeEvery   = 16 // every so many syncs the whole scope is compared, and the more seldom
	wholePer     = 16 // the larger it is: one sync more for so many nodes
	fetchAtOnce  = 64 // more than so many records to fetch are read in one go
	fetchRetries = 5

	// An announcement that is under way may take so long.
	minAwait = 20 * time.Millisecond
	maxAwait = 2 * time.Second

	// For each node, when all are likely to read: they do so one after another, more or less, within a sync interval.
	inTurn = time.Millisecond
)

// catcher reads from the bucket what announcements did not bring, and hands it to the scope's loop.
type catcher struct {
	store    store
	scope    string
	interval time.Duration
	snap     func() *Snapshot
	deliver  func(context.Context, reading)
	hooks    *hooks
	lives    func(ctx context.Context, node string, incarnation uint64) bool // whether a node answers

	cursor uint64                    // run only: everything up to this generation has been read
	heard  atomic.Uint64             // the newest generation that was announced or read
	synced atomic.Pointer[time.Time] // when it last began to ask for what was missed, and was answered
	wake   chan struct{}

	announced atomic.Bool      // something was, since the scope was joined
	silence   func(never bool) // told when something is read that was not announced, and if nothing ever was; nil: nobody

	mu    sync.Mutex
	asked asked
}

// asked is what a catcher was asked for and has not done yet.
type asked struct {
	crowd bool            // others are likely to ask for the same now
	check bool            // whether there is anything newer than what was heard; then that
	newer bool            // whatever is newer than the cursor
	whole bool            // the whole scope
	all   bool            // whole: and every lease in it, not just those that are overdue
	nodes map[string]life // these records, of at least this state

	stranger string // an id that was heard: whether the bucket has it now
}

// reading is what was read from the bucket.
type reading struct {
	changes []change
	whole   bool
	began   uint64    // the serial of the snapshot when the reading began
	due     time.Time // whole: the leader was asked about those whose doubt had run out by then

	lapsed map[string]string // whole: whose record stands without a lease that buries it, and why
	leases map[string]armed  // whole: those that were read
	lags   bool              // a lease may have been armed since that was not read
}

// newest is the generation of the newest record that was read.
func (r reading) newest() (newest uint64) {
	for _, c := range r.changes {
		newest = max(newest, c.generation)
	}
	return newest
}

func (a *asked) add(more asked) {
	a.check, a.newer, a.whole, a.crowd = a.check || more.check, a.newer || more.newer, a.whole || more.whole, a.crowd || more.crowd
	a.all = a.all || more.all
	if more.stranger != "" {
		a.stranger = more.stranger
	}
	if a.nodes == nil {
		a.nodes = map[string]life{}
	}
	for node, want := range more.nodes {
		if a.nodes[node].before(want) {
			a.nodes[node] = want
		}
	}
}

func (a asked) empty() bool {
	return !a.check && !a.newer && !a.whole && len(a.nodes) == 0 && a.stranger == ""
}

func (k *catcher) ask(more asked) {
	k.note(more)
	poke(k.wake)
}

func (k *catcher) note(more asked) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked.add(more)
}

func (k *catcher) take() asked {
	k.mu.Lock()
	defer k.mu.Unlock()
	taken := k.asked
	k.asked = asked{}
	return taken
}

// reconnected says whether the connection was back since the last reading.
func (k *catcher) reconnected() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked.crowd
}

// spread returns something between a half of d and d, for the first time of what happens every d: those who began
// together do not go on together.
func spread(d time.Duration) time.Duration { return d - rand.N(d/2+1) }

// run catches up when asked and every sync interval, until ctx is over. What could not be read is asked for again: if it was not
// answered in time, after a while, whatever is asked meanwhile.
func (k *catcher) run(ctx context.Context) {
	timer := time.NewTimer(spread(k.interval))
	defer timer.Stop()
	retry := firstRetry
	// Those who joined together do not go on together.
	first := max(wholeEvery, k.snap().members.len()/wholePer)
	whole := 1 + rand.IntN(first) // rounds until the whole scope is compared
	late := false                 // nothing was answered in time
	for round := 1 + rand.IntN(newerEvery); ; {
		fired := false
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
			if late && !k.reconnected() {
				continue
			}
		case <-timer.C:
			fired = true
			if late {
				break // no sync: what failed, again
			}
			whole--
			if most := k.snap().members.len() / wholePer; whole == 0 && most > first {
				whole, first = 1+rand.IntN(most), most // so many have joined since
			}
			k.note(asked{check: true, newer: round%newerEvery == 0, whole: whole == 0, all: whole == 0})
			if whole == 0 {
				whole = max(wholeEvery, k.snap().members.len()/wholePer)
			}
			round++
		}
		todo := k.take()
		if todo.empty() {
			continue
		}
		if err := k.do(ctx, todo); err != nil {
			k.note(asked{newer: true, whole: todo.whole, all: todo.all, nodes: todo.nodes})
			most := lastRetry
			if late = errors.Is(err, context.DeadlineExceeded); late { // then who asks soon makes more of what is too much
				retry, most = max(retry, k.interval/4), k.interval
			}
			timer.Reset(spread(min(retry, k.interval)))
			retry = min(2*retry, most)
			continue
		}
		retry, late = firstRetry, false
		if fired { // else what is asked for often would put the sync off for ever
			timer.Reset(jitter(k.interval))
		}
	}
}

func (k *catcher) do(ctx context.Context, todo asked) error {
	if todo.crowd && !sleep(ctx, rand.N(1+min(inTurn*time.Duration(k.snap().members.len()), k.interval))) {
		return ended(ctx)
	}
	todo.newer = todo.newer || len(todo.nodes) > fetchAtOnce
	if todo.whole || todo.newer || todo.check {
		r, err := k.sync(ctx, todo)
		if err != nil {
			return err
		}
		k.deliver(ctx, r)
		for _, c := range r.changes {
			if want, ok := todo.nodes[c.node]; ok && !c.id.before(want) {
				delete(todo.nodes, c.node)
			}
		}
	}
	for node, want := range todo.nodes {
		if err := k.syncRecord(ctx, node, want); err != nil {
			return err
		}
	}
	if todo.stranger != "" {
		// An answer that does not come is no matter: the next announcement asks again.
		_ = k.store.identify(ctx, todo.stranger)
	}
	return nil
}

// read returns what is newer than the cursor, or the whole scope. One look at the newest record says whether there is
// anything to read. Unless it must read what is newer, it trusts that of what was announced nothing was lost in between:
// between servers that may happen unseen, hence newerEvery.
func (k *catcher) read(ctx context.Context, todo asked) (reading, error) {
	began := time.Now()
	r, err := k.readOnce(ctx, todo)
	if err == nil {
		k.synced.Store(&began)
	}
	return r, err
}

// age returns how long ago everything was known.
func (k *catcher) age(now time.Time) time.Duration { return now.Sub(*k.synced.Load()) }

func (k *catcher) readOnce(ctx context.Context, todo asked) (reading, error) {
	snap := k.snap()
	r := reading{whole: todo.whole, began: snap.serial}
	heard, sure := k.heard.Load(), todo.newer || todo.whole
	began := time.Now()
	newest, err := k.store.newest(ctx, k.scope, sure)
	if err == nil && newest < heard && !sure {
		newest, err = k.store.newest(ctx, k.scope, true) // a replica lags behind what was announced
	}
	if err != nil {
		return r, err
	}
	if newest > heard && !sure && len(todo.nodes) == 0 && k.await(ctx, newest, time.Since(began)) {
		return r, nil
	}
	from := k.cursor + 1
	switch {
	case todo.whole, newest < k.cursor, newest < heard:
		r.whole, from = true, 1 // the newest is gone: the bucket went back, was made anew, or a tombstone has run out
	case newest == heard && !todo.newer, newest < from:
		return r, nil
	}
	last := uint64(0)
	if newest > 0 {
		if r.changes, last, err = k.store.read(ctx, k.scope, from, newest); err != nil {
			return r, err
		}
	}
	if !r.whole && newest > heard {
		k.unannounced()
	}
	if r.whole {
		if err := k.compareLeases(ctx, snap, &r, todo.all); err != nil {
			return r, err
		}
		if err := k.confirm(ctx, snap, &r); err != nil {
			return r, err
		}
	}
	k.cursor = last
	if r.whole {
		k.heard.CompareAndSwap(heard, k.cursor) // not if more was heard meanwhile
	}
	k.hear(k.cursor)
	return r, nil
}

// await waits a little for the announcement of a generation, which may be under way: longer if the servers answer late,
// because then much is. It ends when there is something else to do.
func (k *catcher) await(ctx context.Context, generation uint64, took time.Duration) bool {
	patience := min(max(lateWait*took, minAwait), maxAwait)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for wait := patience / 16; ; wait = min(2*wait, patience) {
		if k.heard.Load() >= generation {
			return true
		}
		if patience <= 0 {
			return false
		}
		patience -= wait
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-k.wake:
			poke(k.wake)
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// unannounced takes note that something was read that was not announced.
func (k *catcher) unannounced() {
	if k.silence != nil {
		k.silence(!k.announced.Load())
	}
}

// hear takes note of the newest generation.
func (k *catcher) hear(generation uint64) {
	for {
		heard := k.heard.Load()
		if generation <= heard || k.heard.CompareAndSwap(heard, generation) {
			return
		}
	}
}

// fetch reads one record that is known to be of a state at least. A replica that answers may lag: it is asked again, and
// at last the stream's leader.
func (k *catcher) fetch(ctx context.Context, node string, want life) error {
	get, began := k.store.get, k.snap().serial
	for i, wait := 0, firstRetry; i < fetchRetries; i, wait = i+1, 2*wait {
		if i == fetchRetries-1 {
			get = k.store.lead
		}
		c, _, err := get(ctx, k.scope, node)
		if err != nil {
			return err
		}
		if c.kind != 0 && !c.id.before(want) {
			k.unannounced()
			k.deliver(ctx, reading{changes: []change{c}, began: began})
			return nil
		}
		if !sleep(ctx, wait) {
			return ended(ctx)
		}
	}
	k.ask(asked{newer: true})
	return nil
}
