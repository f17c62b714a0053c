package rolebus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
)

// How packages that build on the bus hear messages: for as long as the Bus, or as this node lives in a scope.

// Subscription is what [Bus.Subscribe] and [Scope.Listen] return. All methods may be called from any goroutine.
type Subscription struct {
	ear  *ear
	ears *ears // nil if it is of no scope

	kind, name string   // of Listen
	lasting    *lasting // of Listen under the mu of ears; nil while the node has no life in the scope
}

// Subscribe has a function called with each message that is published to a subject, which may have wildcards, as nats.Conn.Subscribe
// does, but for as long as the Bus: until it has said goodbye, or stop. It goes on after a break, and on the connection that takes
// the place of one that nats.go gave up (see [Bus.Conn]); what is published meanwhile is missed. When Close returns nothing of it is left, also
// on a connection that the caller of [New] owns.
//
// It is in force for what this process sends after Subscribe has returned; for what others send as soon as the servers know it, which
// nats.Conn.Flush waits for. What a server does not permit is told in the log, not here; of a borrowed connection, by its own error
// handler. A connection with nats.NoEcho hears nothing that is published over it, also from this process to itself.
//
// The function is called with one message after another, in their order, on a goroutine that nothing else waits for, Close excepted:
// that waits for it no longer than for a handler, and says so. It must not block: what comes meanwhile waits in memory, without a
// limit, and nothing is dropped. It must not end the goroutine; a panic is not caught. Nil is a panic.
//
// The error matches [ErrClosed] if the Bus has stopped, or is that of nats.go, as for a subject that cannot be one.
func (b *Bus) Subscribe(subject string, handle func(*nats.Msg)) (*Subscription, error) {
	if handle == nil {
		panic(prefix + "nil function")
	}
	sub := &Subscription{ear: newEar(handle)}
	err := b.made()
	if err == nil {
		err = b.endedOr(context.Background())
	}
	if err == nil {
		sub.lasting, err = b.nc.lend(subject, sub.ear)
	}
	if err != nil {
		return nil, failed(fmt.Sprintf("subscribe %q", clip(subject)), err)
	}
	return sub, nil
}

// Stop ends the subscription, and does not wait: it may be called within the function. What is published before the server knows of the
// end is still handed on, unless the connection is down or the Bus ends. Twice is as good as once.
func (sub *Subscription) Stop() {
	if sub.ears != nil {
		sub.ears.drop(sub)
		return
	}
	sub.lasting.stop(false)
}

// awaitEars ends what [Bus.Subscribe] made, and whatever is left of [Scope.Listen], and waits until nothing is handed on any more, not
// for ever: it is the user's code.
func (b *Bus) awaitEars(ctx context.Context) error {
	if b.nc == nil {
		return nil // nobody can be heard
	}
	b.nc.drained(ctx)
	running := 0
	for _, e := range b.nc.deafen() {
		if !e.hush(ctx) {
			running++
		}
	}
	if running > 0 {
		return failed("close", fmt.Errorf("functions of Subscribe or Listen that are still running: %d", running))
	}
	return nil
}
