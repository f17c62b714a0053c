package rolebus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How this node says goodbye.

// lastWord is what a goodbye that is under way still has when it is not tried again any more.
const lastWord = 250 * time.Millisecond

// goodbye takes the record down, if it is still there and this life's. It is called when run has returned. It is tried once in
// any case; what fails in passing is tried again while again is not over, and at once when the connection is back. All of it ends
// with ctx.
func (k *keeper) goodbye(ctx, again context.Context) error {
	if !k.written {
		return nil
	}
	c := change{kind: kindLeft, node: k.node, id: life{k.id.incarnation, max(k.id.version, k.bound)}}
	generation := k.generation
	select {
	case <-k.nudge: // of the time before
	default:
	}
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		back, err := k.tryUntilBack(ctx, func(ctx context.Context) error { return k.takeDown(ctx, c, &generation) })
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errConflict): // by now it knows of which generation the record is
			if !sleep(ctx, wait) {
				return overBy(ctx, err)
			}
		case ctx.Err() != nil:
			if why := ended(again); why != nil && errors.Is(err, context.Canceled) {
				return fmt.Errorf("no answer: %w", why) // not that its last word was cut off
			}
			return overBy(ctx, err)
		case !back && !passing(err):
			return err
		case again.Err() != nil, !back && !k.pause(again, wait):
			return overBy(again, err)
		}
	}
}

// takeDown puts the tombstone in the place of the record of a generation. After errConflict that is the one it has.
func (k *keeper) takeDown(ctx context.Context, c change, generation *uint64) error {
	err := k.bury(ctx, c, *generation)
	if errors.Is(err, errUnanswered) {
		asking, cancel := k.within(ctx)
		defer cancel()
		if _, gone := k.store.now(asking); errors.Is(gone, ErrNoBucket) {
			return nil // and the record with it
		}
		return err // there is no leader: it may be back in time
	}
	if !errors.Is(err, errConflict) {
		return err
	}
	found, now, unknown := k.get(ctx)
	if unknown != nil {
		return unknown
	}
	if found.kind != kindState || found.id.incarnation != k.id.incarnation {
		return nil
	}
	*generation = now
	return err
}

func (k *keeper) bury(ctx context.Context, c change, replaces uint64) error {
	ctx, cancel := k.within(ctx)
	defer cancel()
	return k.store.bury(ctx, k.scope, c, replaces)
}

// tryUntilBack runs one try, which ends when the connection is back: what was asked over the one before is never answered.
func (k *keeper) tryUntilBack(ctx context.Context, try func(context.Context) error) (back bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-k.nudge:
			back = true
			cancel()
		case <-ctx.Done():
		}
	})
	err = try(ctx)
	cancel()
	watch.Wait()
	return back, err
}

// pause waits before the next try, not for longer than until the connection is back; false if ctx was over first.
func (k *keeper) pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.nudge:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// farewell returns what bounds a goodbye: it is tried again for so long, or until a context is over, or whoever ends the Bus has no more
// patience, and what is under way then has a last word. Both end with parent.
func (b *Bus) farewell(parent, until context.Context, patience time.Duration) (ctx, again context.Context, end func()) {
	ctx, cancel := context.WithCancel(parent)
	again, stop := context.WithTimeout(parent, patience)
	unhurried, early := context.AfterFunc(b.patience, stop), context.AfterFunc(until, stop)
	waiting := context.AfterFunc(again, func() {
		sleep(ctx, lastWord)
		cancel()
	})
	return ctx, again, func() {
		unhurried()
		early()
		waiting()
		stop()
		cancel()
	}
}
