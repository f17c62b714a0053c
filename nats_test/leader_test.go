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

func init() { leaderKills = 2 }

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

// Who heartbeats seldom does not notice that there was no leader for a while: it asks the next one before it believes that one.
func TestPromise3TwoTTLsAndALeaderThatIsKilled(t *testing.T) {
	t.Parallel()
	c := rolebustest.NewCluster(t)
	fleet := fleetOf(c, ttl, time.Minute)
	var seen []*events
	for _, b := range fleet {
		eventually(t, b.Name()+" to see all", func() bool { return b.Nodes("x").Len() == 4 })
		seen = append(seen, watch(t, b.Scope))
	}
	js := jetStream(t, c.Conn())
	leader := c.LeaderOf("KV_rolebus")
	leader.Kill()
	require.NotSame(t, leader, c.LeaderOf("KV_rolebus"))
	eventually(t, "all to have written again", func() bool { return len(stored(t, js, "rolebus", "default")) == 4 })
	settled := time.Now()
	eventually(t, "the shorter grace to be over, twice", func() bool { return time.Since(settled) > 3*ttl })
	for i, b := range fleet {
		eventually(t, b.Name()+" to see all", func() bool { return b.Nodes("x").Len() == 4 })
		require.Zero(t, seen[i].count(rolebus.NodeLeft), "%s: %v", b.Name(), seen[i].list())
		require.NoError(t, b.Err())
	}
}
