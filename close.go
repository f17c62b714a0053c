package rolebus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How a Bus stops, and how that is told.

// Close leaves every scope with a goodbye, stops, and returns when everything has stopped; the connection is closed if
// [Connect] made it. Reads go on answering from the last snapshots, everything else returns [ErrClosed]. A goodbye that fails in
// passing, because a server restarts or a cluster has no leader, is tried again for the request timeout, see
// [WithRequestTimeout]. An error says that it did not get through ([ErrNotConfirmed]): others see the node go when its lease ends.
// Or it says that a handler or a hook is still running after that timeout once more. It may be called more than once, from any
// goroutine; each call waits and returns the same. A handler or a hook that calls it waits for itself, for that timeout.
func (b *Bus) Close() error {
	if err := b.made(); err != nil {
		return failed("close", err)
	}
	b.farewells.Store(0)
	b.drain.enough(ErrClosed)
	b.cancel(ErrClosed)
	<-b.done
	return b.closeErr
}

// Done returns a channel that is closed when the Bus has stopped, and nothing of it runs any more: by Close, because a newer
// process took the node's name, or because its connection was closed. [Bus.Err] says which. A program that waits for a signal
// waits for this, too: else it goes on as a process that nobody sees.
func (b *Bus) Done() <-chan struct{} {
	must(b.made())
	return b.done
}

// Err returns nil while the Bus runs; then [ErrClosed] after Close, an error that matches [ErrSuperseded], or one that
// matches nats.ErrConnectionClosed. It does so from the moment when the Bus begins to stop: before a watch ends for that reason,
// before any call returns [ErrClosed], and before [Bus.Done].
func (b *Bus) Err() error {
	if err := b.made(); err != nil {
		return err
	}
	return context.Cause(b.ctx)
}

// endedOr returns why a call cannot go on: the Bus has stopped, or ctx is over.
func (b *Bus) endedOr(ctx context.Context) error {
	cause := context.Cause(b.ctx)
	switch {
	case cause == nil:
		return ended(ctx)
	case errors.Is(cause, ErrClosed):
		return cause
	}
	return fmt.Errorf("%w: %w", ErrClosed, cause)
}

// refusedOr is endedOr for what gives roles or joins scopes: also when the Bus shuts down.
func (b *Bus) refusedOr(ctx context.Context) error {
	if b.ctx.Err() == nil && errors.Is(context.Cause(b.giving), errShuttingDown) {
		return errShuttingDown
	}
	return b.endedOr(ctx)
}

// giveUp closes a Bus that nobody has seen. When ctx is over there is no time to try a goodbye again.
func (b *Bus) giveUp(ctx context.Context) error {
	if ctx.Err() != nil {
		b.hurry()
	}
	return b.Close()
}

// closeUnseen closes a Bus that came too late for whoever wanted it.
func (b *Bus) closeUnseen() {
	b.hurry()
	_ = b.Close()
}

// run waits for the end and then stops everything.
func (b *Bus) run() {
	<-b.ctx.Done()
	if cause := context.Cause(b.ctx); !errors.Is(cause, ErrClosed) {
		b.opts.log.Warn("the bus stops", "node", b.opts.node, "error", cause)
	}
	var leaving sync.WaitGroup
	scopes := b.handles()
	errs := make([]error, len(scopes))
	patience := cmp.Or(time.Duration(b.farewells.Load()), b.opts.timeout)
	for i, s := range scopes {
		leaving.Go(func() {
			s.turn <- struct{}{} // a join that is under way ends with b.ctx
			if m := s.member.Swap(nil); m != nil {
				ctx, again, end := b.farewell(context.Background(), context.Background(), patience)
				defer end()
				errs[i] = s.opErr("close", m.end(ctx, again, lastSnapshot))
			}
			<-s.turn
		})
	}
	leaving.Wait()
	close(b.parted)
	ctx, cancel := context.WithTimeout(context.Background(), b.opts.timeout) // for the user's code
	defer cancel()
	defer context.AfterFunc(b.patience, func() { sleep(ctx, userTime); cancel() })()
	errs = append(errs, b.awaitEars(ctx), b.awaitHandlers(ctx))
	b.wg.Wait()
	errs = append(errs, b.hooks.closeUntil(ctx)) // last: all that was done is told
	if b.dialer != nil {
		b.nc.conn().Close()
	}
	b.closeErr = errors.Join(errs...)
	close(b.done)
}

// lastSnapshot is what a closed Bus goes on answering from.
func lastSnapshot(snap *Snapshot) *Snapshot {
	if !snap.stale.IsZero() {
		return snap
	}
	return snap.withStale(time.Now())
}
