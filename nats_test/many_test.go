//go:build long

package nats_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// Of many at once: who is cut off is missed at once, also where nobody is left to vouch for a server, if the servers tell.
func TestMostOfAClusterIsCutOffAndBack(t *testing.T) {
	t.Parallel()
	cluster := rolebustest.NewCluster(t)
	never := rolebus.WithProbeInterval(time.Hour)
	left := cluster.Servers()[0].Bus(append(suspicious("left"), never)...)
	o := cluster.Servers()[1].Bus(rolebus.WithNode("o"), rolebus.WithObserver(), rolebus.WithTTL(longTTL), never)
	var links []*rolebustest.Link
	for i := range 8 {
		link := cluster.Servers()[i%3].Link()
		links = append(links, link)
		link.Bus(append(suspicious(fmt.Sprint("n", i)), never)...)
	}
	for _, b := range []*rolebus.Bus{left, o} {
		eventually(t, "the fleet", func() bool { return b.Nodes("x").Len() == 9 })
	}
	for range 2 {
		for _, link := range links {
			link.Cut()
		}
		for _, b := range []*rolebus.Bus{left, o} {
			eventually(t, "the others to go", func() bool { return b.Nodes("x").Len() == 1 })
			require.Equal(t, 8, b.Snapshot().Suspects().Len())
		}
		for _, link := range links {
			link.Mend()
		}
		for _, b := range []*rolebus.Bus{left, o} {
			eventually(t, "them to come back", func() bool { return b.Nodes("x").Len() == 9 })
		}
	}
}

// A proxy that was restarted takes all its connections with it. Whose own one broke suspects nobody, and for whoever has another way
// all are back.
func TestAResetOfAllConnectionsLosesNobody(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	all := []string{}
	var fleet []*rolebus.Bus
	for i := range 8 {
		all = append(all, fmt.Sprint("n", i))
		fleet = append(fleet, link.Bus(suspicious(all[i])...))
	}
	fleet = append(fleet, link.Bus(append(suspicious("o")[:3], rolebus.WithObserver())...))
	direct := srv.Bus(append(suspicious("d")[:3], rolebus.WithObserver())...)
	var seen []*events
	for _, b := range fleet {
		eventually(t, "the fleet", func() bool { return b.Nodes("x").Len() == 8 })
		seen = append(seen, watch(t, b.Scope))
	}
	awaitProbes(t, srv, "*", 100)
	said := make(chan *nats.Msg, 10_000)
	_, err := srv.Conn().ChanSubscribe("rolebus.suspect.default.*", said)
	require.NoError(t, err)
	for i := range 3 {
		link.Reset()
		back := map[string]bool{} // who said so
		eventually(t, "all to be back", func() bool {
			for range len(said) {
				if msg := <-said; strings.Contains(string(msg.Data), `"back":true`) {
					back[msg.Subject] = true
				}
			}
			return len(back) == len(all)
		})
		role := rolebus.Role(fmt.Sprint("after-", i))
		require.NoError(t, fleet[0].AddRoles(t.Context(), role))
		for _, b := range append(fleet, direct) {
			eventually(t, "the change", func() bool { return b.Nodes(role).Len() == 1 && b.Nodes("x").Len() == 8 })
		}
	}
	for i := range fleet {
		require.Empty(t, seen[i].gone(all...))
	}
}

// Where a cluster is split, nobody listens for those on the other side, and nobody vouches for their servers.
func TestASplitClusterMakesNobodySuspectAnybody(t *testing.T) {
	t.Parallel()
	cluster := rolebustest.NewCluster(t)
	all := []string{}
	var fleet []*rolebus.Bus
	var seen []*events
	for i := range 9 {
		all = append(all, fmt.Sprint("n", i))
		fleet = append(fleet, cluster.Servers()[i%3].Bus(suspicious(all[i])...))
	}
	for _, b := range fleet {
		eventually(t, "the fleet", func() bool { return b.Nodes("x").Len() == 9 })
		seen = append(seen, watch(t, b.Scope))
	}
	for _, apart := range cluster.Servers()[:2] {
		awaitProbes(t, cluster, "*", 100)
		apart.Isolate()
		for _, srv := range cluster.Servers() {
			awaitProbes(t, srv, "*", 60)
		}
		apart.Rejoin()
		cluster.WaitReady()
	}
	awaitProbes(t, cluster, "*", 100)
	for i := range fleet {
		require.Empty(t, seen[i].gone(all...))
	}
}
