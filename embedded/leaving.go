package embedded

import (
	"fmt"
	"time"
)

// going is how far a member is that leaves for good.
//
//	waits for its turn, and for another to take its place -> evacuated -> steps down -> removed -> gone
type going struct {
	spare bool      // it stays as a spare
	turn  time.Time // when it became its turn
	began bool
	since time.Time
	asked time.Time // when it last asked for something
	gone  bool

	removed bool // the leader has said that it removes it, as it asked
}

const (
	leavePatience = 15 * time.Second // for its place to be taken
	emptyPatience = 10 * time.Minute // for its streams to be elsewhere
	emptyShort    = 10 * time.Second // if there are too few others to take them
	askAgain      = time.Second
)

// goes begins to leave. Who founds, joins or returns may belong to the cluster already without knowing it: it leaves when it does.
func (b *brain) goes(now time.Time) {
	b.orders, b.parting = nil, true
	switch {
	case b.phase == phaseSpare || b.refused != "":
		b.going.gone = true
	case b.phase == phaseMember:
		b.become(now, phaseLeaving)
	default:
		b.going.spare = false
	}
}

// leave leaves, step by step.
func (b *brain) leave(now time.Time, own status, leader *other) {
	g := &b.going
	says := b.leading.lead
	listed, rest := own.has(b.server), len(own.peers)-1
	if !own.leads {
		says = nil
		if leader != nil {
			says, listed, rest = leader.hello.Lead, lists(leader.hello.Peers, b.server), len(leader.hello.Peers)-1
		}
	}
	if says == nil || !says.Quorum {
		b.waits = "a leader, to leave"
		return
	}
	if !listed {
		b.left(now)
		return
	}
	staying := len(says.Live) - 1
	if rest > 0 && staying < rest/2+1 { // those who stay could not decide anything, and what is stored here may be what they lack
		b.waits = fmt.Sprintf("more of the others, without whom it may not go: %d of %d are there, and %d are needed", staying, rest, rest/2+1)
		return
	}
	if staying == 0 && rest == 0 && b.successor() { // what is stored here is nowhere else, and there is one who stays
		g.began, g.turn, b.waits = false, time.Time{}, "another to take its place"
		return
	}
	if says.Leaving != b.server {
		g.began = false // it was cut off, and another has begun meanwhile
	}
	if !g.began {
		if says.Leaving != b.server {
			g.turn = time.Time{}
			b.waits = "another to leave first"
			return
		}
		if g.turn.IsZero() {
			g.turn = now
		}
		from := b.since
		if b.successor() {
			from = g.turn
		}
		switch {
		case staying >= b.size:
			g.began, g.since = true, now
		case g.spare: // it is not one too many any more
			b.become(now, phaseMember)
			return
		case now.Sub(from) < leavePatience:
			b.waits = "another to take its place"
			return
		default:
			g.began, g.since = true, now
		}
	}
	patience := emptyShort
	if staying >= b.size {
		patience = emptyPatience
	}
	b.waits = letsGo
	stores := own.sole > 0 || own.streams > 0 && now.Sub(g.since) < patience // what nobody else has is waited for, however long that takes
	if b.nobodyStays(now, says) {                                            // it would end with those who took it
		stores = own.sole > 0 && now.Sub(g.since) < emptyShort
	}
	if stores {
		b.waits = fmt.Sprintf("others to have what it stores: %d streams", own.streams)
	}
	if now.Sub(g.asked) < askAgain {
		return
	}
	g.asked = now
	switch {
	case stores && staying > 0:
		b.order(order{do: doEvacuate})
	case own.leads && len(own.peers) > 1:
		b.order(order{do: doStepDown})
	case own.leads && b.awaitsWord(now, own):
		b.waits = "others to hear that they have left"
	case own.leads: // there is nobody whom it could leave anything to
		b.left(now)
	default:
		b.order(order{do: doRemove, server: b.server})
	}
}

// removes is called when the leader has said that it removes a server: of one that leaves itself, nobody may be left soon who could say that it did.
func (b *brain) removes(server string) {
	b.going.removed = b.going.removed || server == b.server && b.going.began
}

// left is called when the cluster lists this process no more.
func (b *brain) left(now time.Time) {
	b.life++
	why := "it left"
	if b.going.spare {
		why = "it was one too many"
	}
	b.anew(now, why)
}

// successor says whether there is one who could take this member's place.
func (b *brain) successor() bool {
	for _, o := range b.view.others {
		if (o.hello.Phase == phaseSpare || o.hello.Phase == phaseJoining) && o.hello.Cluster == b.cluster && o.hello.Refused == "" && o.failed.IsZero() {
			return true
		}
	}
	return false
}

// nobodyStays says whether all who are there leave, as a whole deployment does that ends. Who is one too many stays, as a spare: but not while there are
// fewer than there are to be.
func (b *brain) nobodyStays(now time.Time, says *lead) bool {
	if b.going.spare || len(says.Live) > b.size || b.successor() {
		return false
	}
	for _, name := range says.Live {
		o := b.view.server(b.cluster, name)
		if name != b.server && (o == nil || !o.fresh(now) || o.hello.Phase != phaseLeaving) {
			return false
		}
	}
	return true
}

// awaitsWord says whether somebody was removed and does not know it yet: nobody but the last one can say so.
func (b *brain) awaitsWord(now time.Time, own status) bool {
	for _, o := range b.view.lately(now) {
		if o.hello.Cluster == b.cluster && o.hello.Phase == phaseLeaving && !own.has(o.hello.Server) {
			return true
		}
	}
	return false
}
