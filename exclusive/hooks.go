package exclusive

import (
	"log/slog"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/hook"
)

// Hook is anything that has one or more of the methods of the Hook interfaces below: see [WithHooks]. How it is called is told at
// [rolebus.Hook]: one event after another, on a goroutine of its own, for which nothing waits; up to 1,024 events wait, what comes beyond
// is missed, and [rolebus.HookMissed] tells how many. A hook that is given to several campaigns is called by each on its own, at the same
// time; [Run] is one of them, whatever number of terms it has. Nothing waits for it when the Bus is closed either: what it was told last it may hear after that.
type Hook any

// HookBegan is told when this process has a term.
type HookBegan interface{ OnBegan(TermInfo) }

// HookEnded is told when a term of this process is over: its context has ended.
type HookEnded interface{ OnEnded(TermInfo) }

// HookOutlived is told when the function of [Run] still runs though its term is over and somebody else may have the next one by now: a tenth
// of the TTL after the lease has ended, or the term was taken, and once more when it has returned. As long as the lease lasts the name is kept for a function
// whose term is over, as when the node has lost the role of [Among], or is drained.
type HookOutlived interface{ OnOutlived(TermInfo) }

// TermInfo is the event of [HookBegan], [HookEnded] and [HookOutlived].
type TermInfo struct {
	Scope string
	Name  string // of a partition of [Partitions]: "<role>/<n>/<partition>"
	Seat  int
	Token uint64
	Took  time.Duration // HookBegan: what the campaign took; HookEnded: how long the term lasted; HookOutlived: for how long the function has outlived it
	Err   error         // HookEnded, HookOutlived: why it ended, as the cause of its context
	Over  bool          // HookOutlived: the function has returned
}

// hooks are those of one campaign; nil if there are none.
type hooks struct {
	began, ended, outlived hook.Hearers[TermInfo]
}

func newHooks(given []Hook, log *slog.Logger) (*hooks, error) {
	if len(given) == 0 {
		return nil, nil
	}
	h := &hooks{}
	_, err := hook.Take(given, log, onMissed, func(_ Hook, q *hook.Queue) []bool {
		return []bool{
			hook.Listen(&h.began, q, HookBegan.OnBegan),
			hook.Listen(&h.ended, q, HookEnded.OnEnded),
			hook.Listen(&h.outlived, q, HookOutlived.OnOutlived),
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

func (h *hooks) tellBegan(info TermInfo) {
	if h != nil {
		h.began.Tell(info)
	}
}

func (h *hooks) tellEnded(info TermInfo) {
	if h != nil {
		h.ended.Tell(info)
	}
}

func (h *hooks) tellOutlived(info TermInfo) {
	if h != nil {
		h.outlived.Tell(info)
	}
}
