package embedded

import (
	"fmt"
	"testing"
	"time"
)

// spared says whether all that was acknowledged survives without what a machine has stored: what no cluster survives is not asked of it here.
func (w *world) spared(lost ...*machine) bool {
	for _, g := range w.groups {
		know, full := 0, 0
		for _, m := range w.machines {
			st := m.disk.store
			if st == nil || st.g != g || m.disk.saved == nil || !hasKey(g.peers, m.disk.saved.server) || hasMachine(lost, m) {
				continue
			}
			if st.meta > 0 {
				know++
			}
			if g.data[m.disk.saved.server] && st.log >= g.acked {
				full++
			}
		}
		if know < g.most() || full < len(g.data)/2+1 {
			return false
		}
	}
	return true
}

// ends ends a process for good, its store, too, as soon as that is survived.
func (w *world) ends(m *machine) {
	if w.spared(m) {
		m.stop()
		m.lose()
		return
	}
	w.pending++
	w.after(5*time.Second, func() {
		w.pending--
		w.ends(m)
	})
}

func hasMachine(list []*machine, m *machine) bool {
	for _, o := range list {
		if o == m {
			return true
		}
	}
	return false
}

// another adds a machine that all see, and that sees all, and starts its process.
func (w *world) another(name string) *machine {
	m := w.machine(name)
	m.fixed = w.rng.IntN(2) == 0
	for _, o := range w.machines {
		w.show(m, o, w.now)
		w.show(o, m, w.now)
	}
	m.start()
	return m
}

// alive are the machines that run a process, of those that ok.
func (w *world) alive(ok func(m *machine) bool) []*machine {
	var list []*machine
	for _, m := range w.machines {
		if m.proc != nil && !m.proc.frozen && !m.proc.leaving && !m.busy && !m.gone && ok(m) {
			list = append(list, m)
		}
	}
	return list
}

// onto does something to a machine, and undoes it later: until then nothing else is done to it.
func (w *world) onto(m *machine, do func(), after time.Duration, undo func()) {
	m.busy = true
	w.pending++
	do()
	w.after(after, func() {
		m.busy = false
		w.pending--
		undo()
	})
}

// fault lets something go wrong, of all that may, as it chances.
func (w *world) fault(kind int) {
	any := w.alive(func(*machine) bool { return true })
	if len(any) == 0 {
		return
	}
	m := any[w.rng.IntN(len(any))]
	if members := w.alive(func(m *machine) bool { return m.proc.srv != nil }); len(members) > 0 && w.rng.IntN(4) != 0 {
		m = members[w.rng.IntN(len(members))]
	}
	short, long := w.between(300*time.Millisecond, 8*time.Second), w.between(time.Second, 40*time.Second)
	restart := func() {
		if m.proc == nil {
			m.start()
		}
	}
	switch kind {
	case 0: // a crash
		w.onto(m, m.stop, short, restart)
	case 1: // a long one
		w.onto(m, m.stop, long, restart)
	case 2: // its store is lost, too
		if w.spared(m) {
			w.onto(m, func() { m.stop(); m.lose() }, w.between(300*time.Millisecond, 20*time.Second), restart)
		}
	case 3: // for good: another comes
		if w.spared(m) {
			w.onto(m, func() { m.stop(); m.lose() }, short, func() { w.newcomer() })
		}
	case 4: // frozen
		w.onto(m, m.freeze, long, m.thaw)
	case 5: // another comes, and it leaves
		w.newcomer()
		w.leave(m.proc)
	case 6: // it leaves, and another comes late
		w.leave(m.proc)
		w.pending++
		w.after(long, func() { w.pending--; w.newcomer() })
	case 7: // the network splits
		var side []*machine
		for _, o := range w.machines {
			if w.rng.IntN(2) == 0 {
				side = append(side, o)
			}
		}
		w.split(side, long)
	case 8: // one cannot dial another
		o := any[w.rng.IntN(len(any))]
		w.cuts[[2]*machine{m, o}] = true
		w.pending++
		w.after(long, func() { w.pending--; delete(w.cuts, [2]*machine{m, o}) })
	case 9: // one that is frozen is replaced by another of its name
		if w.spared(m) {
			w.onto(m, m.freeze, long, m.thaw)
			w.after(min(short, long/2), func() { w.another(m.name).gone = true })
			w.pending++
			w.after(long+30*time.Second, func() {
				w.pending--
				w.ends(m)
			})
			m.gone = true
		}
	case 10: // another of its name begins beside it
		twin := w.another(m.name)
		w.onto(twin, func() {}, long, func() { w.ends(twin) })
		m.busy, m.gone, twin.gone = true, true, true // either may have the name in the end
		w.after(long, func() { m.busy = false })
	case 11: // all at once
		for _, o := range any {
			w.onto(o, o.stop, w.between(300*time.Millisecond, 5*time.Second), func() {
				if o.proc == nil {
					o.start()
				}
			})
		}
	case 12: // one more
		if len(any) < 9 {
			w.newcomer()
		}
	case 13: // two leave, and two come
		w.newcomer()
		w.newcomer()
		w.leave(m.proc)
		if o := any[w.rng.IntN(len(any))]; o != m && !o.proc.leaving {
			w.leave(o.proc)
		}
	}
}

