package rolebus

import (
	"context"
	"errors"
	"time"
)

// Reading the entries of a kind from the bucket, beside the loop that hears what is announced.

// shelfReading is what was read.
type shelfReading struct {
	number  uint64
	taken   chan struct{} // closed when the loop has taken it in
	whole   bool
	look    bool
	entries map[string]Entry // whole: all; else of the names that were asked for, with generation 0 if nothing stands there

	covered   uint64 // whole: everything up to this generation was read
	coveredAt time.Time

	newest uint64          // look
	names  map[string]bool // look: what the stream's leader has
}

// after says whether something was heard of a name since the reading began.
func (r *shelfReading) after(s *shelf, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, is := s.since[name]
	return is
}

const (
	namesAtOnce = 64 // more than so many are read with all others

	// lessAgain is how often the stream's leader must say that it has less than was announced.
	lessAgain = 3
)

// read reads what is asked for, and looks now and then whether anything was missed, until the shelf is closed. What fails is asked for again.
func (s *shelf) read() {
	timer := time.NewTimer(spread(s.lookEvery()))
	defer timer.Stop()
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	retry, told := firstRetry, teller{s: s}
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
		case <-again.C:
		case <-timer.C:
			timer.Reset(jitter(s.lookEvery()))
			s.ask(wishes{look: true})
		}
		todo := s.todo()
		if err := s.do(todo); err != nil && s.ctx.Err() == nil {
			told.tell("entries cannot be read", err)
			todo.crowd = false
			s.note(todo)
			most := lastRetry
			if errors.Is(err, context.DeadlineExceeded) { // then who asks soon makes more of what is too much
				most = s.scope.bus.opts.sync
				retry = max(retry, most/4)
			}
			again.Reset(spread(retry))
			retry = min(2*retry, most)
			continue
		}
		retry, told.told = firstRetry, ""
	}
}

// lookEvery is how far looks are apart: the more members may do so, the farther.
func (s *shelf) lookEvery() time.Duration {
	return time.Duration(max(newerEvery, s.scope.snap.Load().members.len()/wholePer)) * s.scope.bus.opts.sync
}

func (s *shelf) todo() wishes {
	s.mu.Lock()
	defer s.mu.Unlock()
	todo := s.asked
	s.asked = wishes{}
	return todo
}

// note puts back what could not be done; whoever asks next, or the time, has it done.
func (s *shelf) note(failed wishes) {
	s.ask(failed)
	select {
	case <-s.wake:
	default:
	}
}

func (s *shelf) do(todo wishes) error {
	members := time.Duration(s.scope.snap.Load().members.len())
	if todo.crowd && !sleep(s.ctx, spread(min(inTurn*members, s.scope.bus.opts.sync))) {
		return ended(s.ctx)
	}
	if todo.stranger != "" {
		// An answer that does not come is no matter: the next announcement asks again.
		_ = s.scope.bus.store.identify(s.ctx, todo.stranger)
	}
	var read func(*shelfReading) error
	r := shelfReading{}
	switch {
	case todo.whole || len(todo.names) > namesAtOnce:
		r.whole, read = true, s.readWhole
	case len(todo.names) > 0:
		read = func(r *shelfReading) error { return s.readNames(r, todo.names) }
		defer func() {
			if todo.look {
				s.ask(wishes{look: true})
			}
		}()
	case todo.look:
		r.look, read = true, s.readLook
	default:
		return nil
	}
	heard := s.newest.Load()
	s.mu.Lock()
	r.number = s.begun.Add(1)
	clear(s.since)
	s.mu.Unlock()
	if r.covered = heard; !r.whole {
		r.covered = 0
	}
	if err := read(&r); err != nil {
		return err
	}
	r.taken = make(chan struct{})
	select {
	case s.readings <- r:
		<-r.taken // else the next one would begin to count anew what was heard since
		return nil
	case <-s.ctx.Done():
		return ended(s.ctx)
	}
}

// readWhole reads all that there is, up to at least what was announced before it began, unless the leader says again and again that it
// has less: then the bucket went back.
func (s *shelf) readWhole(r *shelfReading) error {
	ctx, scope, kind, heard := s.ctx, s.scope.name, s.kind, r.covered
	var newest uint64
	for i := 0; ; i++ {
		var err error
		if newest, err = s.store.newestEntry(ctx, scope, kind, true); err != nil {
			return err
		}
		if newest >= heard || i+1 == lessAgain {
			break
		}
		if !sleep(ctx, lastRetry/4) {
			return ended(ctx)
		}
	}
	r.entries, r.covered = map[string]Entry{}, 0
	if newest > 0 {
		entries, err := s.store.readEntries(ctx, scope, kind, newest)
		if err != nil {
			return err
		}
		for _, e := range entries {
			r.entries[e.Name] = e
			if e.Generation > r.covered {
				r.covered, r.coveredAt = e.Generation, e.Stored
			}
		}
	}
	// A replica that was damaged may lack what the leader has.
	names, err := s.store.entryNames(ctx, scope, kind)
	if err != nil {
		return err
	}
	for name := range names {
		if _, is := r.entries[name]; !is {
			e, err := s.store.getEntry(ctx, place{scope, kind, name})
			if err != nil {
				return err
			}
			if e.Generation > 0 {
				r.entries[name] = e
			}
		}
	}
	return nil
}

func (s *shelf) readNames(r *shelfReading, names map[string]bool) error {
	r.entries = map[string]Entry{}
	for name := range names {
		e, err := s.store.getEntry(s.ctx, place{s.scope.name, s.kind, name})
		if err != nil {
			return err
		}
		r.entries[name] = e
	}
	return nil
}

// readLook asks for as little as tells whether anything is amiss: the newest generation, and which names there are.
func (s *shelf) readLook(r *shelfReading) (err error) {
	known := s.newest.Load()
	if r.names, err = s.store.entryNames(s.ctx, s.scope.name, s.kind); err != nil {
		return err
	}
	r.newest, err = s.store.newestEntry(s.ctx, s.scope.name, s.kind, false)
	if err == nil && r.newest < known { // a replica lags, perhaps
		r.newest, err = s.store.newestEntry(s.ctx, s.scope.name, s.kind, true)
	}
	for patience := maxAwait; err == nil && s.awaits(r) && patience > 0; patience -= minAwait {
		if !sleep(s.ctx, minAwait) { // announcements may be under way
			return ended(s.ctx)
		}
	}
	return err
}

// awaits says whether a look found what was not announced yet.
func (s *shelf) awaits(r *shelfReading) bool {
	if r.newest > s.newest.Load() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range r.names {
		if _, is := s.copy[name]; !is {
			return s.ready
		}
	}
	return false
}

// teller tells once of what fails again and again, though there is a connection.
type teller struct {
	s    *shelf
	told string
}

func (t *teller) tell(what string, err error) {
	if passing(err) || t.told == what || t.s.ctx.Err() != nil {
		return
	}
	t.told = what
	t.s.scope.bus.opts.log.Warn(what, "scope", t.s.scope.name, "kind", t.s.kind, "error", err)
	t.s.fail(err)
}
