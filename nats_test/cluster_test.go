package nats_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

func TestClusterOfThreeLosesTheLeaderOfTheStream(t *testing.T) {
	t.Parallel()
	c := rolebustest.NewCluster(t)
	var fleet []*rolebus.Bus
	for i := range 4 {
		fleet = append(fleet, bus(c, fmt.Sprint("node-", i), rolebus.WithRoles("x")))
	}
	fleet = append(fleet, bus(c, "observer", rolebus.WithObserver()))
	js := jetStream(t, c.Conn())
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	require.Equal(t, 3, stream.CachedInfo().Config.Replicas, "as many as the cluster allows")
	var seen []*events
	for _, b := range fleet {
		eventually(t, "the fleet", func() bool { return b.Nodes("x").Len() == 4 })
		seen = append(seen, watch(t, b.Scope))
	}
	leader := c.LeaderOf("KV_rolebus")
	from := time.Now()
	leader.Stop()
	require.NoError(t, fleet[0].AddRoles(t.Context(), "during"))
	t.Logf("a change was accepted %v after the leader was lost", time.Since(from))
	for _, b := range fleet {
		rolebustest.WaitRoles(t, b, "node-0", "during", "x")
	}
	leader.Start()
	require.NoError(t, fleet[1].AddRoles(t.Context(), "after"))
	for _, b := range fleet {
		rolebustest.WaitRoles(t, b, "node-1", "after", "x")
		eventually(t, "contact", func() bool { return b.Snapshot().Stale() == 0 })
	}
	again := time.Now()
	eventually(t, "the grace to be over", func() bool { return time.Since(again) > 2*ttl })
	for i, b := range fleet {
		require.Zero(t, seen[i].count(rolebus.NodeLeft), "%s: %v", b.Name(), seen[i].list())
		require.Len(t, b.Nodes("x").Slice(), 4)
		require.NoError(t, b.Err())
	}

	// And then the loss of a process is still told.
	require.NoError(t, fleet[3].Close())
	for i, b := range fleet[:3] {
		rolebustest.WaitRoles(t, b, "node-3")
		eventually(t, "the event", func() bool { return seen[i].count(rolebus.NodeLeft) == 1 })
	}
}

func TestClusterOfThreeRestartsOneServerAfterAnother(t *testing.T) {
	t.Parallel()
	c := rolebustest.NewCluster(t)
	a, b := bus(c, "a", rolebus.WithRoles("x")), bus(c, "b")
	eventually(t, "a", func() bool { return b.Nodes("x").Len() == 1 })
	seen := watch(t, b.Scope)
	for i, s := range c.Servers() {
		s.Restart()
		c.WaitReady()
		role := rolebus.Role(fmt.Sprint("round-", i))
		require.NoError(t, a.AddRoles(t.Context(), role))
		eventually(t, "the change", func() bool { return b.Nodes(role).Len() == 1 })
	}
	require.Zero(t, seen.count(rolebus.NodeLeft), "%v", seen.list())
	require.Zero(t, seen.count(rolebus.RoleRemoved))
}

// A scope is read through each server while another one is down.
func TestScopesAreReadThroughEachServer(t *testing.T) {
	t.Parallel()
	c := rolebustest.NewCluster(t)
	a := bus(c, "a", rolebus.WithRoles("x"), rolebus.WithScopes("other"))
	require.NoError(t, a.In("other").AddRoles(t.Context(), "y"))
	for i, s := range c.Servers() {
		o := bus(s, "o-"+s.Name(), rolebus.WithObserver())
		down := c.Servers()[(i+1)%3]
		down.Stop()
		eventually(t, "the other scope through "+s.Name(), func() bool {
			other, err := o.Join(t.Context(), "other")
			return err == nil && other.Nodes("y").Len() == 1
		})
		down.Start()
		c.WaitReady()
	}
}
