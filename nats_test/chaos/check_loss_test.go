//go:build linux

package chaos_test

import (
	"fmt"
	"slices"
	"time"
)

// checkLoss is promise 3. A node's life that an observer reports as lost must be over: its process is gone, or has left
// the scope, or a newer one was started under its name; or it must have been without a way to the bucket, or not have
// run, for about as long as its lease, up to then. Faults of servers are no excuse for the loss of a node, except that
// one is connected to a server that hangs, is split off, or catches up after damage, or had no time to heartbeat between such
// a fault and its own; nor is a fault of the observer, except that a frozen one,
// or one that is cut off, may tell later what was so while it was. And a machine that had no time for anybody for as
// long as a heartbeat's interval, within the lease, has spoiled the measurement.
//
// That a node cannot be reached may be said only of one that was just touched, or by one that was.
func checkLoss(w *world) []violation {
	var found []violation
	gone := map[incarnation]instant{} // when each life began to leave its scope
	for _, r := range w.records {
		if r.Kind == ordered && (r.Op == opLeave || r.Op == opClose) {
			for life, number := range w.lives {
				if number == r.Proc && (r.Op == opClose || life.scope == r.Scope) && gone[life] == 0 && w.before(life, r.At) {
					gone[life] = r.At
				}
			}
		}
		if r.Kind != misses || r.Reason == "left" {
			continue
		}
		w.judged[3]++
		life := incarnation{r.Scope, r.Node, r.Life}
		owner, observer := w.procs[w.lives[life]], w.procs[r.Proc]
		if owner == nil || observer == nil || owner.to < r.At || owner.superseded < r.At {
			continue
		}
		if left := gone[life]; left != 0 && left < r.At {
			continue // promise 5 is about that
		}
		from := r.At.add(-500 * time.Millisecond)
		for _, s := range observer.disturbed {
			if s.has(r.At) {
				from = min(from, s.from)
			}
		}
		excused := owner.silentIn(span{from, r.At}, silence, w.unwritable(owner.name)) || w.stalledIn(span{from.add(-ttl), r.At}) >= ttl/3-tick
		if r.Reason == "unreachable" {
			excused = owner.silentIn(span{from.add(-recovery), r.At}, 0, nil) || meetsAny(observer.disturbed, span{from, r.At})
		}
		if !excused {
			text := fmt.Sprintf("%s#%d reported %s#%d %s in %s, life %d; it was alive and had a way to the bucket",
				r.Name, r.Proc, r.Node, owner.number, r.Reason, r.Scope, r.Life)
			found = append(found, violation{3, r.At, []string{r.Name, r.Node}, text})
		}
	}
	return found
}

// silentIn says whether the process had been disturbed for so long at some instant of a span. To a disturbance counts a time
// right before it in which nobody could be written to: there was no time for a heartbeat in between.
func (p *proc) silentIn(s span, long time.Duration, unwritable []span) bool {
	for _, d := range p.disturbed {
		from := d.from
		for _, u := range slices.Backward(unwritable) {
			if u.from < from && from.since(u.to) < ttl/5 {
				from = u.from
			}
		}
		if d.meets(s) && min(d.to, s.to).since(from) >= long {
			return true
		}
	}
	return false
}

// unwritable returns when nobody could be written to, in order: there was no leader, or somebody else, who was well, waited in
// vain.
func (w *world) unwritable(name string) []span {
	spans := slices.Clone(w.headless)
	for _, p := range w.procs {
		for _, doubts := range p.doubts {
			for _, d := range doubts {
				if p.name != name && !meetsAny(p.unsettled, d) {
					spans = append(spans, d)
				}
			}
		}
	}
	return merge(spans)
}

// before says whether a life was seen before an instant: a later stay of the same process is another life.
func (w *world) before(life incarnation, at instant) bool {
	for _, r := range w.records {
		if r.At > at {
			return false
		}
		if r.Kind == sees && r.Scope == life.scope && r.Node == life.node && r.Life == life.life {
			return true
		}
	}
	return false
}
