//go:build linux

package chaos_test

import (
	"fmt"
	"slices"
	"time"
)

// forgotten is within what the dead are gone from everywhere, whatever the store has forgotten of them, counted from when the
// servers and the observer are well: a whole reading finds them, a grace of theirs runs out, and one of the reader's before.
const forgotten = 16*syncInterval + 2*grace + 2*time.Second

// checkDead is promise 4 again, of those whose lease the store lost, or could not end when it was due. Whatever happened before: of a
// process that is gone, and whose name no other has taken, nothing is seen once the servers and the observer have been well
// for long enough, also by observers that were started after its death. Nothing else excuses it.
func checkDead(w *world) []violation {
	var found []violation
	for _, victim := range w.procs {
		if victim.to == forever || victim.superseded < victim.to {
			continue
		}
		for _, observer := range w.procs {
			if observer.name == victim.name {
				continue
			}
			for _, s := range w.goodTimes(observer, span{victim.to, min(victim.superseded, w.end)}) {
				bound := span{s.from, s.from.add(forgotten)}
				bound.to = bound.to.add(w.slack(observer, bound))
				if bound.to > s.to {
					continue
				}
				w.judged[4]++
				for _, at := range []instant{bound.to, s.to} {
					shows := w.shows(observer, victim, at)
					for _, shown := range shows {
						text := fmt.Sprintf("%s#%d shows %s#%d in %s, which is dead since %v; all was well for %v", observer.name,
							observer.number, victim.name, victim.number, shown.scope, at.since(victim.to), at.since(s.from))
						found = append(found, violation{4, at, []string{observer.name, victim.name}, text})
					}
					if len(shows) > 0 {
						break
					}
				}
			}
		}
	}
	return found
}

// goodTimes returns the parts of a span in which an observer's bus ran, and it and the servers were well.
func (w *world) goodTimes(observer *proc, s span) []span {
	s = span{max(s.from, observer.from), min(s.to, observer.to, observer.ended, observer.superseded)}
	var good []span
	for _, bad := range merge(slices.Concat(w.unwell, observer.unsettled)) {
		if bad.to < s.from {
			continue
		}
		if s.from < bad.from {
			good = append(good, span{s.from, min(s.to, bad.from-1)})
		}
		s.from = later(bad.to, 1)
	}
	good = append(good, s)
	return slices.DeleteFunc(good, func(s span) bool { return s.from >= s.to })
}
