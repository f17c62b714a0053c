package embedded

import (
	"testing"
	"time"
)

// leavesAll has all processes of a cluster leave within a time, but so many.
func leavesAll(seed uint64, stay int) *world {
	sizes := newWorld(seed^0x1eaf, 3).rng
	size := 3 + 2*sizes.IntN(2)
	w := formedWorld(seed, size, size+max(sizes.IntN(3), stay))
	w.delay = []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond}[w.rng.IntN(3)]
	w.run(w.between(0, 5*time.Second))
	spread := []time.Duration{0, time.Second, 10 * time.Second}[w.rng.IntN(3)]
	for _, at := range w.rng.Perm(len(w.machines))[stay:] {
		p := w.machines[at].proc
		w.pending++
		w.after(w.between(0, spread), func() { w.pending--; w.leave(p) })
	}
	w.until(spread+time.Second, func() bool { return w.pending == 0 })
	return w
}

func (w *world) left(stay int) bool {
	n := 0
	for _, m := range w.machines {
		if m.proc != nil {
			n++
		}
	}
	return n == stay
}

func TestSimulatedLeaveOfAllAtOnce(t *testing.T) {
	seeds(t, simSeeds/8, func(t *testing.T, seed uint64) {
		w := leavesAll(seed, 0)
		if !w.until(time.Minute, func() bool { return w.left(0) }) {
			w.fail("not all have left")
		}
		w.report(t, seed)
	})
}

// Of one who stays, a member or a spare: it has all that was acknowledged.
func TestSimulatedLeaveOfAllButOne(t *testing.T) {
	seeds(t, simSeeds/8, func(t *testing.T, seed uint64) {
		w := leavesAll(seed, 1)
		if !w.until(5*time.Minute, func() bool { return w.left(1) }) {
			w.fail("not all have left")
		}
		w.run(time.Minute)
		for _, m := range w.machines {
			if m.proc == nil {
				continue
			}
			if st := m.disk.store; st == nil || st.g == nil || !st.g.data[m.disk.saved.server] || st.log < st.g.acked {
				w.fail("%s stays, and has not all", m.name)
			}
		}
		w.report(t, seed)
	})
}
