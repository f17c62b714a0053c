package rolebus

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

var (
	modelSeed = flag.Uint64("modelseed", 0, "runs only this seed of the model")
	modelRuns = flag.Int("modelruns", 8, "how many seeds the model runs of each schedule")
)

// TestModelFleet runs real buses on a fake bucket through schedules of faults. docs/MODEL.md describes it.
func TestModelFleet(t *testing.T) {
	t.Parallel()
	for i, s := range schedules {
		t.Run(s.name, func(t *testing.T) {
			for n := range *modelRuns {
				seed := uint64(n*len(schedules) + i + 1)
				if *modelSeed != 0 && *modelSeed != seed {
					continue
				}
				ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newFleet(t, rand.New(rand.NewPCG(seed, 0)), n)
						s.run(w)
						w.settle()
					})
				})
				if !ok {
					t.Fatalf("to repeat: go test -run '^TestModelFleet$' -modelseed=%d .", seed)
				}
			}
		})
	}
}

// TestModelADoubtBeginsAnew is the shortest world in which that rule alone saves a live node: it wrote again after the doubt,
// was not heard, and was buried wrongly once more.
func TestModelADoubtBeginsAnew(t *testing.T) {
	const ttl = 7500 * time.Millisecond // so that the grace is 10 s
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	snap := newSnapshot("s", "o")
	hear := func(after time.Duration, whole bool, changes ...change) {
		now = now.Add(after)
		snap, _ = snap.apply(news{changes: changes, whole: whole, began: snap.serial, now: now, due: now, calm: forEver})
	}
	state := func(version uint64) change {
		return change{kind: kindState, node: "n", id: life{1, version}, generation: version, ttl: ttl}
	}
	buried := func(version uint64) change {
		return change{kind: kindExpired, node: "n", id: life{1, version}, generation: version, late: 2 * maxLate}
	}
	hear(0, false, state(1))
	hear(0, false, buried(3))
	hear(9*time.Second, false, buried(6)) // so it had written version 4 or 5 meanwhile
	hear(2*time.Second, true)
	if snap.named.get("n") == nil {
		t.Fatal("dropped 2 s after it was buried by mistake")
	}
	hear(9*time.Second, true)
	if snap.named.get("n") != nil {
		t.Fatal("listed for ever")
	}
}

// anyOf returns one of some values.
func anyOf[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }
