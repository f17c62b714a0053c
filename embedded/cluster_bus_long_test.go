//go:build long

package embedded_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
)

func TestBusFollowsMembersThatAreReplaced(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 4)
	bus, err := all[0].Connect(t.Context(), rolebus.WithNode("a"), rolebus.WithReplicas(3))
	require.NoError(t, err)
	defer bus.Close()
	scope, err := bus.Join(t.Context(), "town")
	require.NoError(t, err)
	require.NoError(t, all[3].Ready(t.Context()))
	other, err := all[3].Connect(t.Context(), rolebus.WithNode("b"), rolebus.WithReplicas(3))
	require.NoError(t, err)
	defer other.Close()
	there, err := other.Join(t.Context(), "town")
	require.NoError(t, err)
	for i := range 2 { // p1 and p2 go, p3 and p4 come
		require.NoError(t, all[1+i].Leave(t.Context()))
		town.begin(t, "p"+string(rune('4'+i)))
		role := rolebus.Role("role" + string(rune('0'+i)))
		require.NoError(t, scope.AddRoles(t.Context(), role))
		until(t, func() bool { return there.Snapshot().Nodes(role).Len() == 1 }, func() string { return "the other to see the role" })
	}
}
