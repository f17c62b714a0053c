package embedded

import "time"

// store writes entries: to those of the peers that store them, by one of these that leads, which more than half of them elected. An entry is
// acknowledged when more than half have it. It must never be gone then.
func (w *world) store(g *group, all []*srv) {
	var there []*srv
	seen := map[string]bool{}
	for _, s := range all {
		if g.data[s.name] && s.up() && s.cluster == g.cluster && s.st.g == g && !seen[s.name] {
			seen[s.name] = true
			there = append(there, s)
		}
	}
	most := len(g.data)/2 + 1
	l := g.writer
	if l != nil && (!l.up() || !g.data[l.name] || w.reached(l, there) < most) {
		g.writer, l = nil, nil
		g.choose = w.now.Add(w.between(300*time.Millisecond, 5*time.Second))
	}
	if l == nil {
		if !w.now.Before(g.choose) && g.begun {
			w.chooseWriter(g, there, most)
		}
		return
	}
	if len(g.data) < w.settings.size && allHave(there, g) {
		if to := w.taker(g); to != nil {
			g.data[to.name] = true
		}
	}
	g.next++
	l.st.log = g.next
	have := 1
	for _, s := range there {
		if s == l || !w.connected(s, l) {
			continue
		}
		w.copies(s, l)
		if s.st.log == g.next {
			have++
		}
	}
	for _, s := range all { // who is to take over copies before it counts
		for _, o := range there {
			if o.to == s.name && s.up() && s.st.g == g && w.connected(s, l) {
				w.copies(s, l)
			}
		}
	}
	if have >= most {
		g.acked = g.next
	}
	for _, s := range there {
		if s.to != "" && !s.moves.After(w.now) && w.connected(s, l) {
			w.moved(g, s, all)
		}
	}
}

// allHave says whether all that store the entries have them: then one more may be asked to.
func allHave(there []*srv, g *group) bool {
	full := 0
	for _, s := range there {
		if s.st.log >= g.acked {
			full++
		}
	}
	return full == len(g.data)
}

func (w *world) reached(s *srv, there []*srv) int {
	n := 0
	for _, o := range there {
		if w.connected(s, o) {
			n++
		}
	}
	return n
}

// copies brings a store up to date, which takes long if it has little.
func (w *world) copies(s, l *srv) {
	switch {
	case s.from != l || s.caught.IsZero():
		s.from, s.caught = l, w.now.Add(w.between(simTick, 300*time.Millisecond))
		if s.st.log < l.st.log-400 || s.st.log == 0 {
			s.caught = w.now.Add(w.between(300*time.Millisecond, w.slow))
		}
	case !s.caught.After(w.now):
		s.st.log = l.st.log
	}
}

// moved is asked when what one stores may be at another.
func (w *world) moved(g *group, s *srv, all []*srv) {
	for _, o := range all {
		if o.name == s.to && o.up() && o.st.g == g && hasKey(g.peers, o.name) && o.st.log == g.next {
			delete(g.data, s.name)
			g.data[o.name] = true
			w.log("%s has taken what %s stored: entries at %v", o.name, s.name, sortedKeys(g.data))
			s.to = ""
			return
		}
	}
	for _, o := range all {
		if o.name == s.to && o.up() {
			return // it copies
		}
	}
	s.to = "" // it is gone
}

// chooseWriter elects who leads those that store: by more than half that have something, or by all.
func (w *world) chooseWriter(g *group, there []*srv, most int) {
	g.choose = w.now.Add(500 * time.Millisecond)
	var can []*srv
	for _, s := range there {
		votes, blank, better := 0, 0, false
		for _, o := range there {
			switch {
			case !w.connected(s, o):
			case o.st.log > s.st.log:
				better = true
			case o.st.log == 0 && g.acked > 0:
				blank++
			default:
				votes++
			}
		}
		if votes >= most || votes > 0 && !better && votes+blank == len(g.data) {
			can = append(can, s)
		}
	}
	if len(can) == 0 {
		return
	}
	g.writer = can[w.rng.IntN(len(can))]
	w.log("%s leads the entries of %s, has %d of %d", g.writer.name, g.cluster, g.writer.st.log, g.acked)
	if have := g.writer.st.log; have < g.acked {
		if !w.lossy {
			w.fail("acknowledged entries are lost: %s leads with %d of %d", g.writer.name, have, g.acked)
		}
		g.acked = have
	}
	g.next = g.writer.st.log
	for _, s := range there {
		s.from = nil
		s.st.log = min(s.st.log, g.next)
	}
}
