package rolebustest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

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
	})
}
