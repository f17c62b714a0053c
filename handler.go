package rolebus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/rolebus/rolebus/internal/hook"
)

// Handler has functions that are called with a scope's events, each of which may be nil. The events of one scope come
// one after another and in the order of [Scope.Watch]; those of different scopes come at the same time. A function may
// take as long as it likes: it misses steps meanwhile, never the end, and holds up nothing else.
//
// The first events of a scope are what is there when its join has completed, this process's own node among them; those of the
// scopes that [Connect] or [New] joins begin when all of these are joined, right before it returns. So the variable that takes its
// result may not be assigned yet when a function is called: what is so is in [Event.Snapshot].
//
// An event is the difference between two snapshots, not a message: what changes quickly is merged, also for a function that
// takes no time. (Of 500 roles that were added and removed one after another, the handler of another process heard of between 113
// and 235.)
//
// If a function panics, or ends its goroutine (runtime.Goexit, as a failed check in a test does), that is told by [WithLogger]
// or, if the logger is not enabled for errors, on standard error with the stack; then the next event follows.
type Handler struct {
	OnNodeJoined  func(Event)
	OnNodeLeft    func(Event)
	OnNodeBuried  func(Event)
	OnRoleAdded   func(Event)
	OnRoleRemoved func(Event)
	OnMetaChanged func(Event)
}

func (h Handler) handle(ev Event) {
	var call func(Event)
	switch ev.Kind {
	case RoleAdded:
		call = h.OnRoleAdded
	case RoleRemoved:
		call = h.OnRoleRemoved
	case NodeJoined:
		call = h.OnNodeJoined
	case NodeLeft:
		call = h.OnNodeLeft
	case NodeBuried:
		call = h.OnNodeBuried
	case MetaChanged:
		call = h.OnMetaChanged
	}
	if call != nil {
		call(ev)
	}
}

// dispatch runs the user's handler for one stay in a scope, on a goroutine that nothing else waits for.
type dispatch struct {
	scope string
	ended chan struct{}
}

// serveAll starts the handler for the scopes that were joined so far. Those that are joined from now on have theirs started at once.
func (b *Bus) serveAll() {
	b.mu.Lock()
	b.serving = true
	unserved := b.unserved
	b.unserved = nil
	b.mu.Unlock()
	for _, m := range unserved {
		release, err := m.scope.hold(b.ctx, b.ctx) // so that the end waits for what is started here
		if err != nil {
			return // it stops already
		}
		if m.scope.member.Load() == m {
			b.serve(m)
		}
		release()
	}
}

// serve starts the handler for a stay, unless that is left to serveAll.
func (b *Bus) serve(m *member) {
	if b.opts.handler == nil {
		return
	}
	d := &dispatch{scope: m.scope.name, ended: make(chan struct{})}
	var earlier []*dispatch // of stays in the same scope, of which one is still at its last event
	b.mu.Lock()
	if !b.serving {
		b.unserved = append(b.unserved, m)
		b.mu.Unlock()
		return
	}
	b.handlers = slices.DeleteFunc(b.handlers, (*dispatch).over)
	for _, other := range b.handlers {
		if other.scope == d.scope {
			earlier = append(earlier, other)
		}
	}
	b.handlers = append(b.handlers, d)
	b.mu.Unlock()
	go func() { // joined by awaitHandlers
		for _, other := range earlier {
			select {
			case <-other.ended:
			case <-m.ctx.Done(): // nothing is kept of a stay that is over, also if that handler never returns
				close(d.ended)
				return
			}
		}
		next, stop := iter.Pull(m.scope.Watch(m.ctx))
		b.dispatch(d, next, stop)
	}()
}

// dispatch calls the handler with one event after another. A function that ends the goroutine ends nothing else: another one goes
// on with the next event.
func (b *Bus) dispatch(d *dispatch, next func() (Event, bool), stop func()) {
	over := false
	defer func() {
		if !over {
			go b.dispatch(d, next, stop) // joined as the first one
			return
		}
		stop()
		close(d.ended)
	}()
	for {
		ev, ok := next()
		if !ok {
			over = true
			return
		}
		b.call(ev)
	}
}

func (d *dispatch) over() bool {
	select {
	case <-d.ended:
		return true
	default:
		return false
	}
}

// call hands an event to the handler, and survives its panic.
func (b *Bus) call(ev Event) {
	returned := false
	defer func() {
		if returned {
			return
		}
		fault := recover()
		if fault == nil {
			fault = "runtime.Goexit"
		}
		hook.Blame(b.opts.log, "a handler panicked", fault, "event", ev.Kind.String(), "scope", ev.Scope, "node", ev.Node.Name())
	}()
	b.opts.handler.handle(ev)
	returned = true
}

// awaitHandlers waits for the handlers to return from their last event, not for ever: they are the user's code.
func (b *Bus) awaitHandlers(ctx context.Context) error {
	b.mu.Lock()
	handlers := b.handlers
	b.mu.Unlock()
	var errs []error
	for _, d := range handlers {
		select {
		case <-d.ended:
		case <-ctx.Done():
			errs = append(errs, failed("close", fmt.Errorf("the handler in scope %q is still running", d.scope)))
		}
	}
	return errors.Join(errs...)
}
