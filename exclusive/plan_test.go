package exclusive

import (
	"testing"

	"github.com/rolebus/rolebus"
	"github.com/stretchr/testify/require"
)

// Whoever asks for more kinds of partitions than are kept loses one plan for each, not all.
func TestPlannersAreKept(t *testing.T) {
	ps, made := &planners{}, map[*planner]bool{}
	key := func(n int) planKey { return planKey{role: rolebus.Role("r"), n: n} }
	for n := range mostPlanners + 10 {
		made[ps.of(key(n))] = true
	}
	require.Len(t, ps.all, mostPlanners)
	require.Len(t, made, mostPlanners+10)
	for n := range mostPlanners + 10 {
		if p := ps.all[key(n)]; p != nil {
			require.Same(t, p, ps.of(key(n)))
		}
	}
	require.Len(t, ps.all, mostPlanners)
}
