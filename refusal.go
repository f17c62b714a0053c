package rolebus

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What the servers will not have. A refusal is an answer, and no outage: a record that has become too large, a permission that was
// taken away, a limit that is reached. Heartbeats go on, and whom the server buries is believed to be dead.

// isAnswer says whether an error is the servers' answer, or may be. What does not answer has no leader, or cannot be reached.
func isAnswer(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, ErrTooLarge) || errors.Is(err, nats.ErrPermissionViolation) || errors.As(err, &api)
}

// failed takes note of a heartbeat that did not get through. One that was refused says nothing of the others: that may be this node's
// own affair, or everybody's. So the leader is asked, as an observer does. If it answers there is contact; if it takes nobody's
// heartbeats it says for how long it has stored nothing.
func (k *keeper) failed(ctx context.Context, err error, what string) {
	if errors.Is(err, context.DeadlineExceeded) {
		k.pace.again()
		if short := k.pace.short(); short != nil {
			err = fmt.Errorf("%w: %w", short, err)
		}
	}
	if !errors.Is(err, ErrTooLarge) { // which never stands beside ErrNotConfirmed
		k.want.fail(err)
	}
	if isAnswer(err) && k.asks.ask(ctx) == nil {
		k.tellRefusal(what, err)
		return
	}
	fresh := k.trust.fail()
	if fresh {
		k.moved()
	}
	// Somebody else may have found out first that there is no contact, and it is told, too, that there is no connection.
	if fresh || !k.unheard && !errors.Is(err, nats.ErrDisconnected) && !errors.Is(err, nats.ErrReconnectBufExceeded) {
		k.log.Warn(what, "error", err)
		k.unheard = true
	}
}

// refused takes note of a change that the server will not have, while the heartbeats go on; nil if there is none.
func (k *keeper) refused(err error) {
	if err != nil && !errors.Is(err, ErrTooLarge) {
		k.want.fail(err)
	}
	k.tellRefusal("the bucket does not take the change", err)
}

// tellRefusal tells once of what is refused again and again.
func (k *keeper) tellRefusal(what string, err error) {
	if err != nil && !k.mentioned {
		k.log.Warn(what, "error", err)
	}
	k.mentioned = err != nil
}

// giveUp takes a change back that makes the record too large: it was not when the change was asked for, and the server's limit has
// been lowered since. Who waits for it is told so, and nothing was changed. Of a node that has no record yet the join fails.
func (k *keeper) giveUp(rev uint64, want wanted, err error) {
	if !errors.Is(err, ErrTooLarge) || k.generation == 0 || !k.want.takeBack(rev, k.held, err) {
		return
	}
	k.log.Warn("the record would be larger than the server takes by now, the change is taken back", "error", err)
	if !maps.Equal(want.meta, k.held.meta) {
		k.strip(want.meta, k.held.meta)
	}
}
