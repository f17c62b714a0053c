//go:build linux

package chaos_test

import (
	"fmt"
	"time"
)

// noticing is what a process may take that runs again, or has just been buried, until it does not say any more that it is certain.
const noticing = 300 * time.Millisecond

// checkLease is what LeaseLeft promises: whoever says that it is certain to be listed has not been buried. Who slept, or was frozen, may
// not say so when it runs again. This holds where the observer who saw the burial was well, unless it lists the node again
// by then; and while no server's clock, or what it stores, is what it should not be: by such a server it is buried too early.
func checkLease(w *world) []violation {
	var found []violation
	for i, r := range w.records {
		if r.Kind != misses || r.Reason != "expired" {
			continue
		}
		owner, observer := w.procs[w.lives[incarnation{r.Scope, r.Node, r.Life}]], w.procs[r.Proc]
		if owner == nil || observer == nil || owner.to < r.At || owner.superseded < r.At ||
			meetsAny(observer.unsettled, span{r.At.add(-quiet), r.At}) || meetsAny(w.unwell, span{r.At.add(-quiet), r.At}) {
			continue
		}
		bound := span{r.At, r.At}
		for _, s := range owner.stalls {
			if s.has(bound.to) {
				bound.to = s.to
			}
		}
		bound.to = bound.to.add(noticing + w.stalledIn(span{bound.from, bound.to.add(noticing)}))
		w.judged[0]++
		for _, certain := range owner.certain[r.Scope] {
			// Whoever says no more does not run, or was killed.
			certain.to = min(certain.to, owner.said)
			if certain.from < r.At && certain.to > bound.to && !w.seenAgain(r, i, bound.to) {
				text := fmt.Sprintf("%s#%d says that it is certain to be listed in %s, %v after it was buried", owner.name, owner.number,
					r.Scope, certain.to.since(r.At))
				found = append(found, violation{0, bound.to, []string{r.Name, r.Node}, text})
			}
		}
	}
	return found
}

// seenAgain says whether who saw a node go sees it again, up to an instant.
func (w *world) seenAgain(miss record, from int, to instant) bool {
	for _, r := range w.records[from:] {
		if r.At > to {
			return false
		}
		if r.Kind == sees && r.Proc == miss.Proc && r.Scope == miss.Scope && r.Node == miss.Node {
			return true
		}
	}
	return false
}
