package embedded

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What must be true at each moment of a simulation.

// checkFounded is asked when a group was made.
func (w *world) checkFounded(g *group, there []*srv) {
	var named []founder
	for _, s := range there {
		if s.p.b.phase != phaseFounding {
			w.fail("%s is in the new group of %s, and is %s", s.p.m.name, g.cluster, s.p.b.phase)
			return
		}
		named = s.p.b.founders
	}
	if len(there) != w.settings.size || len(g.peers) != w.settings.size || !slices.Equal(g.names(), namesOf(named)) {
		w.fail("the group of %s has %v, of the founders %v", g.cluster, g.names(), named)
	}
}

// checkRemoval is asked when a server is removed by the order of a process.
func (w *world) checkRemoval(p *proc, g *group, o order) {
	if o.server == p.b.server {
		if !p.leaving && !p.b.going.spare {
			w.fail("%s removes itself, and was not told to leave", p.m.name)
		}
		return
	}
	live := 0
	for _, s := range w.running() {
		if s.name == o.server && s.up() && w.connected(s, p.srv) {
			w.fail("%s removes %s, which is live", p.m.name, o.server)
		}
		if hasKey(g.peers, s.name) && s.name != o.server && s.st.g == g {
			live++
		}
	}
	if live < w.settings.size {
		w.fail("%s removes %s, and nobody has its place: %d are there", p.m.name, o.server, live)
	}
}

// check is asked at every tick.
func (w *world) check() {
	going := map[string]string{}
	servers := map[string]*proc{}
	for _, m := range w.machines {
		p := m.proc
		if p == nil {
			continue
		}
		if p.frozen {
			p.stale, p.twice = time.Time{}, time.Time{}
			continue
		}
		w.checkBounds(p)
		s := p.srv
		if s == nil {
			continue
		}
		if s.st.g != nil && p.b.phase.serves() {
			w.uses(s.st.g)
		}
		if p.b.going.began && w.heads(s) != nil && p.own.Going && s.st.g != nil && hasKey(s.st.g.peers, s.name) {
			if other := going[s.cluster]; other != "" {
				w.fail("%s and %s leave at once", other, m.name)
			}
			going[s.cluster] = m.name
		}
		key := s.cluster + " " + s.name
		if other := servers[key]; other != nil && w.hears(p, other) && w.hears(other, p) {
			if p.twice.IsZero() {
				p.twice = w.now
			}
			if w.now.Sub(p.twice) > 5*time.Second {
				w.fail("%s runs the server %s, and so does another", m.name, s.name)
			}
		} else {
			p.twice = time.Time{}
		}
		servers[key] = p
		w.checkRemoved(p)
	}
}

// uses notes that a group has a member, and so is a cluster. What was given up before that never was one.
func (w *world) uses(g *group) {
	g.used = true
	for _, other := range w.groups {
		if other != g && other.used && !w.lossy {
			w.fail("there are two clusters: %s, and %s", other.cluster, g.cluster)
		}
	}
}

// hears says whether a process has heard another of late.
func (w *world) hears(p, other *proc) bool {
	o := p.b.view.others[other.b.instance]
	return o != nil && o.fresh(w.now)
}

// checkRemoved sees that nobody runs a store of a server that was removed, once a leader could tell it.
func (w *world) checkRemoved(p *proc) {
	s := p.srv
	g := s.st.g
	told := g != nil && !s.st.removed.IsZero() && !hasKey(g.peers, s.name)
	if told {
		told = g.leader != nil && g.leader.up() && w.hears(p, g.leader.p)
	}
	switch {
	case !told:
		p.stale = time.Time{}
	case p.stale.IsZero():
		p.stale = w.now
	case w.now.Sub(p.stale) > 12*time.Second:
		w.fail("%s runs the store of %s, which was removed, and could know", p.m.name, s.name)
	}
}

// checkBounds sees that nothing grows with what is seen.
func (w *world) checkBounds(p *proc) {
	if len(p.b.view.others) > mostKnown || len(p.b.warned) > mostKnown || len(p.b.members) > mostOthers {
		w.fail("%s keeps %d others, %d warnings, %d members", p.m.name, len(p.b.view.others), len(p.b.warned), len(p.b.members))
	}
}

// whole says what is missing to a cluster as it is to be, "" if nothing is.
func (w *world) whole() string {
	var procs []*proc
	for _, m := range w.machines {
		if m.proc != nil && (!m.gone || m.proc.b.refused == "") { // one of two of a name may wait, as long as both are there
			procs = append(procs, m.proc)
		}
	}
	if len(procs) < w.settings.size {
		return "" // it cannot be
	}
	var missing []string
	members, leaders, clusters := 0, 0, map[string]bool{}
	for _, p := range procs {
		switch {
		case p.b.phase == phaseMember && p.status.applied && p.status.leader != "":
			members++
			clusters[p.b.cluster] = true
			if p.status.leads {
				leaders++
			}
			if n := len(p.status.peers); n != w.settings.size {
				missing = append(missing, fmt.Sprintf("%s sees %d peers", p.m.name, n))
			}
		case p.b.phase == phaseSpare && p.b.cluster != "":
		default:
			missing = append(missing, fmt.Sprintf("%s is %s", p.m.name, p.b.phase))
		}
		if p.b.waits != "" {
			missing = append(missing, fmt.Sprintf("%s waits for %s", p.m.name, p.b.waits))
		}
	}
	if members != w.settings.size || leaders != 1 || len(clusters) != 1 {
		missing = append(missing, fmt.Sprintf("%d members, %d leaders, %d clusters", members, leaders, len(clusters)))
	}
	return strings.Join(missing, "; ")
}
