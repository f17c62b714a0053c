package nats_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

func TestLayoutOne(t *testing.T) {
	t.Parallel()
	ns := layout(t, "one.conf")
	isOneFleet(t, at{t, ns.ClientURL(), nil}, at{t, ns.ClientURL(), nil})
}

func TestLayoutCluster(t *testing.T) {
	t.Parallel()
	servers := cluster(t, "cluster.conf", newSite(t, 3), nil)
	awaitPeers(t, 3, servers)
	isOneFleet(t, at{t, servers[0].ClientURL(), nil}, at{t, servers[2].ClientURL(), nil})
	require.Equal(t, 3, bucketAt(t, servers[1], "rolebus").Config.Replicas)
}

// The bucket is where it is asked for, whoever makes it, and who is elsewhere sees the same.
func TestLayoutGateways(t *testing.T) {
	t.Parallel()
	east, west := supercluster(t)
	inEast := []rolebus.Option{rolebus.WithPlacement("east")}
	isOneFleet(t, at{t, west[0].ClientURL(), inEast}, at{t, east[0].ClientURL(), inEast})
	info := bucketAt(t, west[1], "rolebus")
	require.Equal(t, "east", info.Cluster.Name)
	require.Equal(t, 3, info.Config.Replicas)
	// No cluster sends another one what nobody there has asked for.
	for _, ns := range append(east, west...) {
		gates, err := ns.Gatewayz(&server.GatewayzOptions{Accounts: true})
		require.NoError(t, err)
		for _, inbound := range gates.InboundGateways {
			for _, gate := range inbound {
				for _, account := range gate.Accounts {
					require.Equal(t, server.InterestOnly.String(), account.InterestMode, account.Name)
				}
			}
		}
	}
}

// Without a placement the bucket is in the cluster of whoever makes it, if that has enough servers, else in another one.
func TestLayoutGatewaysWithoutPlacement(t *testing.T) {
	t.Parallel()
	east, west := supercluster(t)
	for bucket, tc := range map[string]struct {
		opts     []rolebus.Option
		cluster  string
		replicas int
	}{
		"rolebus": {nil, "east", 3},
		"single":  {[]rolebus.Option{rolebus.WithReplicas(1)}, "west", 1},
	} {
		opts := append(tc.opts, rolebus.WithBucket(bucket))
		a := bus(at{t, west[0].ClientURL(), opts}, "a", rolebus.WithRoles("x"))
		b := bus(at{t, east[0].ClientURL(), opts}, "b", rolebus.WithRoles("x"))
		rolebustest.WaitNodes(t, a, "x", 2)
		rolebustest.WaitNodes(t, b, "x", 2)
		info := bucketAt(t, east[1], bucket)
		require.Equal(t, tc.cluster, info.Cluster.Name, bucket)
		require.Equal(t, tc.replicas, info.Config.Replicas, bucket)
		if tc.cluster == "east" {
			continue
		}
		// And it moves, while all runs.
		seen := watch(t, b.Scope)
		nc, err := nats.Connect(east[0].ClientURL())
		require.NoError(t, err)
		defer nc.Close()
		info.Config.Placement = &jetstream.Placement{Cluster: "east"}
		_, err = jetStream(t, nc).UpdateStream(t.Context(), info.Config)
		require.NoError(t, err)
		eventually(t, "the bucket to be in east", func() bool {
			stream, err := jetStream(t, nc).Stream(t.Context(), "KV_"+bucket)
			if err != nil {
				return false // it has no leader for a moment
			}
			where := stream.CachedInfo().Cluster
			return where.Name == "east" && where.Leader != "" && len(where.Replicas) == 0
		})
		require.NoError(t, a.AddRoles(t.Context(), "moved"))
		rolebustest.WaitNodes(t, b, "moved", 1)
		require.Zero(t, seen.count(rolebus.NodeLeft), "%v", seen.list())
	}
}

