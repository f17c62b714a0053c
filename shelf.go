package rolebus

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// How the entries of a kind are followed: one subscription and one copy, however many follow.
//
//	announcement --> the shelf's loop --> the copy --> each follower's news --> its function
//	reading -------^

// shelf is what this process has of a kind.
type shelf struct {
	scope  *Scope
	store  entryStore
	kind   string
	ctx    context.Context
	cancel context.CancelFunc

	wake     chan struct{} // somebody asked
	readings chan shelfReading
	begun    atomic.Uint64 // counts the readings that began
	newest   atomic.Uint64 // the newest generation that is known
	heard    atomic.Bool   // something was announced

	// Loop only:
	fleet     string    // of which the copy is
	valid     uint64    // readings from this one on are of that fleet, too
	covered   uint64    // the last whole reading has everything up to this generation
	coveredAt time.Time // and that was stored then

	mu        sync.Mutex
	asked     wishes
	followers map[*entryFollower]bool
	ready     bool             // the copy is one
	failed    error            // why it is none; nil if that is not known, or passes
	copy      map[string]Entry // by name
	since     map[string]Entry // what was heard since the reading that is under way began
}

// wishes are what is to be read.
type wishes struct {
	whole    bool            // all of the kind
	crowd    bool            // others are likely to do so now
	look     bool            // whether anything was missed
	names    map[string]bool // what stands under these
	stranger string          // an id that was heard: whether the bucket has it now
}

func newShelf(e *Entries) *shelf {
	s := &shelf{
		scope: e.scope, store: e.scope.bus.entries, kind: e.kind, wake: make(chan struct{}, 1), readings: make(chan shelfReading),
		followers: map[*entryFollower]bool{}, since: map[string]Entry{},
	}
	s.ctx, s.cancel = context.WithCancel(e.scope.bus.ctx)
	return s
}

func (s *shelf) add(f *entryFollower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followers[f] = true
	if s.ready {
		f.tell(slices.Collect(maps.Values(s.copy)), true)
	} else if s.failed != nil {
		f.fail(s.failed)
	}
}

// fail tells why the entries cannot be heard or read.
func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
	for f := range s.followers {
		f.fail(err)
	}
}

func (s *shelf) drop(f *entryFollower) (left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.followers, f)
	return len(s.followers)
}

func (s *shelf) ask(more wishes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.asked
	a.whole, a.crowd, a.look = a.whole || more.whole, a.crowd || more.crowd, a.look || more.look
	a.stranger = cmp.Or(more.stranger, a.stranger)
	for name := range more.names {
		if a.names == nil {
			a.names = map[string]bool{}
		}
		a.names[name] = true
	}
	poke(s.wake)
}

// run subscribes first, then reads: nothing may come between.
func (s *shelf) run() {
	defer s.cancel()
	f := s.hear()
	if f == nil {
		return
	}
	defer f.stop()
	s.fleet = s.scope.bus.fleet.current()
	s.ask(wishes{whole: true})
	var reading sync.WaitGroup
	reading.Go(s.read)
	defer reading.Wait()
	defer s.cancel()
	for {
		s.adopt() // before anything is decoded
		select {
		case <-s.ctx.Done():
			return
		case msg := <-f.messages:
			s.gather(f, msg)
		case <-f.dropped:
			s.ask(wishes{whole: true})
		case r := <-s.readings:
			if len(f.messages) > 0 { // what was announced before it was read
				s.gather(f, <-f.messages)
			}
			s.take(r)
			close(r.taken)
		}
	}
}

// hear subscribes, however long that takes; nil if the shelf is closed first.
func (s *shelf) hear() *feed {
	told := teller{s: s}
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		f, err := s.store.hearEntries(s.ctx, s.scope.name, s.kind)
		if err == nil {
			return f
		}
		told.tell("entries cannot be heard", err)
		if !sleep(s.ctx, spread(wait)) {
			return nil
		}
	}
}

// adopt begins anew if the bucket is another one than before: generations of the two cannot be compared.
func (s *shelf) adopt() {
	fleet := s.scope.bus.fleet.current()
	if fleet == s.fleet {
		return
	}
	s.mu.Lock()
	s.fleet, s.valid, s.covered, s.coveredAt = fleet, s.begun.Load()+1, 0, time.Time{}
	s.ready = false
	clear(s.since)
	s.mu.Unlock()
	s.newest.Store(0)
	s.ask(wishes{whole: true})
}

