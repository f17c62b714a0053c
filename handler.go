package rolebus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
)

// Handler has functions that are called with a scope's events, each of which may be nil. The events of one scope come
// one after another and in the order of [Scope.Watch]; those of different scopes come at the same time. A function may
// take as long as it likes: it misses steps meanwhile, never the end, and holds up nothing else. If it panics, the panic
// is logged and the next event follows.
type Handler struct {
	OnRoleAdded   func(Event)
	OnRoleRemoved func(Event)
	OnNodeJoined  func(Event)
	OnNodeLeft    func(Event)
	OnNodeBuried  func(Event)
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

// serve starts the handler for a stay.
func (b *Bus) serve(m *member) {
	if b.opts.handler == nil {
		return
	}
	d := &dispatch{scope: m.scope.name, ended: make(chan struct{})}
	var last *dispatch // of an earlier stay in the same scope, still at its last event
	b.mu.Lock()
	b.handlers = slices.DeleteFunc(b.handlers, (*dispatch).over)
	for _, earlier := range b.handlers {
		if earlier.scope == d.scope {
			last = earlier
		}
	}
	b.handlers = append(b.handlers, d)
	b.mu.Unlock()
	go func() { // joined by awaitHandlers
		defer close(d.ended)
		if last != nil {
			<-last.ended
		}
		for ev := range m.scope.Watch(m.ctx) {
			b.call(ev)
		}
	}()
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
	defer func() {
		if fault := recover(); fault != nil {
			b.opts.log.Error("a handler panicked", "event", ev.Kind.String(), "scope", ev.Scope, "node", ev.Node.Name(),
				"panic", fault, "stack", string(debug.Stack()))
		}
	}()
	b.opts.handler.handle(ev)
}

// awaitHandlers waits for the handlers to return from their last event, not for ever: they are the user's code.
func (b *Bus) awaitHandlers() error {
	b.mu.Lock()
	handlers := b.handlers
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), b.opts.timeout)
	defer cancel()
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
