package rescue

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a rescue refuses of a cluster that needs none. What else it refuses is tested in package embedded.
func TestNothingIsRescuedThatNeedsNoRescue(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, 4)
	members := f.members()
	for _, name := range members {
		for _, lost := range [][]string{without(members, name), without(members, name)[:1]} {
			f.wait("it to have heard the leader", func() bool {
				why := f.rescue(name, lost...)
				require.NotEmpty(t, why, "refused in any case")
				return strings.Contains(why, "has a leader")
			})
		}
	}
	spare := without(f.names(), members...)[0]
	require.Contains(t, f.rescue(spare, members[:2]...), "has no server of a cluster, it is spare")
	require.Contains(t, f.rescue(members[0], []string{}...), "name the servers that are lost")
	require.ElementsMatch(t, members, f.members())
}
