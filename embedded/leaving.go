package embedded

import (
	"slices"
	"time"
)

// going is how far a member is that leaves for good.
//
//	waits for its turn, and for another to take its place -> evacuated -> steps down -> removed -> gone
type going struct {
	spare bool // it stays as a spare
	began bool
	since time.Time
	asked time.Time // when it last asked for something
	gone  bool
}

const (
	leavePatience = 15 * time.Second // for its place to be taken
	emptyPatience = 10 * time.Second // for its streams to be elsewhere
	askAgain      = time.Second
)

// goes begins to leave.
func (b *brain) goes(now time.Time) {
	b.orders = nil
	if !b.phase.serves() {
		b.going.gone = true
		return
	}
	if b.phase != phaseLeaving {
		b.become(now, phaseLeaving)
	}
	b.going.spare = false
}

// leave leaves, step by step.
func (b *brain) leave(now time.Time, own status, leader *other) {
	g := &b.going
	says := b.leading.lead
	listed := own.has(b.server)
	if !own.leads {
		says = nil
		if leader != nil {
			says, listed = leader.hello.Lead, slices.Contains(leader.hello.Peers, b.server)
		}
	}
	if says == nil {
		b.waits = "a leader, to leave"
		return
	}
	if !listed {
		b.left(now)
		return
	}
	if !g.began {
		staying := len(says.Live) - 1
		switch {
		case says.Leaving != b.server:
			b.waits = "another to leave first"
		case staying < b.size && now.Sub(b.since) < leavePatience:
			b.waits = "another to take its place"
		default:
			g.began, g.since = true, now
		}
		if !g.began {
			return
		}
	}
	if now.Sub(g.asked) < askAgain {
		return
	}
	g.asked = now
	switch {
	case own.streams > 0 && now.Sub(g.since) < emptyPatience && len(says.Live) > 1:
		b.order(order{do: doEvacuate})
	case own.leads && len(says.Live) > 1:
		b.order(order{do: doStepDown})
	case own.leads: // there is nobody whom it could leave anything to
		b.left(now)
	default:
		b.order(order{do: doRemove, server: b.server})
	}
}

// left is called when the cluster lists this process no more.
func (b *brain) left(now time.Time) {
	b.life++
	spare := b.going.spare
	why := "it left"
	if spare {
		why = "it was one too many"
	}
	b.anew(now, why)
	b.going = going{gone: !spare}
}