const faultKinds = 14

func (w *world) newcomer() *machine { return w.another(fmt.Sprintf("n%d", len(w.machines))) }

func (w *world) split(side []*machine, d time.Duration) {
	w.log("the network splits")
	var cut [][2]*machine
	for _, a := range w.machines {
		for _, b := range w.machines {
			if hasMachine(side, a) != hasMachine(side, b) && !w.cuts[[2]*machine{a, b}] {
				cut = append(cut, [2]*machine{a, b})
				w.cuts[[2]*machine{a, b}] = true
			}
		}
	}
	w.pending++
	w.after(d, func() {
		w.log("the network heals")
		w.pending--
		for _, c := range cut {
			delete(w.cuts, c)
		}
	})
}

// formed makes a world with a cluster that is whole.
func formedWorld(seed uint64, size, n int) *world {
	w := newWorld(seed, size)
	w.meet(n)
	return w
}

// meet starts processes that see each other, until they are a cluster.
func (w *world) meet(n int) {
	for i := range n {
		w.machine(fmt.Sprintf("p%d", i)).fixed = w.rng.IntN(2) == 0
	}
	for _, m := range w.machines {
		for _, o := range w.machines {
			w.show(m, o, w.now)
		}
		m.start()
	}
	if !w.until(30*time.Second, func() bool { return w.whole() == "" }) {
		w.fail("not formed: %s", w.whole())
	}
}

// faulty is a world in which much goes wrong, one after another and at once.
func faulty(seed uint64, kinds ...int) *world {
	sizes := newWorld(seed^0x5eed, 3).rng
	size := 3 + 2*(sizes.IntN(3)/2)
	w := formedWorld(seed, size, size+sizes.IntN(10-size))
	w.delay = []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond}[w.rng.IntN(3)]
	w.loss = []float64{0, 0, 0.05}[w.rng.IntN(3)]
	w.slow = []time.Duration{time.Second, 3 * time.Second, 20 * time.Second}[w.rng.IntN(3)]
	for range 3 + w.rng.IntN(10) {
		kind := w.rng.IntN(faultKinds)
		if len(kinds) > 0 {
			kind = kinds[w.rng.IntN(len(kinds))]
		}
		w.log("fault %d", kind)
		w.fault(kind)
		w.run(w.between(0, 20*time.Second))
	}
	w.until(3*time.Minute, func() bool { return w.pending == 0 })
	w.log("all faults are over")
	return w
}

func TestSimulatedFaults(t *testing.T) {
	seeds(t, simSeeds/8, func(t *testing.T, seed uint64) {
		faulty(seed).wants(t, seed, 150*time.Second)
	})
}

// Each kind of fault alone.
func TestSimulatedFaultsOfOneKind(t *testing.T) {
	for kind := range faultKinds {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			seeds(t, simSeeds/100, func(t *testing.T, seed uint64) {
				faulty(seed, kind).wants(t, seed, 150*time.Second)
			})
		})
	}
}