// gather takes in a message and those that wait behind it: a burst makes one piece of news.
func (s *shelf) gather(f *feed, msg *nats.Msg) {
	var news []Entry
	for n := len(f.messages); ; n-- {
		if e, ok := s.decode(msg); ok {
			news = append(news, e)
		}
		if n == 0 {
			break
		}
		msg = <-f.messages
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(news, false)
}

// decode reads an announcement, and has what it does not tell looked at; ok if it is news.
func (s *shelf) decode(msg *nats.Msg) (e Entry, ok bool) {
	b := s.scope.bus
	e, first, err := s.store.decodeEntry(msg, s.scope.name, s.kind)
	var stranger *strangerError
	switch {
	case errors.As(err, &stranger):
		b.noise.skip() // who it is has been told, or is found out now
		if !b.fleet.stranger(stranger.id) {
			s.ask(wishes{stranger: stranger.id})
		}
		return e, false
	case err != nil:
		if !errors.Is(err, errForeignMarker) {
			b.noise.ignore(msg.Subject, err)
		}
		if e.Name != "" { // which bucket it is of it does not say
			s.ask(wishes{names: map[string]bool{e.Name: true}})
		}
		return e, false
	}
	s.heard.Store(true)
	known, is := s.known(e.Name)
	switch {
	case is && known.Generation == e.Generation && known.Stored.Equal(e.Stored):
		return e, false
	case s.ready && e.Generation <= s.covered: // it was read, unless the bucket went back
		if e.Stored.After(s.coveredAt) {
			s.ask(wishes{whole: true})
		}
		return e, false
	case is && e.Generation <= known.Generation:
		if e.Stored.After(known.Stored) {
			s.ask(wishes{whole: true})
		}
		return e, false
	case s.ready && first && is && !known.Removed:
		s.ask(wishes{whole: true}) // it was purged meanwhile, and so was more, perhaps
	}
	return e, s.put(e)
}

// known returns what is known of a name.
func (s *shelf) known(name string) (e Entry, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, is = s.since[name]; !is && s.ready {
		e, is = s.copy[name]
	}
	return e, is
}

// put takes in an entry; true if followers are to be told.
func (s *shelf) put(e Entry) bool {
	s.newest.Store(max(s.newest.Load(), e.Generation))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since[e.Name] = e
	if s.ready {
		s.copy[e.Name] = e
	}
	return s.ready
}

// take takes in what was read.
func (s *shelf) take(r shelfReading) {
	switch {
	case r.number < s.valid: // it may be of another bucket
		s.ask(wishes{whole: true})
	case r.whole:
		s.replace(r)
	case r.look:
		if missed := s.misses(r); missed != "" {
			s.scope.bus.unannounced(missed == missedNews && !s.heard.Load())
			s.ask(wishes{whole: true})
		}
	default:
		s.amend(r)
	}
}

// replace makes a whole reading the copy, with what was heard since it began.
func (s *shelf) replace(r shelfReading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copy, s.ready, s.failed, s.covered, s.coveredAt = r.entries, true, nil, r.covered, r.coveredAt
	for name, e := range s.since {
		if e.Generation > r.covered && e.Generation > s.copy[name].Generation { // else it was read, or purged before that
			s.copy[name] = e
		}
	}
	newest := uint64(0)
	for _, e := range s.copy {
		newest = max(newest, e.Generation)
	}
	s.newest.Store(newest)
	s.tell(slices.Collect(maps.Values(s.copy)), true)
}

// amend takes in what stands under some names, of which it was not known.
func (s *shelf) amend(r shelfReading) {
	var news []Entry
	for name, e := range r.entries {
		known, is := s.known(name)
		switch {
		case e.Generation > known.Generation:
			if s.put(e) {
				news = append(news, e)
			}
		case is && (e.Generation < known.Generation || !e.Stored.Equal(known.Stored)) && !r.after(s, name):
			s.ask(wishes{whole: true}) // the bucket went back, or it is gone
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(news, false)
}

const (
	missedNews = "announcements"
	missedLoss = "a loss"
)

// misses says whether a look at the bucket finds something else than is known, and what.
func (s *shelf) misses(r shelfReading) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := s.newest.Load()
	switch {
	case !s.ready:
		return ""
	case r.newest > newest:
		return missedNews
	case r.newest < newest && len(s.since) == 0:
		return missedLoss
	}
	for name := range s.copy {
		if _, later := s.since[name]; !later && !r.names[name] {
			return missedLoss
		}
	}
	for name := range r.names {
		if _, is := s.copy[name]; !is {
			return missedNews
		}
	}
	return ""
}

// tell tells the followers. The caller holds mu: so one who comes hears all, and then what follows.
func (s *shelf) tell(news []Entry, whole bool) {
	if len(news) == 0 && !whole {
		return
	}
	for f := range s.followers {
		f.tell(news, whole)
	}
}
