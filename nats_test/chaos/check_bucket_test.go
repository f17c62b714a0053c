//go:build linux

package chaos_test

import (
	"fmt"
	"slices"
)

// remade is within what the processes have the bucket again that somebody has deleted, or as it was before somebody took its
// leases' subject away: somebody's next heartbeat finds it, and makes it within a few requests.
const remade = ttl

// checkBucket is promise 8, of the bucket itself. Where a server that knows says that there is none, or that it does not take
// leases, some node that is well makes it, or mends it, in time: also while something else is there that answers what is read.
// This holds while no other fault of servers is under way, or has just been: what the fleet is to mend is no excuse for it; and not
// before the servers have served a bucket for the first time: they have just come up, and a first election may take its whole time.
func checkBucket(w *world) []violation {
	var bad []span
	for _, f := range w.faults {
		if f.servers && !f.mends {
			bad = append(bad, span{f.from, later(f.to, recovery)})
		}
	}
	var found []violation
	first := slices.IndexFunc(w.records, func(r record) bool { return r.Kind == well })
	for i, r := range w.records {
		if i < first || r.Kind != holds || r.Text != missing && r.Text != maimed {
			continue
		}
		lasts := span{r.At, w.end}
		if next := slices.IndexFunc(w.records[i+1:], func(r record) bool { return r.Kind == holds }); next >= 0 {
			lasts.to = w.records[i+1+next].At
		}
		w.judged[8]++
		bound := span{r.At, r.At.add(remade)}
		bound.to = bound.to.add(w.stalledIn(bound))
		if lasts.to <= bound.to || meetsAny(bad, bound) || !w.somebodyWell(bound) {
			continue
		}
		text := fmt.Sprintf("%s, and %v later it is still so", r.Text, bound.to.since(r.At))
		found = append(found, violation{8, bound.to, nil, text})
	}
	return found
}

// somebodyWell says whether some process ran, and had a way to the servers, all the time.
func (w *world) somebodyWell(s span) bool {
	for _, p := range w.procs {
		if p.from < s.from && p.to > s.to && p.superseded > s.to && p.ended > s.to && !meetsAny(p.unsettled, s) && p.writes {
			return true
		}
	}
	return false
}
