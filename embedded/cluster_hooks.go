package embedded

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/hook"
)

// Hook is anything that has one or more of the methods of the Hook interfaces below, to count, measure and trace what becomes of a cluster,
// as this process sees it: see [WithHooks]. How it is called is told at [rolebus.Hook]: one event after another, on a goroutine of its own,
// for which nothing waits but, for a moment, [ClusterServer.Close] and [ClusterServer.Leave]; up to 1,024 events wait, what comes beyond is
// missed, and [rolebus.HookMissed] tells how many.
type Hook any

// HookFormed is told when this process and others have founded a cluster.
type HookFormed interface{ OnFormed(FormedInfo) }

// FormedInfo is the event of [HookFormed].
type FormedInfo struct {
	Cluster string   // its identity
	Members []string // the founders, by name
}

// HookJoined is told when this process has become a member of a cluster that was there, also when it returns to it.
type HookJoined interface{ OnJoined(JoinedInfo) }

// JoinedInfo is the event of [HookJoined].
type JoinedInfo struct {
	Cluster string
	Returns bool // it was a member before, and has its store
}

// HookLeft is told when this process is no member any more, and its store is empty: because it left, was replaced, was one too many, or
// because what it was to found or to join did not come about.
type HookLeft interface{ OnLeft(LeftInfo) }

// LeftInfo is the event of [HookLeft].
type LeftInfo struct {
	Cluster string // "" if it was never founded
	Reason  string
}

// HookReplaced is told, by the leader's process, when another has taken the place of a dead member.
type HookReplaced interface{ OnReplaced(ReplacedInfo) }

// ReplacedInfo is the event of [HookReplaced].
type ReplacedInfo struct {
	Dead string        // the server that is no member any more
	By   string        // the server that came last
	Took time.Duration // since it was seen to be dead
}

// HookRemoved is told, by the leader's process, when a server was taken out of the cluster: one that was dead, or one that leaves, by its own
// process.
type HookRemoved interface{ OnRemoved(RemovedInfo) }

// RemovedInfo is the event of [HookRemoved].
type RemovedInfo struct{ Server string }

// HookRefused is told, once for each reason, of a process that does not fit: this one, when it may not take part, or another.
type HookRefused interface{ OnRefused(RefusedInfo) }

// RefusedInfo is the event of [HookRefused].
type RefusedInfo struct {
	Process string // its name; "" if it is not known
	Address string // "" of this process
	Reason  string // with what to do
}

// HookWaiting is told when it changes for whom or for what this process waits.
type HookWaiting interface{ OnWaiting(WaitingInfo) }

// WaitingInfo is the event of [HookWaiting].
type WaitingInfo struct{ For string } // "" for nothing any more

// HookLeader is told when another server leads the cluster.
type HookLeader interface{ OnLeader(LeaderInfo) }

// LeaderInfo is the event of [HookLeader].
type LeaderInfo struct{ Leader string } // "" if none does

// HookForgotten is told when this process gives a cluster up that it knew, and of which it heard no member for long: see [WithPatience].
type HookForgotten interface{ OnForgotten(ForgottenInfo) }

// ForgottenInfo is the event of [HookForgotten].
type ForgottenInfo struct {
	Cluster string
	After   time.Duration
}

type clusterHooks struct {
	formed    hook.Hearers[FormedInfo]
	joined    hook.Hearers[JoinedInfo]
	left      hook.Hearers[LeftInfo]
	replaced  hook.Hearers[ReplacedInfo]
	removed   hook.Hearers[RemovedInfo]
	refused   hook.Hearers[RefusedInfo]
	waiting   hook.Hearers[WaitingInfo]
	leader    hook.Hearers[LeaderInfo]
	forgotten hook.Hearers[ForgottenInfo]
	queues    []*hook.Queue
}

func newClusterHooks(given []Hook, log *slog.Logger) (*clusterHooks, error) {
	h := &clusterHooks{}
	var err error
	h.queues, err = hook.Take(given, log, onMissed, func(_ Hook, q *hook.Queue) []bool {
		return []bool{
			hook.Listen(&h.formed, q, HookFormed.OnFormed),
			hook.Listen(&h.joined, q, HookJoined.OnJoined),
			hook.Listen(&h.left, q, HookLeft.OnLeft),
			hook.Listen(&h.replaced, q, HookReplaced.OnReplaced),
			hook.Listen(&h.removed, q, HookRemoved.OnRemoved),
			hook.Listen(&h.refused, q, HookRefused.OnRefused),
			hook.Listen(&h.waiting, q, HookWaiting.OnWaiting),
			hook.Listen(&h.leader, q, HookLeader.OnLeader),
			hook.Listen(&h.forgotten, q, HookForgotten.OnForgotten),
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

// tell tells an event to the hooks, and to the log.
func (h *clusterHooks) tell(log *slog.Logger, event any) {
	switch e := event.(type) {
	case FormedInfo:
		log.Info("the cluster is formed", "cluster", e.Cluster, "members", e.Members)
		h.formed.Tell(e)
	case JoinedInfo:
		log.Info("joined the cluster", "cluster", e.Cluster, "returns", e.Returns)
		h.joined.Tell(e)
	case LeftInfo:
		log.Info("no member any more", "cluster", e.Cluster, "reason", e.Reason)
		h.left.Tell(e)
	case ReplacedInfo:
		log.Info("a dead member was replaced", "dead", e.Dead, "by", e.By, "took", e.Took)
		h.replaced.Tell(e)
	case RemovedInfo:
		log.Info("a server was removed from the cluster", "server", e.Server)
		h.removed.Tell(e)
	case RefusedInfo:
		if e.Address != "" { // the log has the name of this process already
			log = log.With("other", e.Process, "address", e.Address)
		}
		log.Warn("a process does not fit into the cluster", "reason", e.Reason)
		h.refused.Tell(e)
	case WaitingInfo:
		if e.For != "" {
			log.Info("waiting", "for", e.For)
		}
		h.waiting.Tell(e)
	case LeaderInfo:
		log.Info("the cluster's leader", "leader", e.Leader)
		h.leader.Tell(e)
	case ForgottenInfo:
		log.Warn("a cluster is given up of which no member was heard", "cluster", e.Cluster, "after", e.After)
		h.forgotten.Tell(e)
	}
}

// close delivers what waits.
func (h *clusterHooks) close() error {
	for _, q := range h.queues {
		q.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), hookPatience)
	defer cancel()
	var errs []error
	for _, q := range h.queues {
		errs = append(errs, q.Wait(ctx))
	}
	return errors.Join(errs...)
}

const hookPatience = 5 * time.Second
