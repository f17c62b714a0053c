package rolebus

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// The invariants, by the names under which a violation is reported. docs/MODEL.md says what each means.
const (
	neverBack     = "no going back"
	ownersWord    = "only what the owner said"
	noFalseLoss   = "no false loss"
	selfStays     = "nobody loses itself"
	boundedLoss   = "bounded loss"
	oneLife       = "one life"
	nothingLost   = "nothing lost"
	heardIsSeen   = "what was heard is seen"
	missedIsFound = "what was missed is found"
	switchStands  = "no record without a switch"
	converges     = "convergence"
)

// expectation is something that must be so at a time, unless a fault comes in between.
type expectation struct {
	invariant string
	due       time.Time
	faults    int      // of the fleet, when it was made
	own       int      // of the process
	of        *process // whose own faults excuse it, too; nil for all
	unmet     func() string
}

func (w *fleet) expect(e expectation, within time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.due, e.faults = time.Now().Add(within), w.faults
	if e.of != nil {
		e.own = e.of.faults
	}
	w.expected = append(w.expected, e)
}

// expectGone demands that a life which has just ended is dropped by everybody when its switch has fired, or now.
func (w *fleet) expectGone(node string, id life) {
	w.fakeBucket.mu.Lock()
	due := time.Now()
	if l := w.leases[[2]string{modelScope, node}]; l != nil {
		due = l.c.due
	}
	w.fakeBucket.mu.Unlock()
	within := time.Until(due) + 500*time.Millisecond
	w.mu.Lock()
	healthy := time.Since(w.faultAt) > 2*modelGrace+w.sync
	w.mu.Unlock()
	if !healthy { // somebody may not believe the server yet, and doubts
		within += 2*modelGrace + modelTTL
	}
	for _, q := range w.running(true) {
		w.expect(expectation{invariant: boundedLoss, of: q, unmet: func() string { return q.stillShows(node, id) }}, within)
	}
}

// stillShows says that a process shows a node in a state up to id.
func (q *process) stillShows(node string, id life) string {
	if n := q.Snapshot().named.get(node); n != nil && !id.before(n.id) {
		return fmt.Sprintf("%s still shows %s in %s", q.label(), node, q.fleet.show(n.id))
	}
	return ""
}

// misses says that a process does not show a node in a state of at least id.
func (q *process) misses(node string, id life) string {
	q.fleet.mu.Lock()
	newest := q.newest[node]
	q.fleet.mu.Unlock()
	if e := q.Snapshot().ends.get(node); newest.before(e.id) {
		newest = e.id
	}
	if newest.before(id) {
		return fmt.Sprintf("%s has not seen %s in %s, but in %s", q.label(), node, q.fleet.show(id), q.fleet.show(newest))
	}
	return ""
}

// hears says whether announcements reach a process now.
func (q *process) hears() bool {
	q.fleet.fakeBucket.mu.Lock()
	cut := q.link.cut
	q.fleet.fakeBucket.mu.Unlock()
	q.fleet.mu.Lock()
	defer q.fleet.mu.Unlock()
	return q.member.Load() != nil && !cut && !q.link.dead && !q.link.loss && q.link.frozen == nil
}

// ownerWrites takes note of a state before it may be stored.
func (w *fleet) ownerWrites(c change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wrote[c.node] == nil {
		w.wrote[c.node] = map[life]wanted{}
	}
	said := wanted{c.roles, c.meta}
	if was, ok := w.wrote[c.node][c.id]; ok && !was.equal(said) {
		w.violateLocked(ownersWord, "%s is %v and %v in one and the same state %s", c.node, was, said, w.show(c.id))
	}
	w.wrote[c.node][c.id] = said
}

