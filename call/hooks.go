package call

import (
	"log/slog"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/hook"
)

// Hook is anything that has one or more of the methods of the Hook interfaces below, to count, measure and trace calls: see [WithHooks].
// How it is called is told at [rolebus.Hook]: one event after another, on a goroutine of its own, for which nothing waits; up to 1,024
// events wait, what comes beyond is missed, and [rolebus.HookMissed] tells how many. A hook that is given to several methods, or
// handlers, is called by each on its own, at the same time. Nobody waits for hooks at the end.
type Hook any

// HookCall is told when a call has ended: of [Method.Call], [Method.CallNode], and what a [Func] returned. What asks all nodes, and what
// waits for no answer, is told by its attempts.
type HookCall interface{ OnCall(CallInfo) }

// CallInfo is the event of [HookCall].
type CallInfo struct {
	Scope    string
	Role     rolebus.Role
	Method   string
	Node     *rolebus.Node // that answered, or failed last; nil if nobody was asked
	Attempts int
	Took     time.Duration // with waiting for a node, and between attempts
	Err      error         // as the caller gets it; that the output cannot be decoded is part of it
}

// HookAttempt is told when an attempt has ended.
type HookAttempt interface{ OnAttempt(AttemptInfo) }

// AttemptInfo is the event of [HookAttempt].
type AttemptInfo struct {
	Scope   string
	Role    rolebus.Role
	Method  string
	Number  int // from 1 on
	Node    *rolebus.Node
	Took    time.Duration
	Ran     Ran
	Err     error
	Hedge   bool // it was made because another one took long
	OfAll   bool // of All, First or NotifyAll
	NoReply bool // a notification: it was sent, no more is known
}

// HookServed is told when a call that came to this process has ended, or was refused.
type HookServed interface{ OnServed(ServedInfo) }

// ServedInfo is the event of [HookServed].
type ServedInfo struct {
	Scope  string
	Method string
	Waited time.Duration // in the queue
	Took   time.Duration // by the handler; 0 if it was not called
	Ran    bool          // the handler was called
	Err    error         // the handler's own, or why it was not called, or its answer was not sent: matches [ErrBusy], [ErrDraining], [ErrDecode] and so on
}

// hooks are those of one method, or one endpoint; nil if there are none.
type hooks struct {
	call    hook.Hearers[CallInfo]
	attempt hook.Hearers[AttemptInfo]
	served  hook.Hearers[ServedInfo]
}

func newHooks(given []Hook, log *slog.Logger) (*hooks, error) {
	if len(given) == 0 {
		return nil, nil
	}
	h := &hooks{}
	_, err := hook.Take(given, log, onMissed, func(_ Hook, q *hook.Queue) []bool {
		return []bool{
			hook.Listen(&h.call, q, HookCall.OnCall),
			hook.Listen(&h.attempt, q, HookAttempt.OnAttempt),
			hook.Listen(&h.served, q, HookServed.OnServed),
		}
	})
	return h, err
}

// onMissed tells a hook that events were too many for it, if it wants to hear of that.
func onMissed(one Hook) func(events int) {
	if missed, ok := one.(rolebus.HookMissed); ok {
		return func(events int) { missed.OnMissed(rolebus.MissedInfo{Events: events}) }
	}
	return nil
}

func (h *hooks) tellCall(info CallInfo) {
	if h != nil {
		h.call.Tell(info)
	}
}

func (h *hooks) tellAttempt(info AttemptInfo) {
	if h != nil {
		h.attempt.Tell(info)
	}
}

func (h *hooks) tellServed(info ServedInfo) {
	if h != nil {
		h.served.Tell(info)
	}
}
