package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// formation makes a world of 3 to 9 processes that start and are shown to each other as it chances. Discovery connects all of them, be it by others,
// from when they start.
func formation(seed uint64) *world {
	w := newWorld(seed, 3)
	if w.rng.IntN(3) == 0 {
		w.settings.size = 5
	}
	n := w.settings.size + w.rng.IntN(10-w.settings.size)
	w.delay = []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond, 1500 * time.Millisecond}[w.rng.IntN(4)]
	w.loss = []float64{0, 0, 0.05, 0.15}[w.rng.IntN(4)]
	spread := []time.Duration{0, 200 * time.Millisecond, 3 * time.Second, 15 * time.Second}[w.rng.IntN(4)]
	view := []time.Duration{0, time.Second, 5 * time.Second, 15 * time.Second}[w.rng.IntN(4)]
	for i := range n {
		w.machine(fmt.Sprintf("p%d", i))
	}
	if w.rng.IntN(3) == 0 {
		w.far = map[[2]int]bool{}
		for a := range n {
			for b := range a {
				w.far[[2]int{b, a}] = w.rng.IntN(5) == 0
			}
		}
	}
	fixed, dense := w.rng.IntN(2) == 0, []int{0, 1, 3}[w.rng.IntN(3)]
	halves := w.rng.IntN(3) == 0 // each of which knows all of its own, and one of them one of the other half
	starts := w.rng.Perm(n)
	for i, at := range starts { // in the order of starts, so that each is connected to one that was there before
		m := w.machines[at]
		m.fixed = fixed
		if i > 0 {
			other := w.machines[starts[w.rng.IntN(i)]]
			w.show(m, other, w.now)
			if spread > 0 || w.rng.IntN(2) == 0 {
				w.show(other, m, w.now)
			}
		}
		for _, other := range w.machines {
			if !hasKey(m.shown, other) && (halves && m.n*2/n == other.n*2/n || !halves && w.rng.IntN(4) < dense) {
				at := w.now
				if !halves {
					at = at.Add(w.between(0, view))
				}
				w.show(m, other, at)
			}
		}
	}
	late := time.Duration(0)
	for _, at := range starts {
		w.after(late, w.machines[at].start)
		late += w.between(0, 2*spread/time.Duration(n))
	}
	w.log("seed %d: %d processes of size %d, started within %v, shown within %v, answers within %v, loss %v", seed, n, w.settings.size, late, view, w.delay, w.loss)
	w.run(late)
	return w
}

// wants fails a test with what led to it.
func (w *world) wants(t *testing.T, seed uint64, within time.Duration) {
	t.Helper()
	if w.failure == "" && !w.until(within, func() bool { return w.whole() == "" }) {
		w.fail("not whole after %v: %s", within, w.whole())
	}
	w.report(t, seed)
}

func (w *world) report(t *testing.T, seed uint64) {
	t.Helper()
	if w.failure == "" {
		return
	}
	t.Errorf("seed %d: %s", seed, w.failure)
	if dir := os.Getenv("ROLEBUS_SIM"); dir != "" { // to have a history, or one seed alone
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.txt", strings.ReplaceAll(t.Name(), "/", "-"), seed)), []byte(strings.Join(w.history, "\n")), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// seeds are run one after another; ROLEBUS_SEED says one alone.
func seeds(t *testing.T, many uint64, run func(t *testing.T, seed uint64)) {
	t.Parallel()
	if text := os.Getenv("ROLEBUS_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		run(t, seed)
		return
	}
	failed := 0
	for seed := range many {
		before := t.Failed()
		run(t, seed)
		if t.Failed() && !before {
			failed++
		}
	}
}

// Founders are frozen, or die and come back, while they found.
func TestSimulatedFormationWithFaults(t *testing.T) {
	seeds(t, simSeeds/4, func(t *testing.T, seed uint64) {
		w := formation(seed)
		for range 1 + w.rng.IntN(3) {
			w.run(w.between(0, 3*time.Second))
			w.fault([]int{0, 0, 4, 1}[w.rng.IntN(4)])
		}
		w.until(2*time.Minute, func() bool { return w.pending == 0 })
		w.wants(t, seed, 2*time.Minute)
	})
}

func TestSimulatedFormation(t *testing.T) {
	seeds(t, simSeeds, func(t *testing.T, seed uint64) {
		w := formation(seed)
		w.wants(t, seed, 90*time.Second)
	})
}
