package rolebustest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

func TestFirstBusGetsThreeReplicas(t *testing.T) {
	t.Parallel()
	var c *rolebustest.Cluster
	var names []string
	logged(t, "ready", func() {
		c = rolebustest.NewCluster(t, func(o *server.Options) { names = append(names, o.ServerName) })
	})
	require.Equal(t, []string{"server-1", "server-2", "server-3"}, names)
	a := c.Bus(rolebus.WithRoles("api"))
	info := streamInfo(t, c.Conn())
	require.Equal(t, 3, info.Config.Replicas)
	require.Equal(t, c.LeaderOf(bucketStream).Name(), info.Cluster.Leader)
	for _, s := range c.Servers() {
		require.Contains(t, strings.Split(c.URL(), ","), s.URL())
		b := s.Bus()
		rolebustest.WaitRoles(t, b, a.Name(), "api")
	}
}

func TestLeaderStops(t *testing.T) {
	t.Parallel()
	c := rolebustest.NewCluster(t)
	survives(t, c, (*rolebustest.Server).Stop)
}

// survives has the leader of the bucket fail, and checks that buses work without it, and that it may come back.
func survives(t *testing.T, c *rolebustest.Cluster, fail func(*rolebustest.Server)) {
	t.Helper()
	a, b := c.Bus(rolebus.WithRoles("api")), c.Bus()
	rolebustest.WaitRoles(t, b, a.Name(), "api")
	leader := c.LeaderOf(bucketStream)

	logged(t, "works without the leader", func() {
		fail(leader)
		require.False(t, leader.Running())
		addRoles(t, a, "db")
	})
	rolebustest.WaitRoles(t, b, a.Name(), "api", "db")
	require.NotSame(t, leader, c.LeaderOf(bucketStream))

	logged(t, "ready with it", func() {
		leader.Start()
		c.WaitReady()
	})
	// Ready means that another one may go.
	c.LeaderOf(bucketStream).Stop()
	addRoles(t, b, "web")
	rolebustest.WaitRoles(t, a, b.Name(), "web")
}

func addRoles(t *testing.T, b *rolebus.Bus, roles ...rolebus.Role) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, b.AddRoles(ctx, roles...))
}
