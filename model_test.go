package rolebus

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

var (
	modelSeed = flag.Uint64("modelseed", 0, "runs only this seed of the model")
	modelRuns = flag.Int("modelruns", 8, "how many seeds the model runs of each schedule")
)

// TestModelFleet runs real buses on a fake bucket through schedules of faults. docs/MODEL.md describes it.
func TestModelFleet(t *testing.T) {
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

// anyOf returns one of some values.
func anyOf[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }
