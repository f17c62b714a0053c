package embedded

import "time"

// lasting tells what a server lacks for a moment from what it lacks for long. Pure.
//
// One that starts has nothing to say before it has all. Later, it is behind for a moment with each stream that is made, and cut off for a moment
// from each server that starts; where streams are made all the time it always lacks one of them, and none for long.
type lasting struct {
	once  bool                 // it has had all
	since map[string]time.Time // what it lacks
}

const behindAtMost = 3 * time.Second

// lacks says whether a server that lacks these now lacks one that counts.
func (l *lasting) lacks(now time.Time, these []string) bool {
	since := map[string]time.Time{}
	counts := len(these) > 0 && !l.once
	for _, what := range these {
		since[what] = now
		if began, ok := l.since[what]; ok {
			since[what] = began
			counts = counts || now.Sub(began) >= behindAtMost
		}
	}
	l.since = since
	l.once = l.once || len(these) == 0
	return counts
}
