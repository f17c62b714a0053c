package embedded

import (
	"slices"
	"time"
)

// What a process learns of its server, and asks it to do.

func (w *world) statusOf(p *proc) status {
	s := p.srv
	if s == nil {
		return status{}
	}
	out := status{running: true, off: s.off, leads: s.leads && !s.off}
	g := s.st.g
	if g != nil && g.data[s.name] {
		out.streams = 1
	}
	all := w.running()
	for _, o := range all {
		if o != s && w.connected(s, o) {
			out.routed = append(out.routed, o.name)
		}
	}
	slices.Sort(out.routed)
	if s.off {
		return out
	}
	switch {
	case g == nil:
		out.peers = []peer{{name: s.name, live: true}}
		for _, name := range out.routed {
			out.peers = append(out.peers, peer{name: name, live: true})
		}
		return out
	case s.leads:
		out.leader, out.term = s.name, uint64(s.term)
	case s.follows != nil && s.follows.leads && w.now.Sub(s.heard) < 5*time.Second:
		out.leader = s.follows.name
	}
	out.applied = out.leader != "" && w.current(s)
	out.ready = out.applied && (!g.data[s.name] || s.st.log >= g.acked)
	names := g.names()
	if !hasKey(g.peers, s.name) {
		names = append(names, s.name) // it does not know yet
		slices.Sort(names)
	}
	for _, name := range names {
		live := name == s.name
		for _, o := range all {
			live = live || o.name == name && o.up() && w.connected(s, o)
		}
		out.peers = append(out.peers, peer{name: name, id: "id-" + name, live: live})
	}
	return out
}

// heads returns the leader that a server's requests reach.
func (w *world) heads(s *srv) *srv {
	if s == nil || s.st.g == nil {
		return nil
	}
	if l := s.st.g.leader; l != nil && l.leads && w.connected(s, l) && s.up() && l.up() {
		return l
	}
	return nil
}

func (w *world) remove(p *proc, o order) {
	s := p.srv
	if w.heads(s) == nil || w.rng.IntN(5) == 0 {
		return // it is asked again
	}
	g := s.st.g
	if !hasKey(g.peers, o.server) {
		return
	}
	w.checkRemoval(p, g, o)
	w.removals++
	if w.rng.IntN(4) > 0 { // or the answer is lost
		p.b.removes(o.server)
	}
	delete(g.peers, o.server)
	w.learn(g, w.running())
	if g.data[o.server] {
		delete(g.data, o.server)
		if to := w.taker(g); to != nil {
			g.data[to.name] = true
		}
	}
	g.removed[o.server] = w.now
	w.log("%s has %s removed, peers %v, entries at %v", p.m.name, o.server, g.names(), sortedKeys(g.data))
	for _, m := range w.machines {
		st := m.disk.store
		if st == nil || st.g != g || m.disk.saved == nil || m.disk.saved.server != o.server {
			continue
		}
		st.removed = w.now
		if m.proc != nil && m.proc.srv != nil && m.proc.srv.name == o.server && (m.proc.srv == s || w.connected(s, m.proc.srv)) {
			m.proc.srv.off, m.proc.srv.leads = true, false
		}
	}
}

// evacuate has another take what a server stores: that is over when it has all of it.
func (w *world) evacuate(p *proc) {
	s := p.srv
	if w.heads(s) == nil || s.to != "" {
		return
	}
	if to := w.taker(s.st.g); to != nil {
		s.to, s.moves = to.name, w.now.Add(w.between(200*time.Millisecond, 2*time.Second))
	}
}

// taker is a peer that could store the entries, and does not yet.
func (w *world) taker(g *group) *srv {
	for _, o := range w.running() {
		if o.up() && o.st.g == g && hasKey(g.peers, o.name) && !g.data[o.name] && g.leader != nil && w.connected(o, g.leader) {
			return o
		}
	}
	return nil
}

func (w *world) stepDown(p *proc) {
	s := p.srv
	if w.heads(s) != s || w.rng.IntN(5) == 0 {
		return
	}
	g := s.st.g
	var can []*srv
	for _, o := range w.with(g, s, w.running()) {
		if o != s && w.current(o) {
			can = append(can, o)
		}
	}
	if len(can) == 0 {
		return
	}
	l := can[w.rng.IntN(len(can))]
	g.term++
	s.leads, l.leads, g.leader, l.term = false, true, l, g.term
	w.log("%s has %s lead", s.name, l.name)
}
