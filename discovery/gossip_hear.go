package discovery

import (
	"crypto/rand"
	mathrand "math/rand/v2"
	"net/netip"
	"time"

	"github.com/rolebus/rolebus/internal/found"
)

// What a hearer makes of packets: no network, and time is an argument.
//
//	unknown --a state--> asked --a state that answers my challenge--> known --a state with a larger counter--> known
//	                                                                  known --goodbye, or silence while others are heard--> unknown
//
// Whatever is forgotten takes all open challenges with it: so no recorded answer can bring it back, and nothing of it need be remembered.

const (
	gossipOpen      = 10 * time.Second // so long a challenge can be answered
	gossipOpenMost  = 16               // challenges that are open
	gossipGap       = 100 * time.Millisecond
	gossipAskAgain  = time.Second // a session that does not answer; then twice as long each time
	gossipAskSeldom = time.Minute
	gossipForget    = 5 * time.Minute // a session that was asked, does not answer, and is not heard
	gossipReordered = 64              // packets of a session that may come late
	gossipMute      = 4               // times that a session was asked before that is told
)

// gossipOpening is when a hearer asks everybody at first; packets get lost.
var gossipOpening = []time.Duration{0, 250 * time.Millisecond, time.Second, 3 * time.Second}

// gossipSide is where a packet came in. Whoever is heard on one side says nothing of another one, whose cable may be out.
type gossipSide struct {
	local bool // from this machine
	index int  // of the interface; 0 if that is not known
}

type gossipHearer struct {
	me        gossipSession
	cluster   string
	goneAfter time.Duration
	every     time.Duration // to ask everybody while nobody is heard
	began     time.Time
	counter   uint64

	known   map[gossipSession]*gossipKnown
	order   []gossipSession // of known, as they came
	unknown map[gossipSession]*gossipUnknown
	open    []gossipOpened
	want    []gossipSession // to ask
	asked   int             // times that everybody was asked
	nextAll time.Time
	nextAsk time.Time
	last    time.Time // somebody was heard
	strange *gossipStrangers
}

type gossipKnown struct {
	counter   uint64
	heard     time.Time
	every     time.Duration
	side      gossipSide
	addresses []Address
}

type gossipUnknown struct {
	next, heard time.Time
	wait        time.Duration
	times       int
}

type gossipOpened struct {
	challenge gossipChallenge
	until     time.Time
}

func newGossipHearer(now time.Time, cluster string, goneAfter, every time.Duration, strange *gossipStrangers) *gossipHearer {
	h := &gossipHearer{
		cluster: cluster, goneAfter: goneAfter, every: every, began: now, nextAll: now, last: now, strange: strange,
		known: map[gossipSession]*gossipKnown{}, unknown: map[gossipSession]*gossipUnknown{},
	}
	rand.Read(h.me[:]) // it never fails
	return h
}

// take takes in a packet of the cluster that was sealed with a right secret. It says whether the list has changed.
func (h *gossipHearer) take(now time.Time, p *gossipPacket, side gossipSide, from netip.AddrPort) (changed bool) {
	k := h.known[p.session]
	switch {
	case p.kind == gossipQuery: // for speakers; my own, back from the group, among them
		return false
	case k == nil && p.kind == gossipState:
		return h.meet(now, p, side, from)
	case k == nil:
		return false // a goodbye of somebody who is not known here
	case p.counter <= k.counter:
		if k.counter-p.counter > gossipReordered {
			h.strange.add(gossipReplayed, from, "")
		}
		return false
	case p.kind == gossipGoodbye:
		h.forget(p.session)
		return true
	}
	changed = !sameAddresses(k.addresses, p.addresses)
	k.counter, k.heard, k.every, k.side, k.addresses = p.counter, now, p.every, side, p.addresses
	h.last = now
	return changed
}

// meet takes in the state of a session that is not known: it is believed if it answers, else asked.
func (h *gossipHearer) meet(now time.Time, p *gossipPacket, side gossipSide, from netip.AddrPort) (changed bool) {
	if h.answers(now, p) {
		if len(h.known) >= found.Most {
			h.strange.add(gossipCrowd, from, "")
			return false
		}
		delete(h.unknown, p.session)
		h.known[p.session] = &gossipKnown{p.counter, now, p.every, side, p.addresses}
		h.order = append(h.order, p.session)
		h.last = now
		return true
	}
	u := h.unknown[p.session]
	if u == nil {
		if len(h.unknown) >= found.Most {
			for s := range h.unknown { // any: who lives is heard again
				delete(h.unknown, s)
				break
			}
		}
		u = &gossipUnknown{next: now, wait: gossipAskAgain}
		h.unknown[p.session] = u
	}
	u.heard = now
	if now.Before(u.next) || len(h.want) >= found.Most {
		return false
	}
	if u.times++; u.times > gossipMute {
		h.strange.add(gossipSilent, from, "")
	}
	u.next, u.wait = now.Add(u.wait), min(2*u.wait, gossipAskSeldom)
	if len(h.want) == 0 {
		// Others have heard it, too, and will ask.
		h.nextAsk = later(h.nextAsk.Add(gossipGap), now.Add(mathrand.N(gossipGap)))
	}
	h.want = append(h.want, p.session)
	return false
}

