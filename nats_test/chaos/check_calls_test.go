//go:build linux

package chaos_test

import (
	"fmt"
	"time"
)

// ending is within what a call ends whose time is over.
const ending = 500 * time.Millisecond

// checkCalls is promise 15, and promise 7 of calls, whatever happens meanwhile. A job runs at most once unless its method is
// idempotent, and only in the scope in which it was called; it is answered by the very life that was asked; a call ends when its time is
// over, and of one that failed it is true what is said, and named why.
func checkCalls(w *world) []violation {
	var found []violation
	runs := map[uint64][]record{}
	calls := map[uint64]record{}
	for _, r := range w.records {
		switch r.Kind {
		case ran:
			runs[r.Job] = append(runs[r.Job], r)
		case called:
			calls[r.Job] = r
		}
	}
	for _, r := range w.records {
		broken := func(promise int, format string, args ...any) {
			about := []string{r.Name, r.job()}
			if r.Node != "" {
				about = append(about, r.Node)
			}
			text := fmt.Sprintf("job %x, %s as %q by %s#%d in %s: ", r.Job, r.Kind, r.Op, r.Name, r.Proc, r.Scope)
			found = append(found, violation{promise, r.At, about, text + fmt.Sprintf(format, args...)})
		}
		switch {
		case r.Kind == ran:
			w.judged[15]++
			if by, known := calls[r.Job]; known && (by.Scope != r.Scope || by.Op != r.Op) {
				broken(7, "%s#%d called for it in %s, to be run as %q", by.Name, by.Proc, by.Scope, by.Op)
			}
			if all := runs[r.Job]; r.Op == onceMethod && len(all) > 1 && all[1].At == r.At {
				broken(15, "it ran %d times", len(all))
			}
		case r.Kind == called:
			w.judged[15]++
			if late := r.At.since(r.Began) - r.Within; late > ending+w.slack(w.procs[r.Proc], span{r.Began, r.At}) {
				broken(15, "it ended %v after its time: %s %s", late, r.Outcome, r.Text)
			}
			if r.Outcome == unnamed {
				broken(15, "nobody can act on: %s", r.Text)
			}
			if all := runs[r.Job]; r.Reason == notRun && len(all) > 0 {
				broken(15, "it is said not to have run, and %s#%d ran it: %s", all[0].Name, all[0].Proc, r.Text)
			}
			if r.Outcome != ok {
				break
			}
			if r.Answer.ID != r.Job {
				broken(15, "the answer is that to %x", r.Answer.ID)
			}
			if r.Answer.Scope != r.Scope {
				broken(7, "it was answered by %s in %s", r.Node, r.Answer.Scope)
			}
			if asked, known := w.lives[incarnation{r.Scope, r.Node, r.Life}]; known && asked != r.Answer.Proc {
				broken(15, "%s#%d was asked, in its life %d, and #%d answered", r.Node, asked, r.Life, r.Answer.Proc)
			}
		}
	}
	return found
}
