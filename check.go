package rolebus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Check returns nil if all is well with this process's place in the fleet, for a page that tells of its health. Otherwise the
// error says all that is not, and for each of it matches:
//
//   - what [Bus.Err] says if the Bus has stopped, or [ErrClosed] while it shuts down; then nothing else is looked at;
//   - [ErrLeaseLost] if this node is not certain to be listed in a scope that it has joined; not of an observer, which has no lease;
//   - [ErrStale] if what this process sees of a joined scope was last known to be whole longer ago than twice the sync interval.
//
// Each error names its scope. It asks nobody: it goes by what this process knows, and does not block.
//
// As a check of readiness, which takes a process out of a load balancer, all of it is right. As a check of liveness, which has a
// process killed, only this is: bus.Err() == nil. A Bus comes back from everything else by itself; a check of liveness that
// failed with NATS would restart the whole fleet for one outage, and that of Check would kill a process that is shutting down.
func (b *Bus) Check() error {
	if err := b.made(); err != nil {
		return failed("check", err)
	}
	if err := b.refusedOr(context.Background()); err != nil {
		if cause := b.Err(); cause != nil {
			err = cause
		}
		return failed("check", err)
	}
	joined := b.joined()
	slices.SortFunc(joined, func(s, t *Scope) int { return strings.Compare(s.name, t.name) })
	var errs []error
	for _, s := range joined {
		for _, err := range s.check(time.Now()) {
			errs = append(errs, s.opErr("check", err))
		}
	}
	return errors.Join(errs...)
}

// check says what is not well in a scope.
func (s *Scope) check(now time.Time) (errs []error) {
	m := s.member.Load()
	if m == nil {
		return nil
	}
	if m.keeper != nil {
		switch cause := context.Cause(m.lease.context()); {
		case errors.Is(cause, ErrNotJoined):
			return nil // it is being left
		case cause != nil:
			errs = append(errs, cause)
		}
	}
	if age := m.catcher.age(now); age > 2*m.bus.opts.sync {
		errs = append(errs, fmt.Errorf("%w: for %v", ErrStale, age.Round(time.Millisecond)))
	}
	return errs
}
