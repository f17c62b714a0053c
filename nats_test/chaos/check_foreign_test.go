//go:build linux

package chaos_test

import (
	"fmt"
	"time"
)

// telling is within what a stranger is told that a bucket is none of ours: it asks once.
const telling = 3 * time.Second

// checkForeign looks at strangers, who tried to use the bucket of somebody else. Where the servers were well all the time, they were
// told in time that it is none of ours. That the bucket is as it was the controller sees itself after each of them, and at the
// end, whatever else happened: only what the servers' damaged stores held may be less, see foreign.
func checkForeign(w *world) []violation {
	var found []violation
	for _, r := range w.records {
		if r.Kind != tried {
			continue
		}
		w.judged[0]++
		if r.Outcome == mismatch || meetsAny(w.unwell, span{r.Began.add(-recovery), r.At}) {
			continue
		}
		if late := w.stalledIn(span{r.Began, r.At}); r.Outcome == silent && r.At.since(r.Began) < telling+late {
			continue
		}
		text := fmt.Sprintf("a stranger was not told that the bucket is none of ours, but: %s %s", r.Outcome, r.Text)
		found = append(found, violation{0, r.At, []string{r.Name}, text})
	}
	return found
}
