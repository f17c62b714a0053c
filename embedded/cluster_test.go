package embedded_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

func listenOn(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func TestProcessesFormOneCluster(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 5)
	cluster := all[0].State().Cluster
	require.NotEmpty(t, cluster)
	members := 0
	for _, p := range all {
		s := await(t, p, "to see all", func(s embedded.ClusterState) bool { return whole(3)(s) && len(s.Spares) == 2 })
		require.Equal(t, cluster, s.Cluster)
		if s.Part == embedded.Member {
			members++
			require.Len(t, of(p.told, &p.told.formed), 1)
		}
		require.Empty(t, p.refusals())
	}
	require.Equal(t, 3, members)

	canary := sing(t, all[4])
	bus, err := all[3].Connect(t.Context(), rolebus.WithNode("spare"))
	require.NoError(t, err)
	_, err = bus.Join(t.Context(), "town")
	require.NoError(t, err)
	require.NoError(t, bus.Close())
	canary.end(t)
}