// storing wraps what writes a record: an older life never writes over a newer one.
func (w *fleet) storing(scope string, c change, write func() error) error {
	w.fakeBucket.mu.Lock()
	before := w.records[[2]string{scope, c.node}]
	w.fakeBucket.mu.Unlock()
	err := write()
	w.fakeBucket.mu.Lock()
	after, muted := w.records[[2]string{scope, c.node}], w.mute
	w.fakeBucket.mu.Unlock()
	if after.c.id != c.id || after.generation == before.generation {
		return err
	}
	if c.id.incarnation < before.c.id.incarnation {
		w.violate(oneLife, "%s wrote %s over %s of a newer life", c.node, w.show(c.id), w.show(before.c.id))
	}
	if scope == modelScope && !muted {
		for _, q := range w.running(true) {
			if q.hears() {
				w.expect(expectation{invariant: heardIsSeen, of: q, unmet: func() string { return q.misses(c.node, c.id) }}, time.Second)
			}
		}
	}
	return err
}

// shown is what a snapshot shows of what its owner wanted.
func (n *Node) shown() wanted { return wanted{n.roles, n.meta} }

// watch looks at each snapshot that a process publishes.
func (p *process) watch() {
	for {
		snap := p.Snapshot()
		p.check(snap)
		select {
		case <-snap.superseded:
		case <-p.link.ended:
			return
		}
	}
}

func (p *process) check(snap *Snapshot) {
	own := map[string]uint64{}
	for _, q := range p.fleet.running(false) {
		if born := q.own(); born > own[q.Name()] {
			own[q.Name()] = born
		}
	}
	w := p.fleet
	w.mu.Lock()
	defer w.mu.Unlock()
	old := p.seen
	p.seen = snap
	for _, n := range snap.members.all(nil) {
		if n.id.before(p.newest[n.name]) || old.named.get(n.name) == nil && n.id == p.newest[n.name] {
			w.violateLocked(neverBack, "%s shows %s in %s, and has seen %s", p.Name(), n.name, w.show(n.id), w.show(p.newest[n.name]))
		}
		p.newest[n.name] = n.id
		if said, ok := w.wrote[n.name][n.id]; !ok || !said.equal(n.shown()) {
			w.violateLocked(ownersWord, "%s shows %s as %v in %s, where its owner said %v", p.Name(), n.name, n.shown(), w.show(n.id), said)
		}
	}
	if old.stay != snap.stay || !p.alive {
		return
	}
	for _, n := range old.members.all(nil) {
		if snap.named.get(n.name) != nil {
			continue
		}
		if e := snap.ends.get(n.name); p.newest[n.name].before(e.id) {
			p.newest[n.name] = e.id
		}
		w.trace = append(w.trace, fmt.Sprintf("%9.3f  %s reports %s %s lost", time.Since(w.began).Seconds(), p.Name(), n.name, w.show(n.id)))
		if n.name == p.Name() && snap.self != "" {
			w.violateLocked(selfStays, "%s dropped itself", p.Name())
		} else if own[n.name] == n.id.incarnation {
			w.judgeLoss(p, n)
		}
	}
}

// judgeLoss is about a process that lives and was reported lost. The caller holds w.mu.
func (w *fleet) judgeLoss(p *process, n *Node) {
	now := time.Now()
	for _, q := range w.processes {
		if q.alive && q.Name() == n.name && q.excused.Before(now) && p.gullible.Before(now) {
			w.violateLocked(noFalseLoss, "%s reports %s lost in %s, which runs and reaches the bucket", p.Name(), n.name, w.show(n.id))
		}
	}
}

// look checks what must be so at every instant, and what was expected by now.
func (w *fleet) look() {
	now := time.Now()
	w.mu.Lock()
	var due []expectation
	w.expected = slices.DeleteFunc(w.expected, func(e expectation) bool {
		excused := w.faults > e.faults || e.of != nil && (e.of.faults > e.own || !e.of.alive)
		if !excused && !e.due.After(now) {
			due = append(due, e)
		}
		return excused || !e.due.After(now)
	})
	w.mu.Unlock()
	for _, e := range due {
		if why := e.unmet(); why != "" {
			w.violate(e.invariant, "%s", why)
		}
	}
	w.lookAtRecords(now)
}