// isOneFleet demands that all works between two places: who joins is seen, and what each changes, and who dies; and all can be called. The first one
// joins first.
func isOneFleet(t *testing.T, here, there at) {
	t.Helper()
	a, b := bus(here, "a", rolebus.WithRoles("x")), bus(there, "b", rolebus.WithRoles("x"))
	all := []*rolebus.Bus{a, b, bus(here, "o", rolebus.WithObserver()), bus(there, "p", rolebus.WithObserver())}
	for _, each := range all {
		rolebustest.WaitNodes(t, each, "x", 2)
	}
	require.NoError(t, a.AddRoles(t.Context(), "of a"))
	require.NoError(t, b.AddRoles(t.Context(), "of b"))
	for _, each := range all {
		rolebustest.WaitRoles(t, each, "a", "of a", "x")
		rolebustest.WaitRoles(t, each, "b", "of b", "x")
	}
	answers(t, "called", a, b)
	for _, each := range all {
		canCall(t, each, "called", "a", "b")
	}
	for node, at := range map[string]at{"d": here, "e": there} {
		var seen []*events
		for _, each := range all {
			seen = append(seen, watch(t, each.Scope))
		}
		die(t, at.url, at.opts, all, node)
		for i, each := range all {
			eventually(t, each.Name()+" to miss "+node, func() bool { return slices.Contains(seen[i].lines(node), "NodeLeft unreachable") })
		}
	}
	for _, each := range all {
		eventually(t, "contact", func() bool { return each.Snapshot().Stale() == 0 })
		rolebustest.WaitNodes(t, each, "x", 2)
	}
}

// site is where the servers of a cluster listen for each other, and for those of other clusters.
type site struct{ routes, gateways []int }

func newSite(t *testing.T, n int) site {
	t.Helper()
	ports := freePorts(t, 2*n)
	return site{ports[:n], ports[n:]}
}

// cluster starts the servers of a cluster, each from the same file.
func cluster(t *testing.T, file string, here site, clusters map[string]site) (servers []*server.Server) {
	t.Helper()
	for i, port := range here.routes {
		servers = append(servers, layout(t, file, func(o *server.Options) {
			o.ServerName = fmt.Sprint(o.Cluster.Name, "-", i+1)
			require.Len(t, o.Routes, len(here.routes), "the file names all servers of the cluster")
			o.Cluster.Host, o.Cluster.Port, o.Routes = "127.0.0.1", port, urls(here.routes)
			if clusters == nil {
				return
			}
			o.Gateway.Host, o.Gateway.Port = "127.0.0.1", here.gateways[i]
			for _, remote := range o.Gateway.Gateways {
				require.Len(t, remote.URLs, len(clusters[remote.Name].gateways))
				remote.URLs = urls(clusters[remote.Name].gateways)
			}
		}))
	}
	return servers
}

func urls(ports []int) (all []*url.URL) {
	for _, port := range ports {
		all = append(all, &url.URL{Scheme: "nats", Host: fmt.Sprint("127.0.0.1:", port)})
	}
	return all
}

func supercluster(t *testing.T) (east, west []*server.Server) {
	t.Helper()
	clusters := map[string]site{"east": newSite(t, 3), "west": newSite(t, 2)}
	east = cluster(t, "gateway-east.conf", clusters["east"], clusters)
	west = cluster(t, "gateway-west.conf", clusters["west"], clusters)
	awaitPeers(t, 5, east, west)
	return east, west
}

// awaitPeers waits until JetStream's servers have found each other.
func awaitPeers(t *testing.T, n int, clusters ...[]*server.Server) {
	t.Helper()
	eventually(t, "JetStream's servers to be one group", func() bool {
		for _, ns := range slices.Concat(clusters...) {
			if ns.JetStreamIsLeader() && len(ns.JetStreamClusterPeers()) == n {
				return true
			}
		}
		return false
	})
}

// bucketAt is the bucket as it is seen through a server.
func bucketAt(t *testing.T, ns *server.Server, bucket string) *jetstream.StreamInfo {
	t.Helper()
	nc, err := nats.Connect(ns.ClientURL())
	require.NoError(t, err)
	defer nc.Close()
	stream, err := jetStream(t, nc).Stream(t.Context(), "KV_"+bucket)
	require.NoError(t, err)
	return stream.CachedInfo()
}
