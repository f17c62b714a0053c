package rolebustest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

func TestWaitsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		soon := func() bool { return time.Since(start) >= 14*time.Second }
		require.Empty(t, failure(func(t *standIn) { rolebustest.Eventually(t, "soon", soon) }))

		never := func() bool { return false }
		require.Equal(t, "rolebustest: waited 15s for: a miracle",
			failure(func(t *standIn) { rolebustest.Eventually(t, "a miracle", never) }))
		require.Equal(t, "rolebustest: waited 1m0s for: a miracle",
			failure(func(t *standIn) { rolebustest.Within(t, time.Minute, "a miracle", never) }))

		scope := rolebustest.Snapshot("s", rolebustest.Node("a", nil, "api", "db"))
		require.Empty(t, failure(func(t *standIn) {
			rolebustest.WaitRoles(t, scope, "a", "db", "api")
			rolebustest.WaitRoles(t, scope, "b")
		}))
		require.Equal(t, `rolebustest: waited 15s for: node a to have the roles ["web"]; it has ["api" "db"]`,
			failure(func(t *standIn) { rolebustest.WaitRoles(t, scope, "a", "web") }))

		scope = rolebustest.Snapshot("s", rolebustest.Node("a", nil, "api"), rolebustest.Node("b", nil, "api"))
		require.Empty(t, failure(func(t *standIn) {
			rolebustest.WaitNodes(t, scope, "api", 2)
			rolebustest.WaitNodes(t, scope, "web", 0)
		}))
		require.Equal(t, `rolebustest: waited 15s for: 3 nodes to have the role "api"; 2 have it: [a b]`,
			failure(func(t *standIn) { rolebustest.WaitNodes(t, scope, "api", 3) }))
		require.Equal(t, `rolebustest: waited 15s for: 1 nodes to have the role "api"; 2 have it: [a b]`,
			failure(func(t *standIn) { rolebustest.WaitNodes(t, scope, "api", 1) }), "just so many")
		start = time.Now()
		require.Empty(t, failure(func(t *standIn) { rolebustest.WaitNodes(t, &growing{scope, start.Add(10 * time.Second)}, "api", 2) }))
		require.InDelta(t, 10, time.Since(start).Seconds(), 0.1, "no later than they have it")
	})
}

// growing is a scope that has nobody until a time.
type growing struct {
	*rolebus.Snapshot
	from time.Time
}

func (g *growing) Nodes(role rolebus.Role) rolebus.Nodes {
	if time.Now().Before(g.from) {
		return rolebus.Nodes{}
	}
	return g.Snapshot.Nodes(role)
}