// lookAtRecords demands that each process which reaches the bucket has its record there, after a heartbeat at the
// latest, and that each record has its switch.
func (w *fleet) lookAtRecords(now time.Time) {
	w.fakeBucket.mu.Lock()
	reachable := !w.down && !w.headless && !w.stuck
	records, bare := map[string]change{}, []string{}
	for key, r := range w.records {
		if key[0] != modelScope {
			continue
		}
		records[key[1]] = r.c
		if r.c.kind == kindState && w.leases[key] == nil {
			bare = append(bare, key[1])
		}
	}
	w.fakeBucket.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	reachable = reachable && !w.refusing
	for _, node := range bare {
		if now.Sub(w.torn) > time.Second {
			w.violateLocked(switchStands, "the record of %s has none", node)
		}
	}
	for _, p := range w.processes {
		m := p.member.Load()
		if m == nil || m.keeper == nil {
			continue
		}
		c, own := records[p.Name()], m.own.Load()
		_, _, pending := m.keeper.want.current()
		held := c.kind == kindState && c.id.incarnation == own && !pending
		superseded := c.id.incarnation > own
		if held || !reachable || p.link.dead || p.link.refused || p.link.cut || p.link.frozen != nil || !p.alive || p.ctx.Err() != nil {
			p.missing = time.Time{}
			continue
		}
		if p.missing.IsZero() {
			p.missing = now
		}
		switch {
		case now.Sub(p.missing) <= beatAtMost:
		case superseded:
			w.violateLocked(oneLife, "%s(%d) goes on beside a newer life", p.Name(), p.born())
		default:
			w.violateLocked(nothingLost, "%s(%d) reaches the bucket, which does not hold its record", p.Name(), p.born())
		}
	}
}

// settle ends all faults and demands that every snapshot becomes what is so.
func (w *fleet) settle() {
	w.t.Helper()
	w.heal()
	for end := time.Now().Add((wholeEvery+1)*w.sync + 2*w.grace + 2*modelTTL); time.Now().Before(end); {
		w.sleep(min(w.sync, modelTTL))
	}
	w.fakeBucket.mu.Lock()
	records := map[string]fakeRecord{}
	for key, r := range w.records {
		if key[0] == modelScope && r.c.kind == kindState {
			records[key[1]] = r
		}
	}
	w.fakeBucket.mu.Unlock()
	members := w.running(false)
	if len(records) != len(members) {
		w.violate(converges, "the bucket has %d records, of %d members", len(records), len(members))
	}
	for _, p := range members {
		r := records[p.Name()]
		if stored := (wanted{r.c.roles, r.c.meta}); r.c.id.incarnation != p.own() || !stored.equal(p.wanted()) {
			w.violate(converges, "%s wants %v, the bucket has %v in %s", p.label(), p.wanted(), stored, w.show(r.c.id))
		}
	}
	for _, p := range w.running(true) {
		snap := p.Snapshot()
		for _, n := range snap.members.all(nil) {
			if r := records[n.name]; r.c.id != n.id || r.generation != n.generation || !n.shown().equal(wanted{r.c.roles, r.c.meta}) {
				w.violate(converges, "%s shows %s in %s, the bucket has %s", p.label(), n.name, w.show(n.id), w.show(r.c.id))
			}
		}
		if snap.members.len() != len(records) || snap.doubts.len() > 0 || !snap.stale.IsZero() {
			w.violate(converges, "%s shows %v (stale: %v), in doubt %v; the bucket has %v",
				p.label(), names(snap.members.all(nil)), !snap.stale.IsZero(), maps.Collect(snap.doubts.all()), records)
		}
	}
	w.mustHold()
}

// heal ends all faults.
func (w *fleet) heal() {
	w.mu.Lock()
	processes := slices.Clone(w.processes)
	w.refusing, w.lagging = false, nil
	w.mu.Unlock()
	w.fakeBucket.mu.Lock()
	down := w.down
	w.mute = false
	w.fakeBucket.mu.Unlock()
	w.fakeBucket.start()
	for _, p := range processes {
		p.link.setCut(false)
		p.link.thaw()
		w.mu.Lock()
		p.link.loss, p.link.refused, p.link.latency = false, false, 0
		w.mu.Unlock()
		w.fakeBucket.mu.Lock()
		p.link.deaf = false
		w.fakeBucket.mu.Unlock()
		if down && p.alive {
			p.flap(true)
		}
	}
	w.fault("all faults end")
}
