package exclusive

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/rolebus/rolebus"
)

// entries is what a book needs of the bucket: those of one kind. See [rolebus.Entries].
type entries interface {
	Put(ctx context.Context, name, value string, replaces uint64) (uint64, error)
	Remove(ctx context.Context, name, value string, replaces uint64) (uint64, error)
	Get(ctx context.Context, name string) (rolebus.Entry, error)
	Follow(hear func(rolebus.EntryNews)) (stop func(), err error)
}

// book is what this process knows of the terms of one scope, its own among them.
//
//	news of the bucket, snapshots --> standing of each post --> whoever waits for the post looks again
//	                                        |
//	                                        +--> an own term whose claim is missing: written again
//	                                        +--> an own claim without a term: given up
type book struct {
	scope *rolebus.Scope
	bus   *rolebus.Bus
	log   *slog.Logger

	mu      sync.Mutex
	shelves map[string]*shelf
	posts   map[post]*entry
	lives   map[uint64]bool // the incarnations in which this process has claimed anything
	largest time.Duration   // the largest TTL that a claim named
	drained uint64          // the incarnation of this node that is leaving the scope, or has left it
	looking bool            // whether lives are looked at
	joined  bool            // the last snapshot that was looked at was one of a joined scope
	claims  bool            // this process has begun to campaign
	ending  int             // terms that have begun, and of which not all is done yet that their end takes
	ended   *sync.Cond      // of mu: there are fewer of those

	writes chan struct{} // as many as there may be at the same time
}

// shelf is what stands in the bucket of one kind.
type shelf struct {
	entries
	opened time.Time
	loaded chan struct{} // closed when all of it was read once
	once   sync.Once
	failed error // mu of the book: why it could not be read yet; nil if that is not known, or passes
	read   line  // mu of the book: on which all of it was read last
}

// entry is one post in the book.
type entry struct {
	standing
	term    *Term                        // that this process has; nil if none
	busy    bool                         // a campaign of this process is at it, or has a term of it: no other may be
	waiting map[chan<- struct{}]struct{} // who wants to know when it changes
	mending bool                         // its claim is being written again, or given up
	readBy  line                         // on which it was read last, beside the shelf
	toldBy  line                         // by which others have told what they remember of it; since it broke they may know more
}

// writesAtOnce is how many claims are written at the same time: a server that is sent thousands at once keeps all its others waiting.
const writesAtOnce = 64

type bookKey struct{}

func bookOf(s *rolebus.Scope) *book {
	return s.Keep(bookKey{}, func() any {
		b := &book{
			scope: s, bus: s.Bus(), log: s.Bus().Logger().With("scope", s.Name()),
			shelves: map[string]*shelf{}, posts: map[post]*entry{}, lives: map[uint64]bool{}, writes: make(chan struct{}, writesAtOnce),
		}
		b.ended = sync.NewCond(&b.mu)
		return b
	}).(*book)
}

// open has the book know what the bucket has of a kind, from now on for as long as the Bus. It does not wait.
func (b *book) open(kind string) (*shelf, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if sh := b.shelves[kind]; sh != nil {
		return sh, nil
	}
	if !b.looking {
		if err := b.bus.Go(b.look); err != nil {
			return nil, err
		}
		b.looking = true
	}
	sh := &shelf{entries: b.scope.Entries(kind), opened: time.Now(), loaded: make(chan struct{})}
	if _, err := sh.Follow(func(news rolebus.EntryNews) { b.hear(kind, sh, news) }); err != nil {
		return nil, err
	}
	b.shelves[kind] = sh
	return sh, nil
}

// ready waits until the book knows what the bucket has of a kind.
func (b *book) ready(ctx context.Context, kind string) (*shelf, error) {
	sh, err := b.open(kind)
	if err != nil {
		return nil, err
	}
	select {
	case <-sh.loaded:
		return sh, nil
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		return nil, beside(ended(ctx), permit(sh.failed))
	case <-b.bus.Context().Done():
		return nil, b.stopped()
	}
}

