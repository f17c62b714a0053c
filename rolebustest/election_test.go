//go:build long

package rolebustest_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

func TestLeaderIsKilled(t *testing.T) {
	t.Parallel()
	c := rolebustest.NewCluster(t)
	survives(t, c, (*rolebustest.Server).Kill)
}

func TestLeaderIsIsolated(t *testing.T) {
	t.Parallel()
	c := rolebustest.NewCluster(t)
	first := c.Bus(rolebus.WithRoles("api"))
	leader := c.LeaderOf(bucketStream)
	servers := c.Servers()
	other := servers[(slices.Index(servers, leader)+1)%len(servers)]
	inside, outside := leader.Bus(), other.Bus()
	rolebustest.WaitRoles(t, inside, outside.Name())

	leader.Isolate()
	require.True(t, leader.Running())
	logged(t, "new leader", func() { require.NotSame(t, leader, c.LeaderOf(bucketStream)) })
	addRoles(t, outside, "db")
	require.Empty(t, inside.Roles(outside.Name()).Slice(), "the news crossed the split")
	logged(t, "two are ready", c.WaitReady)

	logged(t, "ready again", func() {
		leader.Rejoin()
		c.WaitReady()
	})
	rolebustest.WaitRoles(t, inside, outside.Name(), "db")
	rolebustest.WaitRoles(t, inside, first.Name(), "api")
}
