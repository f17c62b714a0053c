//go:build long

package nats_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// While the bucket has no leader nothing is stored, and nobody can bury anybody: however many writes fail meanwhile, every lease runs
// for as long as it was armed for.
func TestLeasesOutliveTheLeaderOfTheBucket(t *testing.T) {
	t.Parallel()
	const stream = "KV_rolebus"
	for name, fault := range map[string]func(t *testing.T, c *rolebustest.Cluster) (mend func()){
		"it is killed": func(_ *testing.T, c *rolebustest.Cluster) func() {
			leader := c.LeaderOf(stream)
			leader.Kill()
			return func() { leader.Start(); c.WaitReady() }
		},
		"it steps down": func(t *testing.T, c *rolebustest.Cluster) func() {
			_, err := c.Conn().RequestWithContext(t.Context(), "$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil)
			require.NoError(t, err)
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := rolebustest.NewCluster(t)
			var fleet []*rolebus.Bus
			var leases []context.Context
			for i := range 5 {
				b := bus(c, fmt.Sprint("node-", i), rolebus.WithRoles("x"), rolebus.WithTTL(15*time.Second))
				fleet, leases = append(fleet, b), append(leases, b.LeaseContext())
			}
			for round := range 3 {
				mend := fault(t, c)
				ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
				var changes sync.WaitGroup
				for i, b := range fleet {
					changes.Go(func() {
						for n := range 3 {
							if err := b.SetRoles(ctx, "x", rolebus.Role(fmt.Sprint(round, n))); err != nil {
								t.Errorf("node-%d: %v", i, err)
							}
						}
					})
				}
				changes.Wait()
				cancel()
				for i, lease := range leases {
					// An election may take longer than a lease, on a machine that has much to do.
					if cause := context.Cause(lease); cause != nil && !strings.Contains(cause.Error(), "no heartbeat got through in time") {
						t.Errorf("node-%d, round %d: %v", i, round, cause)
					}
				}
				mend()
			}
		})
	}
}
