package rolebus

import (
	"context"
	"sync"
)

// The shelves of a Bus: one of each kind of a scope, for as long as somebody follows it.

// shelves are those that somebody follows.
type shelves struct {
	mu  sync.Mutex
	all map[shelfKey]*shelf
}

type shelfKey struct{ scope, kind string }

func (all *shelves) follow(e *Entries, hear func(EntryNews)) (stop func(), err error) {
	b, key := e.scope.bus, shelfKey{e.scope.name, e.kind}
	all.mu.Lock()
	defer all.mu.Unlock()
	ctx, cancel := context.WithCancel(b.ctx)
	f := &entryFollower{hear: hear, ctx: ctx, wake: make(chan struct{}, 1)}
	s := all.all[key]
	anew := s == nil
	if anew {
		s = newShelf(e)
	}
	if err = b.goWhileOpen(f.run); err == nil && anew {
		err = b.goWhileOpen(s.run)
	}
	if err != nil {
		cancel()
		return nil, b.endedOr(context.Background())
	}
	if anew {
		if all.all == nil {
			all.all = map[shelfKey]*shelf{}
		}
		all.all[key] = s
	}
	s.add(f)
	return func() {
		cancel()
		all.mu.Lock()
		defer all.mu.Unlock()
		if s.drop(f) == 0 && all.all[key] == s {
			delete(all.all, key)
			s.cancel()
		}
	}, nil
}

// anew has all that is followed read again.
func (all *shelves) anew() {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, s := range all.all {
		s.ask(wishes{whole: true, crowd: true})
	}
}
