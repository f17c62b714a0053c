//go:build linux

package exclusive_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rolebus/rolebus"
)

// place is what one process at a time may hold: a seat of a name.
type place struct {
	name string // with its scope
	seat int
}

// subject is where its claim stands.
func (p place) subject() string {
	scope, name, _ := strings.Cut(p.name, "/")
	kind := "claim"
	if p.seat > 0 {
		kind, name = "seat", fmt.Sprintf("%s/%d", name, p.seat)
	}
	return fmt.Sprintf("$KV.%s.%s.%s.%s", bucket, scope, kind, rolebus.SubjectToken(name))
}

func (p place) String() string { return fmt.Sprintf("%s/%d", p.name, p.seat) }

// term is what one process says of a term of its own.
type term struct {
	proc  int // its number: none is used twice
	node  string
	place place
	token uint64
	began instant // it was told that it holds the place
	first instant // when it saw first that it holds it; 0: never
	last  instant // and when last
}

func (t term) held() span { return span{t.first, t.last} }

func (t term) line(start instant) string {
	return fmt.Sprintf("%s#%d held %v with token %d from %s to %s", t.node, t.proc, t.place, t.token, strings.TrimSpace(t.first.after(start)),
		strings.TrimSpace(t.last.after(start)))
}

// loss is that the store lost what it had acknowledged, or that somebody took claims away: some time within the span.
type loss struct {
	span
	what string
	of   string // the subject of the claim; "" if it may be all
}

func (l loss) concerns(p place) bool { return l.of == "" || l.of == p.subject() }

// register is a fenced resource at the end of a run, of which each accepted write adds one to what the writer had read.
type register struct {
	value, accepted, refused int
}

// story is all that a run is judged by.
type story struct {
	start     instant
	seats     map[string]int // how many may hold each name at a time
	ttl       time.Duration  // the longest of all processes
	terms     []term
	losses    []loss
	clocks    []instant      // when servers' clocks were set
	away      map[int][]span // when processes could not reach the store
	registers map[place]register
	healed    instant       // when the last fault was over; 0: nobody was to come back
	bound     time.Duration // how soon after that each place is to be held
}

// finding is one breach of what is promised.
type finding struct {
	at      instant
	text    string
	excused string // why it is none
}

// check judges a story. It returns all that is wrong, and what would be if it were not excused, in the order of time.
func check(s story) (wrong, excused []finding) {
	var all []finding
	byPlace := map[place][]term{}
	for _, t := range s.terms {
		if k := s.seats[t.place.name]; t.place.seat < 0 || t.place.seat >= k {
			all = append(all, finding{at: t.began, text: fmt.Sprintf("no such seat, of %d: %s", k, t.line(s.start))})
		}
		byPlace[t.place] = append(byPlace[t.place], t)
	}
	forgotten := map[place]string{} // where a token was forgotten, the fence cannot tell the later from the earlier
	for at, terms := range byPlace {
		all = append(all, s.overlaps(terms)...)
		for _, f := range s.tokens(terms) {
			all = append(all, f)
			forgotten[at] = f.excused
		}
	}
	all = append(all, s.crowds()...)
	for at, r := range s.registers {
		if r.value != r.accepted {
			all = append(all, finding{at: s.healed, excused: forgotten[at], text: fmt.Sprintf("the register of %v accepted %d writes and has %d", at, r.accepted, r.value)})
		}
	}
	if s.healed != 0 {
		all = append(all, s.empty(byPlace)...)
	}
	slices.SortFunc(all, func(a, b finding) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.text, b.text)) })
	for _, f := range all {
		if f.excused != "" {
			excused = append(excused, f)
		} else {
			wrong = append(wrong, f)
		}
	}
	return wrong, excused
}

// heldTerms are those that were seen held, in the order in which they were.
func heldTerms(terms []term) []term {
	held := slices.DeleteFunc(slices.Clone(terms), func(t term) bool { return t.first == 0 })
	slices.SortFunc(held, func(a, b term) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.token, b.token)) })
	return held
}

// overlaps finds two terms of one place that were held at the same time.
func (s story) overlaps(terms []term) (found []finding) {
	held := heldTerms(terms)
	for i, later := range held {
		for _, earlier := range held[:i] {
			if earlier.last < later.first {
				continue
			}
			to := min(earlier.last, later.last)
			found = append(found, finding{
				at: later.first, excused: s.excuse(earlier, later.first, to),
				text: fmt.Sprintf("two at once for %v: %s; %s", to.since(later.first), earlier.line(s.start), later.line(s.start)),
			})
		}
	}
	return found
}

