package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rolebus/rolebus"
)

// What buses are told to do while they are watched, and what they are asked to have seen.

const (
	doChange     = "change a role"
	doAwait      = "wait for a change"
	doTally      = "tell what was seen"
	doAwaitTally = "wait until so many changes were seen"
	doAwaitNone  = "wait until no node is listed"
)

type changeOrder struct {
	Nth int `json:"nth"`
}

// changed says when a change was begun and when the buses of this process saw it. Generation is the least that it can have:
// a record that was written once more since has a later one, of which no Watch tells if the roles are the same.
type changed struct {
	From       time.Time   `json:"from"`
	Generation uint64      `json:"generation"`
	Seen       []time.Time `json:"seen"`
}

type awaitOrder struct {
	Generation uint64 `json:"generation"`
	Changes    int    `json:"changes"`
}

type sightings struct {
	Seen []time.Time `json:"seen"`
}

// changeKinds are what is timed, one after another: a role that everybody has, and one that nobody else has.
var changeKinds = []string{"common", "own"}

// change changes one role of the first bus, and returns when all of this process have seen it.
func (b *buses) change(ctx context.Context, o changeOrder) (changed, error) {
	bus := b.seats[0].bus
	role := common
	if o.Nth%2 == 1 {
		role = rolebus.Role(fmt.Sprint("own-", o.Nth/4))
	}
	do := bus.RemoveRoles
	if o.Nth%4 == 1 || o.Nth%4 == 2 {
		do = bus.AddRoles
	}
	c := changed{Generation: bus.Generation() + 1, From: time.Now()}
	if err := do(ctx, role); err != nil {
		return c, err
	}
	s, err := b.await(ctx, awaitOrder{Generation: c.Generation})
	c.Seen = s.Seen
	return c, err
}

// await waits until every bus has seen a generation, and returns when each did.
func (b *buses) await(ctx context.Context, o awaitOrder) (sightings, error) {
	var out sightings
	for _, s := range b.seats {
		if err := until(ctx, func() bool { return s.newest.Load().generation >= o.Generation }); err != nil {
			return out, fmt.Errorf("%s has seen generation %d, not %d; it lists %d nodes, stale for %v: %w", s.bus.Name(),
				s.newest.Load().generation, o.Generation, s.scope.AllNodes().Len(), s.scope.Snapshot().Stale(), err)
		}
		out.Seen = append(out.Seen, s.newest.Load().at)
	}
	held(ctx)
	return out, nil
}

// tally tells what the first bus's Watch has shown.
func (b *buses) tally(context.Context, none) (tallied, error) { return *b.seats[0].all.Load(), nil }

// awaitTally waits until the first bus's Watch has shown so many changes.
func (b *buses) awaitTally(ctx context.Context, o awaitOrder) (tallied, error) {
	s := b.seats[0]
	if err := until(ctx, func() bool { return s.all.Load().Changes >= o.Changes }); err != nil {
		return tallied{}, fmt.Errorf("%d of %d changes were seen: %w", s.all.Load().Changes, o.Changes, err)
	}
	return *s.all.Load(), nil
}

// awaitNone waits until the first bus's Watch has seen the scope empty, and returns when that was.
func (b *buses) awaitNone(ctx context.Context, _ none) (closed, error) {
	s := b.seats[0]
	if s.stop == nil {
		return closed{}, errors.New("it does not watch")
	}
	if err := until(ctx, func() bool { return s.none.Load() > 0 }); err != nil {
		return closed{}, fmt.Errorf("%d nodes are listed: %w", s.scope.AllNodes().Len(), err)
	}
	return closed{Returned: time.Unix(0, s.none.Load())}, nil
}
