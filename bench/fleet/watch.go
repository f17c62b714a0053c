package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolebus/rolebus"
)

// sight is what one bus's Watch has shown. The goroutine of the Watch writes it, and whoever is asked for it reads it
// later: nobody is told at once, because that would slow those who have not seen it yet.
type sight struct {
	stop   context.CancelFunc // of the Watch
	wg     sync.WaitGroup
	joined atomic.Int64               // nodes that it listed
	newest atomic.Pointer[seenChange] // of the node that is watched
	all    atomic.Pointer[tallied]
	none   atomic.Int64 // when the scope was seen empty, wall clock in ns; 0 if never
}

// seenChange is the first sight of a state of a node.
type seenChange struct {
	generation uint64
	at         time.Time
}

// tallied counts what a Watch has shown so far.
type tallied struct {
	Changes   int       `json:"changes"`   // of roles
	Snapshots int       `json:"snapshots"` // that were met while looking at them
	At        time.Time `json:"at"`        // of the last one
}

const (
	doWatch   = "watch"
	doUnwatch = "stop watching"
)

type watchOrder struct {
	Node string `json:"node"` // whose changes count; "" for everybody's
}

// watch begins to watch on every bus, and returns when each Watch has shown what is there.
func (b *buses) watch(ctx context.Context, o watchOrder) (none, error) {
	for _, s := range b.seats {
		var wctx context.Context
		wctx, s.stop = context.WithCancel(context.Background())
		s.joined.Store(0)
		s.newest.Store(&seenChange{})
		s.all.Store(&tallied{})
		s.none.Store(0)
		s.wg.Go(func() { s.follow(wctx, o.Node) })
	}
	for _, s := range b.seats {
		if err := until(ctx, func() bool { return int(s.joined.Load()) >= s.scope.AllNodes().Len() }); err != nil {
			return none{}, fmt.Errorf("%s watches: %w", s.bus.Name(), err)
		}
	}
	return none{}, nil
}

func (s *seat) follow(ctx context.Context, node string) {
	var t tallied
	var last *rolebus.Snapshot
	for ev := range s.scope.Watch(ctx) {
		at := time.Now()
		snap := s.scope.Snapshot()
		if snap != last {
			last = snap
			t.Snapshots++
		}
		switch ev.Kind {
		case rolebus.NodeJoined:
			s.joined.Add(1)
			continue
		case rolebus.NodeLeft:
			if snap.AllNodes().Len() == 0 && s.none.Load() == 0 {
				s.none.Store(at.UnixNano())
			}
			continue
		}
		if node != "" && ev.Node.Name() != node {
			continue
		}
		if ev.Generation > s.newest.Load().generation {
			s.newest.Store(&seenChange{ev.Generation, at})
		}
		t.Changes, t.At = t.Changes+1, at
		now := t
		s.all.Store(&now)
	}
}

func (b *buses) unwatch(context.Context, none) (none, error) {
	for _, s := range b.seats {
		s.stop()
	}
	for _, s := range b.seats {
		s.wg.Wait()
	}
	return none{}, nil
}
