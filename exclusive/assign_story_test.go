package exclusive

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ten members share 1,024 partitions; three go, one after another, four come, and one goes. By the names alone at most a fifth beyond the least moves: each
// change is held against the least that it could have moved, as each is seen by itself.
func TestAssignMovesLittleInAChangingFleet(t *testing.T) {
	rng, made := rand.New(rand.NewPCG(9, 10)), 0
	moves, least := 0, 0
	for range 5 {
		var c crew
		come := func() {
			made++
			c = crew{names: append(slices.Clone(c.names), fmt.Sprint("worker-", made))}
			slices.Sort(c.names)
		}
		goes := func() { c = c.without(rng.IntN(len(c.names))) }
		for range 10 {
			come()
		}
		owners := c.assign("r", 1024, nil)
		for _, change := range []func(){goes, goes, goes, come, come, come, come, goes} {
			before := c
			change()
			held := c.known(owners, before)
			owners = c.assign("r", 1024, nil)
			gone := 0
			for _, i := range held {
				if i == nobody {
					gone++
				}
			}
			moves += gone + moved(held, owners)
			least += gone + c.leastMoves(held)
		}
	}
	t.Logf("moved %d, the least is %d: %.3f", moves, least, float64(moves)/float64(least))
	require.LessOrEqual(t, float64(moves), 1.2*float64(least))
}
