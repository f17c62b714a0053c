package discovery

import (
	"log/slog"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/hook"
)

// Hook is anything that has one or more of the methods of the Hook interfaces below, to count, measure and trace what strategies do: see
// [WithHooks]. How it is called is told at [rolebus.Hook]: one event after another, on a goroutine of its own, for which nothing waits; up
// to 1,024 events wait, what comes beyond is missed, and [rolebus.HookMissed] tells how many. A hook that is given to several strategies is
// called by each on its own, at the same time. Nobody waits for hooks at the end.
type Hook any

// HookFound is told of each address that a strategy lists and did not list before.
type HookFound interface{ OnFound(FoundInfo) }

// FoundInfo is the event of [HookFound].
type FoundInfo struct {
	Strategy string
	Address  Address
}

// HookGone is told of each address that a strategy lists no more. An end of the strategy is none of its addresses.
type HookGone interface{ OnGone(GoneInfo) }

// GoneInfo is the event of [HookGone].
type GoneInfo struct {
	Strategy string
	Address  Address
}

// HookLookup is told when a source was asked, by strategies that ask, whatever came of it.
type HookLookup interface{ OnLookup(LookupInfo) }

// LookupInfo is the event of [HookLookup].
type LookupInfo struct {
	Strategy  string
	Took      time.Duration
	Addresses int   // that came of it
	Err       error // as that of [FailedInfo]; with addresses: the list lacks something
}

// HookFailed is told of each thing that goes wrong: a lookup that failed, or found nothing, an address that cannot be used, a message
// that is not what it should be. It takes nothing away.
type HookFailed interface{ OnFailed(FailedInfo) }

// FailedInfo is the event of [HookFailed].
type FailedInfo struct {
	Strategy string
	Reason   Reason
	Err      error
	InARow   int // failures since it last went well, this one among them
}

// HookAnnounced is told when this process's own addresses were made known, and again whenever that fails, or goes well again.
type HookAnnounced interface{ OnAnnounced(AnnouncedInfo) }

// AnnouncedInfo is the event of [HookAnnounced].
type AnnouncedInfo struct {
	Strategy  string
	Addresses []Address
	Err       error
}

// hooks are those of one strategy; nil if there are none.
type hooks struct {
	found     hook.Hearers[FoundInfo]
	gone      hook.Hearers[GoneInfo]
	lookup    hook.Hearers[LookupInfo]
	failed    hook.Hearers[FailedInfo]
	announced hook.Hearers[AnnouncedInfo]
}

func newHooks(given []Hook, log *slog.Logger) (*hooks, error) {
	if len(given) == 0 {
		return &hooks{}, nil
	}
	h := &hooks{}
	_, err := hook.Take(given, log, onMissed, func(_ Hook, q *hook.Queue) []bool {
		return []bool{
			hook.Listen(&h.found, q, HookFound.OnFound),
			hook.Listen(&h.gone, q, HookGone.OnGone),
			hook.Listen(&h.lookup, q, HookLookup.OnLookup),
			hook.Listen(&h.failed, q, HookFailed.OnFailed),
			hook.Listen(&h.announced, q, HookAnnounced.OnAnnounced),
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