// excuse says why somebody else could take what a process still held; "" if there is no excuse: only for one whose claim the store lost, and
// who could not write it again as it did not reach the store then, and for no longer than that lasted.
func (s story) excuse(holder term, from, to instant) string {
	for _, l := range s.losses {
		if l.from > from || l.to < holder.began || !l.concerns(holder.place) {
			continue // not before that, or before it had written the claim
		}
		for _, u := range s.away[holder.proc] {
			// Whoever took it had asked just before whether anybody answers who holds it.
			if u.meets(span{max(l.from, from.add(-asked)), from}) && to <= max(u.to, u.to.add(s.ttl)) {
				return fmt.Sprintf("%s, and %s#%d was away from %s to %s", l.what, holder.node, holder.proc, u.from.after(s.start), u.to.after(s.start))
			}
		}
	}
	return ""
}

// asked is how long before a term begins it was asked, at most, whether anybody holds the name, and the claim then written: on a busy machine.
const asked = 500 * time.Millisecond

// tokens finds a term with a token that is not larger than those of all earlier ones of the place.
func (s story) tokens(terms []term) (found []finding) {
	var largest term
	for _, t := range heldTerms(terms) {
		if t.token <= largest.token {
			found = append(found, finding{at: t.first, excused: s.forgot(largest, t),
				text: fmt.Sprintf("the token did not grow: %s, after %s", t.line(s.start), largest.line(s.start))})
			continue
		}
		largest = t
	}
	return found
}

// forgot says why nothing told a later term of the token of an earlier one: the store has lost it, and the servers' clocks, which tell else, have
// been set. "" if that is not so.
func (s story) forgot(earlier, later term) string {
	for _, l := range s.losses {
		if l.from > later.first || l.to < earlier.began || !l.concerns(later.place) {
			continue
		}
		for _, at := range s.clocks {
			if at <= later.first {
				return fmt.Sprintf("%s, after the servers' clocks were set at %s", l.what, strings.TrimSpace(at.after(s.start)))
			}
		}
	}
	return ""
}

// crowds finds more holders of a name at once than it has seats.
func (s story) crowds() (found []finding) {
	type step struct {
		at instant
		by int
		t  term
	}
	steps := map[string][]step{}
	for _, t := range heldTerms(s.terms) {
		steps[t.place.name] = append(steps[t.place.name], step{t.first, 1, t}, step{t.last, -1, t})
	}
	for name, list := range steps {
		// Who begins at the instant at which another ends was there together with it.
		slices.SortStableFunc(list, func(a, b step) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(b.by, a.by)) })
		holders := map[place]int{} // overlaps of one seat are found by overlaps
		for _, step := range list {
			holders[step.t.place] += step.by
			if holders[step.t.place] == 0 {
				delete(holders, step.t.place)
			}
			if len(holders) > s.seats[name] && step.by > 0 {
				found = append(found, finding{at: step.at, text: fmt.Sprintf("%d hold %s at once, not %d: %s", len(holders), name, s.seats[name], step.t.line(s.start))})
			}
		}
	}
	return found
}

// empty finds places that nobody held soon enough after the last fault.
func (s story) empty(byPlace map[place][]term) (found []finding) {
	for _, name := range slices.Sorted(maps.Keys(s.seats)) {
		for seat := range s.seats[name] {
			soon := span{s.healed, s.healed.add(s.bound)}
			if !slices.ContainsFunc(byPlace[place{name, seat}], func(t term) bool { return t.first != 0 && t.held().meets(soon) }) {
				found = append(found, finding{at: soon.to, text: fmt.Sprintf("nobody held %v within %v of the last fault", place{name, seat}, s.bound)})
			}
		}
	}
	return found
}

// figures are what a run comes to.
type figures struct {
	terms, handovers, refused, accepted int
	gap                                 time.Duration // the longest in which nobody held some place, between two terms
	gapOf                               string
	covered                             float64 // the part of the time in which places were held
}

func (s story) figures() (f figures) {
	byPlace := map[place][]term{}
	for _, t := range s.terms {
		byPlace[t.place] = append(byPlace[t.place], t)
	}
	var held, whole time.Duration
	for at, terms := range byPlace {
		list := heldTerms(terms)
		f.terms += len(list)
		for i, t := range list {
			held += t.last.since(t.first)
			if i == 0 {
				continue
			}
			before := list[i-1]
			if before.proc != t.proc {
				f.handovers++
			}
			if gap := t.first.since(before.last); gap > f.gap {
				f.gap, f.gapOf = gap, at.String()
			}
		}
		if len(list) > 0 {
			whole += list[len(list)-1].last.since(list[0].first)
		}
	}
	for _, r := range s.registers {
		f.refused, f.accepted = f.refused+r.refused, f.accepted+r.accepted
	}
	f.covered = held.Seconds() / max(whole.Seconds(), 1e-9)
	return f
}

func (f figures) String() string {
	return fmt.Sprintf("%d terms, %d hand-overs, held %.0f%% of the time, longest gap %v (%s), %d writes accepted and %d refused by the fence",
		f.terms, f.handovers, 100*f.covered, f.gap.Round(time.Millisecond), f.gapOf, f.accepted, f.refused)
}
