package rolebus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// AllScopes returns the names of the scopes in which somebody is now, joined or not, sorted: what the bucket says. It reads the
// whole bucket. The error is that of ctx or of NATS, or matches [ErrClosed].
func (b *Bus) AllScopes(ctx context.Context) ([]string, error) {
	err := b.usable(ctx)
	if err == nil {
		err = b.endedOr(ctx)
	}
	if err != nil {
		return nil, failed("all scopes", err)
	}
	names, err := b.store.scopes(ctx)
	return names, failed("all scopes", err)
}

const (
	exploreEvery = 16 // sync intervals between two looks at the whole bucket; in between, announcements tell of new scopes
	joinAtOnce   = 8  // scopes
)

// explorer keeps an observer in every scope in which there is somebody, see WithAllScopes.
type explorer struct {
	bus  *Bus
	subj subjects
	feed *feed
	look bool                 // a scope may have been missed
	own  map[string]time.Time // the scopes that it joined, and since when each is empty; zero while it is not
}

// explore joins what there is and, from then on, what comes.
func (b *Bus) explore(ctx context.Context) (err error) {
	e := &explorer{bus: b, subj: b.opts.subjects(), own: map[string]time.Time{}}
	if e.feed, err = b.store.subscribe(ctx, ""); err != nil { // first: nothing may come between
		return err
	}
	if err = e.joinAll(ctx); err == nil {
		err = b.goWhileOpen(e.run)
	}
	if err != nil {
		e.feed.stop()
	}
	return err
}

// joinAll joins the scopes that the bucket has, some at a time.
func (e *explorer) joinAll(ctx context.Context) error {
	names, err := e.bus.store.scopes(ctx)
	if err != nil {
		return err
	}
	var (
		mu      sync.Mutex
		joining sync.WaitGroup
		errs    []error
		turns   = make(chan struct{}, joinAtOnce)
	)
	for _, name := range names {
		s := e.bus.handle(name, false)
		if s.member.Load() != nil {
			continue
		}
		joining.Go(func() {
			turns <- struct{}{}
			_, anew, err := s.join(ctx, nil)
			<-turns
			mu.Lock()
			defer mu.Unlock()
			if anew { // else the user has joined it, just now
				e.own[name] = time.Time{}
			}
			errs = append(errs, s.opErr("join", err))
		})
	}
	joining.Wait()
	return errors.Join(errs...)
}

func (e *explorer) run() {
	defer e.feed.stop()
	ctx := e.bus.ctx
	timer := time.NewTicker(e.bus.opts.sync)
	defer timer.Stop()
	for round := 1; ; {
		select {
		case <-ctx.Done():
			return
		case msg := <-e.feed.messages:
			e.hear(msg)
		case <-e.feed.dropped:
			e.look = true
		case <-timer.C:
			e.leaveEmpty(time.Now())
			if round++; e.look || round%exploreEvery == 0 {
				err := e.joinAll(ctx)
				if e.look = err != nil; e.look && e.bus.giving.Err() == nil {
					e.bus.opts.log.Warn("not all scopes can be joined, trying again", "error", err)
				}
			}
		}
	}
}

// hear joins a scope that an announcement tells of.
func (e *explorer) hear(msg *nats.Msg) {
	scope, _, err := e.subj.parseChange(msg.Subject)
	if err != nil || e.bus.isJoined(scope) {
		return
	}
	c, err := e.bus.store.decode(msg)
	if err != nil || c.kind.isTombstone() {
		return // who it comes from is no matter, in a scope that nobody is in
	}
	ctx, cancel := context.WithTimeout(e.bus.ctx, e.bus.opts.timeout)
	defer cancel()
	_, anew, err := e.bus.handle(scope, false).join(ctx, nil)
	if anew {
		e.own[scope] = time.Time{}
	}
	e.look = e.look || err != nil // later
}

// leaveEmpty leaves the scopes in which nobody has been for a sync interval: until then, whoever watches can have seen the last one
// go.
func (e *explorer) leaveEmpty(now time.Time) {
	for name, since := range e.own {
		s := e.bus.handle(name, false)
		snap := s.snap.Load()
		switch {
		case s.member.Load() == nil: // left by the user
			e.forget(s)
		case snap.members.len() > 0 || len(snap.suspects) > 0:
			e.own[name] = time.Time{}
		case since.IsZero():
			e.own[name] = now
		case now.Sub(since) >= e.bus.opts.sync/2: // the ticks in between may be a little less than an interval apart
			_ = s.leave(e.bus.ctx, false) // fails only if there is nothing to leave: an observer says no goodbye
			e.forget(s)
		}
	}
}

// forget drops a scope, also its handle if nobody asked for it: names may come and go for ever.
func (e *explorer) forget(s *Scope) {
	delete(e.own, s.name)
	e.bus.mu.Lock()
	defer e.bus.mu.Unlock()
	if !s.asked {
		delete(e.bus.scopes, s.name)
	}
}
