//go:build linux

package chaos_test

import "fmt"

// checkLives is promise 6. A bus that stops by itself was superseded, by a process that was started later under its
// name; and once a newer life has joined, no change that an older one was then ordered to make is acknowledged, as long
// as the bucket keeps what was written. That the older life ends is part of the end of a run, see settle.
func checkLives(w *world) []violation {
	var found []violation
	joins := map[string]record{} // the newest life that has joined, by name
	for _, r := range w.records {
		switch r.Kind {
		case joined:
			if newest, any := joins[r.Name]; !any || newest.Proc < r.Proc {
				joins[r.Name] = r
			}
		case ended:
			w.judged[6]++
			p := w.procs[r.Proc]
			if r.Outcome == superseded && p.superseded > r.At || r.Outcome == refused {
				text := fmt.Sprintf("%s#%d stopped (%s), and no newer life was started", r.Name, r.Proc, r.Text)
				found = append(found, violation{6, r.At, []string{r.Name}, text})
			}
		case returned:
			newest, any := joins[r.Name]
			if r.Op == opSet && r.Outcome == ok && any && newest.Proc > r.Proc && newest.At < r.Began &&
				!meetsAny(w.unwell, span{newest.At, r.At}) {
				text := fmt.Sprintf("%s#%d had a change acknowledged, %v after #%d had joined", r.Name, r.Proc, r.At.since(newest.At), newest.Proc)
				found = append(found, violation{6, r.At, []string{r.Name}, text})
			}
		}
	}
	return found
}