func (h *gossipHearer) answers(now time.Time, p *gossipPacket) bool {
	for _, o := range h.open {
		for _, answer := range p.answers {
			if answer == o.challenge && now.Before(o.until) {
				return true
			}
		}
	}
	return false
}

func (h *gossipHearer) forget(s gossipSession) {
	delete(h.known, s)
	for i, other := range h.order {
		if other == s {
			h.order = append(h.order[:i:i], h.order[i+1:]...)
			break
		}
	}
	h.open = nil
}

// due returns the query that is to be sent now, nil if there is none.
func (h *gossipHearer) due(now time.Time) *gossipPacket {
	p := &gossipPacket{session: h.me, kind: gossipQuery, cluster: h.cluster}
	switch {
	case !now.Before(h.nextAll):
		h.asked++
		switch lost := len(h.known) == 0 || now.Sub(h.last) > 3*h.every; {
		case h.asked < len(gossipOpening):
			h.nextAll = h.began.Add(gossipOpening[h.asked])
			if !now.Before(h.nextAll) {
				h.nextAll = now.Add(gossipGap) // the loop was held up
			}
		default:
			h.nextAll = now.Add(about(h.every))
			if !lost && h.asked > len(gossipOpening) {
				return nil
			}
		}
	case len(h.want) > 0 && !now.Before(h.nextAsk):
		n := min(len(h.want), gossipAsked)
		p.asked = h.want[:n:n]
		h.want = h.want[n:]
		h.nextAsk = now.Add(gossipGap)
	default:
		return nil
	}
	rand.Read(p.challenge[:])
	h.open = append(h.open, gossipOpened{p.challenge, now.Add(gossipOpen)})
	if len(h.open) > gossipOpenMost {
		h.open = h.open[1:]
	}
	h.counter++
	p.counter = h.counter
	return p
}

// anew has it ask everybody as if it began: there is a new way into the network, and others may be there.
func (h *gossipHearer) anew(now time.Time) { h.began, h.asked, h.nextAll = now, 0, now }

// next returns when something is due.
func (h *gossipHearer) next() time.Time {
	if len(h.want) > 0 && h.nextAsk.Before(h.nextAll) {
		return h.nextAsk
	}
	return h.nextAll
}

// sweep lets those go that have been silent for long while others on their side were heard, and says whether any were.
func (h *gossipHearer) sweep(now time.Time) (changed bool) {
	for s, u := range h.unknown {
		if now.Sub(u.heard) > gossipForget {
			delete(h.unknown, s)
		}
	}
	for _, s := range append([]gossipSession(nil), h.order...) {
		k := h.known[s]
		if now.Sub(k.heard) > max(h.goneAfter, 4*k.every) && h.hearsOthers(now, s, k.side) {
			h.forget(s)
			changed = true
		}
	}
	return changed
}

// hearsOthers says whether another session was heard lately where this one would be. Of what comes from this machine itself nothing can
// be cut off but by the machine's own doing, so there anybody counts.
func (h *gossipHearer) hearsOthers(now time.Time, s gossipSession, side gossipSide) bool {
	for other, k := range h.known {
		if other != s && now.Sub(k.heard) <= 3*k.every && (side.local || k.side == side) {
			return true
		}
	}
	return false
}

// deaf says for how long nobody was heard, if that is longer than it ought to be.
func (h *gossipHearer) deaf(now time.Time) (silence time.Duration, is bool) {
	silence = now.Sub(h.last)
	limit := max(2*h.every, gossipOpening[len(gossipOpening)-1])
	if len(h.known) > 0 {
		limit = h.goneAfter
	}
	for _, k := range h.known {
		limit = max(limit, 4*k.every)
	}
	return silence, silence > limit
}

// list returns the addresses of all that are known.
func (h *gossipHearer) list() []Address {
	var all []Address
	for _, s := range h.order {
		all = append(all, h.known[s].addresses...)
	}
	return all
}

func sameAddresses(a, b []Address) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
