//go:build long

package nats_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

func TestARollingRestartMakesNobodySuspectAnybody(t *testing.T) {
	t.Parallel()
	cluster := rolebustest.NewCluster(t)
	var fleet []*rolebus.Bus
	var seen []*events
	all := []string{}
	for i := range 9 {
		all = append(all, fmt.Sprint("n", i))
		// Who loses its server suspects nobody for longer than the test: each server has clients that do, until its turn comes.
		fleet = append(fleet, cluster.Servers()[i%3].Bus(suspicious(all[i])...))
	}
	for _, b := range fleet {
		eventually(t, "the fleet", func() bool { return b.Nodes("x").Len() == 9 })
		seen = append(seen, watch(t, b.Scope))
	}
	for round, srv := range cluster.Servers() {
		awaitProbes(t, cluster, "*", 40)
		if round%2 == 0 {
			srv.Restart()
		} else {
			srv.Kill()
			srv.Start()
		}
		cluster.WaitReady()
		for _, b := range fleet {
			eventually(t, "contact", func() bool { return b.Snapshot().Stale() == 0 })
		}
	}
	require.NoError(t, fleet[0].AddRoles(t.Context(), "after"))
	for i, b := range fleet {
		eventually(t, "the change", func() bool { return b.Nodes("after").Len() == 1 })
		require.Len(t, b.Nodes("x").Slice(), 9)
		require.Empty(t, seen[i].gone(all...))
	}
}
