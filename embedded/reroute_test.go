package embedded

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A server is told of routes when it does not connect without, or after a while: what is connected needs none.
func TestServersAreToldOfRoutesOnlyIfNeeded(t *testing.T) {
	t.Parallel()
	began := time.Now()
	b := &brain{identity: identity{name: "p1", server: "p1", cluster: "c"}, warned: map[string]bool{}}
	hear := func(now time.Time, names ...string) {
		for i, name := range names {
			b.view.hear(now, contact{Host: "10.0.0." + fmt.Sprint(i)}, &hello{
				Name: name, Server: name, Instance: name, Cluster: "c", Phase: phaseMember, Port: 1, RoutePort: 2,
			})
		}
	}
	told := func(after time.Duration, own status) (routes [][]route) {
		b.orders = nil
		b.follow(began.Add(after), own)
		for _, o := range b.orders {
			if o.do == doRoutes {
				routes = append(routes, o.routes)
			}
		}
		return routes
	}
	own := status{running: true, leader: "p2", peers: []peer{{name: "p1"}, {name: "p2"}, {name: "p3"}}, routed: []string{"p2"}}
	hear(began, "p2", "p3")
	require.Empty(t, told(0, own))
	require.Empty(t, told(2900*time.Millisecond, own), "it may connect by itself")
	require.Len(t, told(3*time.Second, own), 1, "p3 did not")
	require.Empty(t, told(4*time.Second, own), "it was told")

	own.routed = []string{"p2", "p3", "p4"}
	own.peers = append(own.peers, peer{name: "p4"})
	hear(began.Add(10*time.Second), "p2", "p3", "p4")
	require.Empty(t, told(10*time.Second, own))
	require.Empty(t, told(39*time.Second, own), "all are connected")
	require.Len(t, told(40*time.Second, own), 1)

	own.running = false
	hear(began.Add(50*time.Second), "p2", "p3", "p4", "p5")
	require.Empty(t, told(50*time.Second, own))
	own.running = true
	hear(began.Add(59*time.Second), "p2", "p3", "p4", "p5")
	require.Empty(t, told(60*time.Second, own), "it counts from when there is a server to be told")
	hear(began.Add(62*time.Second), "p2", "p3", "p4", "p5")
	require.Len(t, told(63*time.Second, own), 1)
}
