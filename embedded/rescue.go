package embedded

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// rescuing is how far a rescue is that a person asked for: a cluster of which so many servers are lost for good that the rest cannot elect a leader.
// Pure, as brain is.
//
//	no leader, for long -> the survivors need fewer votes -> they elect a leader -> the lost are removed, one at a time -> spares join
//
// The lost are removed before anybody joins: then nobody but survivors ever counts in an election, and when the last one is removed, the
// servers need as many votes as ever. In the other order a blank one's vote would count, and for minutes one server's would be enough.
type rescuing struct {
	lost    []string
	since   time.Time // when it was asked for
	calm    time.Time // since when nobody takes anybody for a leader
	lowered bool      // the survivors need fewer votes
	asked   time.Time // when it last asked for something
	over    bool
	err     error
}

const (
	rescueCalm  = 10 * time.Second // without a leader: an election takes less
	rescueDoubt = time.Minute      // with one of whom it is not known whether it leads: a server that cannot be heard is taken for one for less
)

// rescueOf begins a rescue.
func (b *brain) rescueOf(now time.Time, lost []string) error {
	if b.rescue != nil && !b.rescue.over {
		return errors.New("a rescue is under way already")
	}
	lost = slices.Compact(slices.Sorted(slices.Values(lost)))
	if len(lost) == 0 {
		return errors.New("name the servers that are lost")
	}
	b.rescue = &rescuing{lost: lost, since: now, calm: now}
	return nil
}

// rescues goes on with a rescue.
func (b *brain) rescues(now time.Time, own status, all []*other) {
	r := b.rescue
	if r == nil || r.over {
		return
	}
	end := func(err error) { r.over, r.err = true, err }
	var left []peer
	for _, p := range own.peers {
		if slices.Contains(r.lost, p.name) {
			left = append(left, p)
		}
	}
	switch {
	case b.phase == phaseReturns || b.phase == phaseJoining || b.phase.serves() && (!own.running || own.peers == nil):
		return // it waits for its server, as it says
	case !b.phase.serves():
		end(fmt.Errorf("this process has no server of a cluster, it is %s: have a member rescue it that has its store", partOf(b.phase, b.refused, b.cluster)))
	case !r.lowered:
		if err := b.noRescue(now, own, all); err != nil {
			end(err)
			return
		}
		if b.waits = "the rescue: no leader may be seen for 10 s before it begins"; now.Sub(r.calm) >= rescueCalm && now.Sub(r.asked) >= askAgain {
			r.asked = now
			b.order(order{do: doRescue, votes: len(own.peers) - len(r.lost)})
		}
	case own.leader == "":
		b.waits = "the rescue: the servers that are left to elect a leader"
	case len(left) > 0:
		b.waits = "the rescue: " + left[0].name + " to be removed"
		if now.Sub(r.asked) >= askAgain {
			r.asked = now
			b.order(order{do: doRemove, server: left[0].name, id: left[0].id})
		}
	default:
		says := b.leading.lead
		if leader := b.leader(all); leader != nil && !own.leads {
			says = leader.hello.Lead
		}
		if says != nil && says.Quorum && len(says.Live) >= b.size && own.ready {
			end(nil)
		} else if b.waits == "" {
			b.waits = "the rescue: spares to join, and to have copied what is stored"
		}
	}
}

// noRescue says why there must not be one.
func (b *brain) noRescue(now time.Time, own status, all []*other) error {
	r, leads := b.rescue, own.leader
	if leader := b.leader(all); leader != nil || b.leading.lead != nil && b.leading.lead.Quorum {
		return errors.New("the cluster has a leader: what is dead is replaced without a rescue")
	}
	var names, silent []string
	for _, p := range own.peers {
		names = append(names, p.name)
	}
	for _, name := range r.lost {
		switch {
		case name == b.server:
			return fmt.Errorf("%s is this process's own server", name)
		case !slices.Contains(names, name):
			return fmt.Errorf("no server of the cluster is named %q: there are %s", clip(name), strings.Join(names, ", "))
		}
	}
	for _, o := range all {
		switch {
		case o.hello.Cluster != b.cluster || o.hello.Phase == phaseSpare:
		case slices.Contains(r.lost, o.hello.Server):
			return fmt.Errorf("the server %s is not lost: its process answers, at %s", o.hello.Server, o.contact)
		case o.hello.Phase.serves() && o.hello.Leader != "":
			leads = o.hello.Leader
		}
	}
	for _, name := range names {
		connected := name == b.server || slices.Contains(own.routed, name)
		switch {
		case slices.Contains(r.lost, name) && connected:
			return fmt.Errorf("the server %s is not lost: it is connected", name)
		case !slices.Contains(r.lost, name) && !connected:
			silent = append(silent, name)
		}
	}
	if len(silent) > 0 {
		return fmt.Errorf("of the servers that are not named as lost, these are not connected: %s; start them, as they may have what no other has, or name them, too",
			strings.Join(silent, ", "))
	}
	if leads != "" {
		r.calm = now
		if now.Sub(r.since) > rescueDoubt {
			return fmt.Errorf("some take %s for the leader: see whether it runs", leads)
		}
	}
	return nil
}
