//go:build linux

package chaos_test

import "fmt"

// checkLeaving is promise 5. When a Leave or a Close has returned without an error, every observer that was well, with
// servers that were, sees the node go at once, and sees that it has left.
func checkLeaving(w *world) []violation {
	var found []violation
	for _, r := range w.records {
		if r.Kind != returned || r.Op != opLeave && r.Op != opClose || r.Outcome != ok {
			continue
		}
		owner := w.procs[r.Proc]
		for _, observer := range w.procs {
			bound := span{r.Began, r.At.add(promptly)}
			bound.to = bound.to.add(w.slack(observer, bound))
			if observer.name == owner.name || !w.calm(observer, bound) || !w.calmOwner(owner, bound.from) {
				continue
			}
			for _, life := range w.shows(observer, owner, r.Began) {
				if r.Op == opLeave && life.scope != r.Scope {
					continue
				}
				w.judged[5]++
				if reason := w.reason(observer, life, bound); reason != "left" {
					text := fmt.Sprintf("%s#%d left %s; %v after that %s#%d had not seen it leave, but: %q",
						owner.name, owner.number, life.scope, bound.to.since(r.At), observer.name, observer.number, reason)
					found = append(found, violation{5, bound.to, []string{observer.name, owner.name}, text})
				}
			}
		}
	}
	return found
}

// calmOwner says whether whoever leaves was well for a while.
func (w *world) calmOwner(owner *proc, at instant) bool {
	return owner.superseded > at && !meetsAny(owner.unsettled, span{at.add(-quiet), at})
}

// reason returns why a life went, as an observer saw it in a span; "" if it did not see it go.
func (w *world) reason(observer *proc, life incarnation, in span) string {
	for _, r := range w.records {
		if in.has(r.At) && r.Proc == observer.number && r.Kind == misses && r.Scope == life.scope && r.Node == life.node && r.Life == life.life {
			return r.Reason
		}
	}
	return ""
}
