package exclusive

import (
	"flag"
	"math/rand/v2"
	"testing"
)

var (
	modelRuns = flag.Int("modelruns", 200, "how many histories TestModel makes up of each kind")
	modelSeed = flag.Uint64("modelseed", 0, "the first one")
)

// stored takes note of a claim that the bucket has taken.
func (w *world) stored(p *process, c claim) {
	if _, is := w.storedAt[c.token]; !is {
		w.storedAt[c.token] = w.now
	}
}

// begun takes note of a term.
func (w *world) begun(p *process) {
	t := p.term
	w.tracef("%s: has it with %d", p.name(), t.claim.token)
	if t.claim.token <= w.newest {
		w.fail("tokens grow", "%s begins a term with %d after %s with %d", p.name(), t.claim.token, w.tokenOf, w.newest)
	}
	w.newest, w.tokenOf = t.claim.token, p.name()
}

// check looks for two who hold the post.
func (w *world) check() {
	var first *process
	for _, p := range w.processes {
		if !p.holds() {
			continue
		}
		if first == nil {
			first = p
			continue
		}
		before, after := first, p
		if before.term.claim.token > after.term.claim.token {
			before, after = after, before
		}
		if !w.excused(before.term, after.term) {
			w.fail("one at a time", "%s holds it with %d, and %s with %d", before.name(), before.term.claim.token, after.name(), after.term.claim.token)
		}
	}
}

// excused says whether two may hold the post: only if the store lost something that it had acknowledged after it had stored the first one's claim, and whoever took it
// had never heard of that claim, nor found out that anything was lost, and has asked when the first one could not answer. Or what it replaced with
// its claim was there twice, since it had asked.
func (w *world) excused(before, after *term) bool {
	for _, l := range w.losses {
		unheard := after.away[before.claim.token] || l.again && l.at > after.asked
		if l.at >= w.storedAt[before.claim.token] && after.knew < before.claim.token && after.warned < l.at && after.asked >= 0 && unheard {
			return true
		}
	}
	return false
}

// heal ends all faults.
func (w *world) heal() {
	w.faulty = false
	w.tracef("all faults end")
	w.flights = nil
	for _, p := range w.processes {
		p.frozen = false
		if p.up && p.cut {
			p.reconnect()
		}
		if p.term != nil && !p.term.live {
			p.resign()
		}
		if a := p.asking; a != nil {
			a.fail()
		}
	}
	if w.processes[3].up && !w.processes[3].ended { // one of two with a name goes
		w.processes[3].leaves()
	}
	for _, p := range w.processes[:3] {
		if !p.up {
			p.joins()
		} else if p.ended || p.node == w.processes[3].node && p.inc < w.processes[3].inc {
			p.rejoins() // of two with a name the newer life is the one
		}
	}
}

// calm lets time pass without trouble.
func (w *world) calm(until int64, done func() bool) bool {
	for w.now < until && w.violation == "" {
		if done() {
			return true
		}
		for i := 0; i < 10; i++ {
			for len(w.flights) > 0 {
				w.arrive(0)
			}
			for _, p := range w.processes {
				if p.up && p.ended && p.slot < len(nodeNames) {
					p.rejoins()
				}
				if p.term != nil && !p.term.live {
					p.resign()
				}
				for p.news(0) || p.news(1) {
				}
				p.tick()
			}
		}
		w.check()
		w.pass(10)
	}
	return false
}

func (w *world) holder() *process {
	for _, p := range w.processes {
		if p.holds() {
			return p
		}
	}
	return nil
}

// ends demands that somebody gets it in the end, keeps it, and passes it on.
func (w *world) ends() {
	w.heal()
	longest := int64(0)
	for _, p := range w.processes {
		longest = max(longest, p.ttl)
	}
	if !w.calm(w.now+4*longest, func() bool { return w.holder() != nil }) {
		w.fail("somebody gets it", "nobody has it %d ms after the last fault", 4*longest)
		return
	}
	w.calm(w.now+2*longest, func() bool { return false })
	h := w.holder()
	if h == nil {
		w.fail("it is kept", "nobody has it any more")
		return
	}
	h.wants = false
	h.resign()
	if !w.calm(w.now+200, func() bool { return w.holder() != nil }) {
		w.fail("it is passed on", "nobody has it after %s has resigned", h.name())
		return
	}
	h.wants = true
	h = w.holder()
	within := h.ttl + 500
	for _, p := range w.processes {
		if p.up && !p.livesOf(h.term.claim) {
			within += h.ttl // somebody believes an older tombstone, which the bucket has lost: he asks the leader whether it has a record, for a TTL
			break
		}
	}
	h.up, h.term = false, nil
	h.start++
	w.tracef("%s: dies", h.name())
	if !w.calm(w.now+within, func() bool { return w.holder() != nil }) {
		w.fail("it is passed on", "nobody has it after %s has died", h.name())
	}
}

const runSteps = 400

func live(t *tape, lossy, traced bool) *world {
	w := newWorld(t, lossy, traced)
	for i := 0; i < runSteps && w.violation == "" && (t.more != nil || t.at < len(t.draws)); i++ {
		w.step()
	}
	if w.violation == "" {
		w.ends()
	}
	return w
}

func TestModel(t *testing.T) {
	for _, lossy := range []bool{false, true} {
		name := "NothingLost"
		if lossy {
			name = "Lossy"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := *modelSeed; seed < *modelSeed+uint64(*modelRuns); seed++ {
				tp := &tape{more: rand.New(rand.NewPCG(seed, 0))}
				if w := live(tp, lossy, false); w.violation != "" {
					short := shrink(tp.draws, w.violation, lossy)
					w = live(&tape{draws: short}, lossy, true)
					t.Fatalf("broken invariant: %s\nseed %d, %d of %d choices:\n%v", w.violation, seed, len(short), len(tp.draws), w)
				}
			}
		})
	}
}
