//go:build linux

package chaos_test

import (
	"fmt"
	"slices"
	"strings"
)

// checkOrder is promise 2. Of a node, an observer sees only states that this node was ordered to want, each just as it
// was ordered; of them it skips some, but never sees an older one after a newer one: neither one of an earlier life, nor
// one with a smaller number. Nor does a life come back of which it saw the goodbye. One that leaves a scope has no roles first, and none
// again in that life.
//
// An observer that joins a scope anew begins anew.
func checkOrder(w *world) []violation {
	type view struct {
		observer    int
		scope, node string
	}
	type seen struct {
		life uint64
		seq  string
		left uint64 // the newest life that said goodbye
		bare uint64 // the newest life that gave its roles up to leave
	}
	leaves := map[state]bool{} // of which scopes a node was told to leave; without a number
	views := map[view]seen{}
	var found []violation
	for _, r := range w.records {
		v := view{r.Proc, r.Scope, r.Node}
		last := views[v]
		switch r.Kind {
		case ordered:
			if r.Op == opLeave {
				leaves[state{scope: r.Scope, node: r.Name}] = true
			}
		case rewatch:
			for other := range views {
				if other.observer == r.Proc && other.scope == r.Scope {
					delete(views, other)
				}
			}
		case misses:
			if r.Reason == "left" {
				last.left = max(last.left, r.Life)
				views[v] = last
			}
		case sees:
			complain := func(format string, args ...any) {
				text := fmt.Sprintf("%s#%d saw %s in %s: ", r.Name, r.Proc, r.Node, r.Scope) + fmt.Sprintf(format, args...)
				found = append(found, violation{2, r.At, []string{r.Name, r.Node}, text})
			}
			w.judged[2]++
			seq := seqOf(r.Roles)
			if len(r.Roles) == 0 && leaves[state{scope: r.Scope, node: r.Node}] && r.Life >= last.life && r.Life > last.left {
				last.life, last.bare = r.Life, r.Life
				views[v] = last
				break
			}
			order, known := w.states[state{r.Scope, r.Node, seq}]
			wanted := slices.Sorted(slices.Values(order.Roles))
			switch {
			case !known || order.At > r.At:
				complain("the state %s, which it never wanted before", strings.Join(r.Roles, ","))
			case !slices.Equal(wanted, r.Roles):
				complain("the state %s, where it wanted %s", strings.Join(r.Roles, ","), strings.Join(wanted, ","))
			case r.Life < last.life || r.Life == last.life && seq < last.seq:
				complain("%s of life %d after %s of life %d", seq, r.Life, last.seq, last.life)
			case r.Life > last.life && seq < last.seq:
				complain("%s in life %d, after %s in the older life %d", seq, r.Life, last.seq, last.life)
			case r.Life <= last.left:
				complain("life %d again, after it had said goodbye", r.Life)
			case r.Life <= last.bare:
				complain("%s of life %d, after it had given its roles up to leave", seq, r.Life)
			}
			last.life, last.seq = max(r.Life, last.life), max(seq, last.seq)
			views[v] = last
		}
	}
	return found
}
