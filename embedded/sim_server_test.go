package embedded

import (
	"slices"
	"time"
)

// srv is a model of one nats-server with JetStream, as far as docs/CLUSTER.md says what it does.
type srv struct {
	p       *proc
	name    string
	cluster string
	routes  []route
	padded  bool
	expect  int // as many have to be there before it founds anything
	st      *simStore
	term    int // of the leader that it follows
	leads   bool
	alone   time.Time // since when it leads without more than half
	follows *srv      // the leader that it hears
	heard   time.Time // when it heard it last
	caught  time.Time // when it will have all entries; zero: it does not copy
	from    *srv      // whom it copies from
	off     bool
	moves   time.Time // when another may have what it stores
	to      string    // which other
}

// simStore is what it has on disk: a log of entries, of which those that more than half have stored are acknowledged.
type simStore struct {
	g       *group
	log     int
	meta    int // how much it has of what the servers know of each other; 0: nothing
	expect  int
	removed time.Time // when its server was taken out of the group
}

// group is a consensus group. That a second one is made in a world of one is what must never happen.
type group struct {
	cluster string
	peers   map[string]time.Time // since when
	removed map[string]time.Time
	leader  *srv
	term    int
	meta    int       // what the servers know of each other: grows with each change of peers
	elect   time.Time // when one is elected next
	begun   bool      // all of a fresh group were there once
	used    bool      // it has had a member

	data   map[string]bool // those of the peers that store the entries
	writer *srv            // leads these
	choose time.Time       // when one is elected next
	next   int             // entry
	acked  int
}

func (s *srv) up() bool { return s.p.srv == s && !s.p.frozen && !s.off }

// empty is a store that has no state yet: its vote counts for less. What the servers know of each other is copied much sooner than all entries.
func (s *srv) empty() bool { return s.st.g == nil || s.st.meta == 0 }

func (g *group) most() int { return len(g.peers)/2 + 1 }

func (g *group) names() []string { return sortedKeys(g.peers) }

func (w *world) startServer(p *proc, o order) {
	st := p.m.disk.store
	if st == nil {
		st = &simStore{expect: max(2, len(o.routes)+1)}
		if o.padded {
			st.expect = padding * w.settings.size
		}
		p.m.disk.store = st
	}
	s := &srv{p: p, name: p.b.server, cluster: p.b.cluster, routes: o.routes, padded: o.padded, st: st, expect: st.expect}
	p.srv = s
	w.log("%s runs the server %s of %s, %d routes, padded %v, empty %v", p.m.name, s.name, s.cluster, len(s.routes), s.padded, st.g == nil)
}

func (w *world) halt(p *proc) {
	if p.srv == nil {
		return
	}
	for pair := range w.linked {
		if pair[0] == p.srv || pair[1] == p.srv {
			delete(w.linked, pair)
		}
	}
	p.srv = nil
}

func (w *world) running() []*srv {
	var list []*srv
	for _, m := range w.machines {
		if m.proc != nil && m.proc.srv != nil {
			list = append(list, m.proc.srv)
		}
	}
	return list
}

func (s *srv) knows(o *srv) bool {
	return slices.ContainsFunc(s.routes, func(r route) bool { return r.host == o.p.m.host && r.port == o.p.route })
}

func pairOf(a, b *srv) [2]*srv {
	if a.p.m.n > b.p.m.n {
		a, b = b, a
	}
	return [2]*srv{a, b}
}

func (w *world) connected(a, b *srv) bool {
	at, ok := w.linked[pairOf(a, b)]
	return a == b || ok && !at.After(w.now)
}

// link connects servers: by their routes, and by those of others, of whom they tell each other.
func (w *world) link(all []*srv) {
	for i, a := range all {
		for _, b := range all[i+1:] {
			pair := pairOf(a, b)
			there, here := w.dials(a.p.m, b.p.m), w.dials(b.p.m, a.p.m)
			if _, ok := w.linked[pair]; ok {
				if !there && !here {
					delete(w.linked, pair)
				}
				continue
			}
			if a.cluster != b.cluster || a.name == b.name || a.p.frozen || b.p.frozen || !there && !here {
				continue
			}
			ok := there && a.knows(b) || here && b.knows(a)
			for _, c := range all {
				ok = ok || c != a && c != b && w.connected(a, c) && w.connected(c, b)
			}
			if ok {
				w.linked[pair] = w.now.Add(w.between(20*time.Millisecond, 200*time.Millisecond))
			}
		}
	}
}

// serve lets the servers' time go by.
func (w *world) serve() {
	all := w.running()
	w.link(all)
	for _, g := range w.groups {
		w.lead(g, all)
		w.store(g, all)
	}
	for _, s := range all {
		if s.up() && s.st.g == nil && !s.padded {
			w.begin(s, all)
		}
	}
}

// begin makes a group when as many empty servers are there as one of them expects.
func (w *world) begin(s *srv, all []*srv) {
	there := []*srv{}
	for _, o := range all {
		if o.up() && o.cluster == s.cluster && w.connected(s, o) {
			if o.st.g != nil {
				return // a leader takes it in, if there is one
			}
			there = append(there, o)
		}
	}
	if len(there) < s.expect {
		return
	}
	g := &group{cluster: s.cluster, peers: map[string]time.Time{}, removed: map[string]time.Time{}, data: map[string]bool{}, meta: 1}
	for _, o := range there {
		g.peers[o.name], g.data[o.name] = w.now, true
		o.st.g = g
	}
	g.elect = w.now.Add(w.between(100*time.Millisecond, 600*time.Millisecond))
	if w.rng.IntN(4) == 0 {
		g.elect = w.now.Add(w.between(1600*time.Millisecond, 5100*time.Millisecond)) // the first campaign fails
	}
	w.groups = append(w.groups, g)
	w.log("a group of %v is made for %s", g.names(), g.cluster)
	w.checkFounded(g, there)
}