// hear takes in news of the bucket.
func (b *book) hear(kind string, sh *shelf, news rolebus.EntryNews) {
	now, snap, by := time.Now(), b.scope.Snapshot(), line{}
	if news.Whole {
		by = b.line()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if sh.failed = news.Err; news.Err != nil {
		return
	}
	named := make(map[string]bool, len(news.Entries))
	for _, e := range news.Entries {
		named[e.Name] = true
		b.takeLocked(post{kind, e.Name}, e, snap, now)
	}
	if !news.Whole {
		return
	}
	for p, k := range b.posts {
		if p.kind == kind && !named[p.name] {
			b.takeLocked(p, rolebus.Entry{Name: p.name}, snap, now)
			if !k.ended.IsZero() && now.Sub(k.ended) > endMemory {
				b.pruneLocked(p)
			}
		}
	}
	sh.read = by
	sh.once.Do(func() { close(sh.loaded) })
}

// endMemory is how long it is remembered of a post that it was given up: as long as the bucket does. Until then its tokens go on where they were.
const endMemory = time.Hour

// takeLocked takes in what stands at a post.
func (b *book) takeLocked(p post, e rolebus.Entry, snap *rolebus.Snapshot, now time.Time) {
	k := b.entryLocked(p)
	was := k.standing
	k.hear(e, now)
	b.lookLocked(k, snap, now)
	b.largest = max(b.largest, k.claim.ttl)
	b.tendLocked(p, k)
	if was != k.standing {
		k.wake()
	}
}

func (b *book) entryLocked(p post) *entry {
	k := b.posts[p]
	if k == nil {
		k = &entry{waiting: map[chan<- struct{}]struct{}{}}
		b.posts[p] = k
	}
	return k
}

// pruneLocked forgets a post of which there is nothing to know.
func (b *book) pruneLocked(p post) {
	if k := b.posts[p]; k != nil && !k.busy && len(k.waiting) == 0 {
		delete(b.posts, p)
	}
}

// look sees to it that the book knows whose life is alive, until the Bus stops, and with it all terms.
func (b *book) look(ctx context.Context) {
	for {
		snap := b.scope.Snapshot()
		b.see(snap)
		select {
		case <-snap.Superseded():
		case <-ctx.Done():
			b.wakeAll()
			b.awaitEnds()
			return
		}
	}
}

// awaitEnds returns when the ends of all terms are told: once the Bus has stopped nothing of them runs, and writes into a log.
func (b *book) awaitEnds() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.ending > 0 {
		b.ended.Wait()
	}
}

// see takes in a snapshot.
func (b *book) see(snap *rolebus.Snapshot) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	crossed := snap.Joined() != b.joined // nobody is known to hold anything in a scope that is not joined
	b.joined = snap.Joined()
	for _, k := range b.posts {
		b.lookLocked(k, snap, now)
		if crossed || k.watchful() {
			k.wake()
		}
		if k.term != nil {
			k.term.see(snap)
		}
	}
}

// lookLocked takes in what a snapshot says of a claim's life. Whoever asks for it, all who wait hear of what is new.
func (b *book) lookLocked(k *entry, snap *rolebus.Snapshot, now time.Time) {
	if k.claim.token == 0 {
		return
	}
	adopted, was := k.adopt(k.term == nil && b.ownLocked(k.claim), now), k.absent
	alive := !snap.Joined() || snap.Lives(k.claim.node, k.claim.incarnation) // who is away sees nobody, and that says nothing
	if k.standing.look(alive, now); adopted || k.absent != was {
		k.wake()
	}
}

// watchful says whether whoever waits for the post goes by more than the holder's life: by tombstones of one that has not been alive for
// long, and by the roles of nodes.
func (k *entry) watchful() bool { return len(k.waiting) > 0 && (!k.absent.IsZero() || !k.stands) }

func (k *entry) wake() {
	for ch := range k.waiting {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (b *book) wakeAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.posts {
		k.wake()
	}
}

// await has a channel poked whenever something may have changed at some posts.
func (b *book) await(posts []post, wake chan<- struct{}) (stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range posts {
		b.entryLocked(p).waiting[wake] = struct{}{}
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range posts {
			if k := b.posts[p]; k != nil {
				delete(k.waiting, wake)
				if k.claim.token == 0 && k.base == 0 {
					b.pruneLocked(p) // nobody ever had it
				}
			}
		}
	}
}

// judge says whether this process may take a post, and what it knows of it.
func (b *book) judge(p post, snap *rolebus.Snapshot, now time.Time) (verdict, standing) {
	settled := b.scope.Settled()
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entryLocked(p)
	b.lookLocked(k, snap, now)
	v := view{now: now, settled: settled, own: b.ownLocked(k.claim)}
	if k.claim.token == 0 {
		v.ttl = max(b.largest, longestTTL(snap))
	}
	if generation, is := snap.Buried(k.claim.node, k.claim.incarnation); is {
		v.buried = generation
	}
	return k.standing.judge(v), k.standing
}

// next returns the token of a post's next claim.
func (b *book) next(p post, server time.Time) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.entryLocked(p).standing.next(server)
}

// longestTTL returns the largest TTL that a node of a snapshot has.
func longestTTL(snap *rolebus.Snapshot) (longest time.Duration) {
	for n := range snap.Members().All() {
		longest = max(longest, n.TTL())
	}
	for n := range snap.Suspects().All() {
		longest = max(longest, n.TTL())
	}
	return longest
}

// engaged says whether this process has a post, or is at it.
func (b *book) engaged(p post) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entryLocked(p)
	return k.busy || k.mending
}

// contest has this process's terms given up before it leaves the scope, once it may have any.
func (b *book) contest() {
	b.mu.Lock()
	first := !b.claims
	b.claims = true
	b.mu.Unlock()
	if first {
		b.scope.OnLeave(b.drain)
		// Both fail only if the Bus stops.
		_ = b.remember()
		_ = b.bus.Go(b.sweep)
	}
}

// take makes this process busy with a post, unless it is.
func (b *book) take(p post, incarnation uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entryLocked(p)
	if k.busy || k.mending {
		return false
	}
	k.busy = true
	b.lives[incarnation] = true
	return true
}

// release ends that. What stands at the post by this process's own life is given up.
func (b *book) release(p post) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entryLocked(p)
	k.busy, k.term = false, nil
	b.tendLocked(p, k)
	k.wake()
}
