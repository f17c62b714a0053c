//go:build linux

package chaos_test

import (
	"fmt"
	"slices"
)

// checkBound is promise 4. From when a process is killed, frozen or cut off there is no heartbeat of it; so, if it stays
// so, all observers must have seen it go within TTL + 0.5 s, and what the machine was late meanwhile. This holds where
// the servers and the observer were well all the time, and for a while before: servers that were not may have been wrong.
func checkBound(w *world) []violation {
	var found []violation
	for _, f := range w.faults {
		if !f.silences {
			continue
		}
		for _, victim := range w.procs {
			if !slices.Contains(f.procs, victim.number) && !slices.Contains(f.nodes, victim.name) ||
				victim.from > f.from || victim.superseded < f.from || victim.ended < f.from {
				continue
			}
			for _, observer := range w.procs {
				if observer.name == victim.name {
					continue
				}
				bound := span{f.from, f.from.add(expiry)}
				bound.to = bound.to.add(w.slack(observer, bound))
				if !f.kills && f.to < bound.to || meetsAny(victim.disturbedBefore(f.from), span{f.from.add(-quiet), f.from}) ||
					!w.calm(observer, bound) {
					continue
				}
				w.judged[4]++
				for _, shown := range w.shows(observer, victim, bound.to) {
					if w.saw(observer, shown) < f.from {
						text := fmt.Sprintf("%s#%d still shows %s#%d in %s, %v after: %s",
							observer.name, observer.number, victim.name, victim.number, shown.scope, bound.to.since(bound.from), f.text)
						found = append(found, violation{4, bound.to, []string{observer.name, victim.name}, text})
					}
				}
			}
		}
	}
	return found
}

// disturbedBefore returns the spans that began before an instant.
func (p *proc) disturbedBefore(at instant) []span {
	return slices.DeleteFunc(slices.Clone(p.disturbed), func(s span) bool { return s.from >= at })
}

// shows returns the lives of a process that an observer shows at an instant.
func (w *world) shows(observer, victim *proc, at instant) []incarnation {
	shown := map[incarnation]bool{}
	for _, r := range w.records {
		if r.At > at {
			break
		}
		if r.Proc != observer.number {
			continue
		}
		life := incarnation{r.Scope, r.Node, r.Life}
		switch {
		case r.Kind == rewatch, r.Kind == ordered && r.Op == opLeave: // it sees the scope anew, or no more
			for other := range shown {
				if other.scope == r.Scope {
					delete(shown, other)
				}
			}
		case r.Kind == misses:
			delete(shown, life)
		case r.Kind == sees && w.lives[life] == victim.number:
			shown[life] = true
		}
	}
	var lives []incarnation
	for life := range shown {
		lives = append(lives, life)
	}
	return lives
}

// saw returns when an observer saw a life first; forever if it never did.
func (w *world) saw(observer *proc, life incarnation) instant {
	for _, r := range w.records {
		if r.Proc == observer.number && r.Kind == sees && r.Scope == life.scope && r.Node == life.node && r.Life == life.life {
			return r.At
		}
	}
	return forever
}