// with returns the peers that are up and connected to a server, itself among them.
func (w *world) with(g *group, s *srv, all []*srv) []*srv {
	var list []*srv
	seen := map[string]bool{}
	for _, o := range all {
		if _, peer := g.peers[o.name]; peer && o.up() && o.cluster == g.cluster && (o.st.g == g || o.st.g == nil) && w.connected(s, o) && !seen[o.name] {
			seen[o.name] = true
			list = append(list, o)
		}
	}
	return list
}

func (w *world) lead(g *group, all []*srv) {
	l := g.leader
	healthy := l != nil && l.up() && l.leads && l.st.g == g && hasKey(g.peers, l.name) && len(w.with(g, l, all)) >= g.most()
	if l != nil && !healthy {
		w.log("%s leads %s no more", l.name, g.cluster)
		g.leader = nil
		g.elect = w.now.Add(w.between(300*time.Millisecond, 9*time.Second))
	}
	for _, s := range all { // who believes to lead, and does not
		if s.st.g != g || !s.leads || s == g.leader || s.p.frozen {
			continue
		}
		if s.alone.IsZero() {
			s.alone = w.now
		}
		if g.leader != nil && w.connected(s, g.leader) || w.now.Sub(s.alone) > 10*time.Second || s.off {
			s.leads, s.alone = false, time.Time{}
		}
	}
	if g.leader == nil {
		if !w.now.Before(g.elect) {
			w.vote(g, all)
		}
		return
	}
	for _, s := range all {
		if s.up() && s.cluster == g.cluster && w.connected(l, s) {
			w.follow(g, l, s, all)
		}
	}
}

func hasKey[K comparable, V any](m map[K]V, k K) bool {
	_, ok := m[k]
	return ok
}

// vote elects a leader: by more than half of those that have something stored, or by all of whom some have nothing.
func (w *world) vote(g *group, all []*srv) {
	var can []*srv
	for _, s := range all {
		if !s.up() || s.st.g != g || !hasKey(g.peers, s.name) {
			continue
		}
		votes, blank, better := 0, 0, false
		for _, o := range w.with(g, s, all) {
			switch {
			case o.st.g == g && o.st.meta > s.st.meta:
				better = true // it votes for none that has less
			case g.begun && o.empty():
				blank++
			default:
				votes++
			}
		}
		if votes >= g.most() || votes > 0 && votes+blank == len(g.peers) && !better {
			can = append(can, s)
		}
	}
	if len(can) == 0 {
		g.elect = w.now.Add(500 * time.Millisecond)
		return
	}
	l := can[w.rng.IntN(len(can))]
	g.term++
	for _, o := range w.with(g, l, all) { // a leader leads when more than half know it
		if !g.begun && o.st.g == g {
			o.st.meta = g.meta
		}
	}
	g.leader, g.begun, l.leads, l.alone, l.term = l, true, true, time.Time{}, g.term
	w.log("%s leads %s, peers %v", l.name, g.cluster, g.names())
	if l.st.meta < g.meta && !w.lossy && g.meta > 1 {
		w.fail("%s leads, and does not know all of the servers", l.name)
	}
	l.st.meta = g.meta
}

// follow has a server hear the leader: taken in if it is new, put out if it was removed, and brought up to date.
func (w *world) follow(g *group, l, s *srv, all []*srv) {
	first := s.follows != l || w.now.Sub(s.heard) > time.Second
	s.follows, s.heard = l, w.now
	if s == l {
		return
	}
	s.term = g.term
	if s.st.g != nil && s.st.g != g {
		w.fail("two groups of %s meet", g.cluster)
		return
	}
	at, removed := g.removed[s.name]
	again := removed && w.now.Sub(at) > 5*time.Minute
	if !hasKey(g.peers, s.name) {
		if removed && !again {
			if s.st.g == g && hasKey(g.removed, s.name) && s.st.removed.IsZero() {
				s.st.removed = at
			}
			return
		}
		g.peers[s.name] = w.now
		if s.st.g == nil {
			s.st.g, s.st.log, s.st.meta = g, 0, 0
		}
		w.learn(g, all)
		w.log("%s takes %s in, peers %v", l.name, s.name, g.names())
	}
	if s.st.g == nil {
		s.st.g, s.st.log, s.st.meta = g, 0, 0
	}
	if !first && s.st.meta < g.meta && w.rng.IntN(3) == 0 { // of that there is little
		s.st.meta = g.meta
	}
}

// learn is a change of peers, which counts when more than half know it.
func (w *world) learn(g *group, all []*srv) {
	g.meta++
	know := 0
	for _, o := range w.with(g, g.leader, all) {
		if o == g.leader || o.st.meta == g.meta-1 {
			o.st.meta = g.meta
			know++
		}
	}
	for _, o := range w.with(g, g.leader, all) { // without these it would not count
		if know < g.most() && o.st.g == g && o.st.meta < g.meta {
			o.st.meta = g.meta
			know++
		}
	}
}

// current says whether a server knows all that the leader does.
func (w *world) current(s *srv) bool {
	g := s.st.g
	return g != nil && s.st.meta == g.meta && (s.leads || s.follows != nil && s.follows == g.leader && w.now.Sub(s.heard) < time.Second)
}
