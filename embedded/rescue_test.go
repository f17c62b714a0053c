package embedded

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stuck is a member, "a", whose cluster has lost so many that none leads, and how its server is.
func stuck(peers ...string) (*brain, status, time.Time) {
	now := time.Unix(1e9, 0)
	b := newBrain(now, settings{fleet: "rolebus", size: len(peers), grace: usualGrace}, identity{name: "a", server: "a", cluster: "rolebus-1", phase: phaseMember}, "ia")
	b.phase = phaseMember
	own := status{running: true}
	for _, name := range peers {
		own.peers = append(own.peers, peer{name: name, id: peerID(name), live: name == "a"})
	}
	return b, own, now
}

func says(name string, p phase) *hello {
	h := &hello{Version: helloVersion, Fleet: "rolebus", Name: name, Instance: "i" + name, Size: 3, Phase: p, Port: 1, RoutePort: 2}
	if p != phaseSpare {
		h.Cluster, h.Server = "rolebus-1", name
	}
	return h
}

func TestWhatARescueRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		lost   []string
		peers  []string
		change func(b *brain, own *status, now time.Time)
		reason string
	}{
		"nobody":  {reason: "name the servers that are lost"},
		"itself":  {lost: []string{"a", "b"}, reason: "a is this process's own server"},
		"unknown": {lost: []string{"b", "x"}, reason: `no server of the cluster is named "x": there are a, b, c`},
		"too few": {lost: []string{"b"}, reason: "these are not connected: c"},
		"answers": {lost: []string{"b", "c"}, reason: "the server b is not lost: its process answers, at 10.0.0.1:1", change: func(b *brain, own *status, now time.Time) {
			b.view.hear(now, contact{Host: "10.0.0.1"}, says("b", phaseMember))
		}},
		"connected": {lost: []string{"b", "c"}, reason: "the server c is not lost: it is connected", change: func(b *brain, own *status, now time.Time) {
			own.routed = []string{"c"}
		}},
		"led by another": {lost: []string{"b"}, reason: "the cluster has a leader", change: func(b *brain, own *status, now time.Time) {
			h := says("c", phaseMember)
			h.Lead, h.Peers = &lead{Quorum: true, Live: []string{"a", "c"}}, []string{"a", "b", "c"}
			h.Leader, own.leader, own.routed = "c", "c", []string{"c"}
			b.view.hear(now, contact{Host: "10.0.0.1"}, h)
		}},
		"leads": {lost: []string{"b"}, reason: "the cluster has a leader", change: func(b *brain, own *status, now time.Time) {
			own.leads, own.leader = true, "a"
			own.peers[2].live = true
		}},
		"a spare": {lost: []string{"b", "c"}, reason: "this process has no server of a cluster, it is spare", change: func(b *brain, own *status, now time.Time) {
			b.phase = phaseSpare
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b, own, now := stuck("a", "b", "c")
			if c.change != nil {
				c.change(b, &own, now)
			}
			err := b.rescueOf(now, c.lost)
			if err == nil {
				b.step(now, own)
				require.True(t, b.rescue.over)
				err = b.rescue.err
			}
			require.ErrorContains(t, err, c.reason)
			for _, o := range b.orders {
				require.NotContains(t, []action{doRescue, doRemove}, o.do)
			}
		})
	}
}

func ordersTo(orders []order, do action) (list []order) {
	for _, o := range orders {
		if o.do == do {
			list = append(list, o)
		}
	}
	return list
}

// The survivors elect with as many votes as there are of them, the lost go one at a time, and then those who join are waited for.
func TestTheStepsOfARescue(t *testing.T) {
	b, own, now := stuck("a", "b", "c", "d", "e")
	alive := func() { b.view.hear(now, contact{Host: "10.0.0.2"}, says("b", phaseMember)) }
	own.routed = []string{"b"}
	require.NoError(t, b.rescueOf(now, []string{"e", "c", "d", "c"}))
	require.ErrorContains(t, b.rescueOf(now, []string{"c"}), "under way")

	other := says("b", phaseMember)
	other.Leader = "e" // of whom it has not noticed yet that it is dead
	b.view.hear(now, contact{Host: "10.0.0.2"}, other)
	b.step(now, own)
	for end := now.Add(rescueCalm - time.Second); now.Before(end); now = now.Add(time.Second) {
		alive()
		require.Empty(t, ordersTo(b.step(now, own), doRescue))
		require.Contains(t, b.waits, "no leader may be seen")
	}
	now = now.Add(2 * time.Second)
	alive()
	orders := ordersTo(b.step(now, own), doRescue)
	require.Len(t, orders, 1)
	require.Equal(t, 2, orders[0].votes)
	b.rescue.lowered = true

	now = now.Add(time.Second)
	alive()
	b.step(now, own)
	require.Contains(t, b.waits, "to elect a leader")
	own.leader, own.leads = "a", true
	for _, name := range []string{"c", "d", "e"} {
		now = now.Add(time.Second)
		alive()
		orders = ordersTo(b.step(now, own), doRemove)
		require.Len(t, orders, 1)
		require.Equal(t, name, orders[0].server)
		require.Equal(t, peerID(name), orders[0].id)
		require.Empty(t, ordersTo(b.step(now, own), doRemove), "not twice at once")
		own.peers = append(own.peers[:2:2], own.peers[3:]...)
	}
	own.peers[1].live, own.ready = true, true
	now = now.Add(time.Second)
	b.step(now, own)
	require.False(t, b.rescue.over)
	for _, name := range []string{"x", "y", "z"} {
		own.peers = append(own.peers, peer{name: name, live: true})
	}
	b.step(now, own)
	require.True(t, b.rescue.over)
	require.NoError(t, b.rescue.err)
}

// A leader that nobody hears any more is waited for, and one that some still see after long is for a person to look at.
func TestARescueWaitsForWhomeverSomeTakeForTheLeader(t *testing.T) {
	b, own, now := stuck("a", "b", "c")
	own.leader = "c"
	require.NoError(t, b.rescueOf(now, []string{"b", "c"}))
	for range int(rescueDoubt / time.Second) {
		require.Empty(t, ordersTo(b.step(now, own), doRescue))
		now = now.Add(time.Second)
	}
	require.False(t, b.rescue.over)
	b.step(now.Add(time.Second), own)
	require.ErrorContains(t, b.rescue.err, "some take c for the leader")
}

func TestWhatALeaderlessMemberWaitsFor(t *testing.T) {
	b, own, now := stuck("a", "b", "c")
	b.step(now, own)
	require.Equal(t, "b, c: 2 of 3 servers are needed; bring them back with their stores; if these are lost for good, a rescue by hand is needed", b.waits)
	b.view.hear(now, contact{Host: "10.0.0.1"}, says("b", phaseJoining))
	b.step(now, own)
	require.Equal(t, "c: 2 of 3 servers are needed (b came back with nothing stored, and does not count); bring them back with their stores; "+
		"if these are lost for good, a rescue by hand is needed", b.waits)
	b.view.hear(now, contact{Host: "10.0.0.2"}, says("c", phaseJoining))
	b.step(now, own)
	require.Equal(t, "the servers to elect a leader", b.waits)
}

func TestPeersOfWhichOnlyTheIDIsKnownHaveTheirNames(t *testing.T) {
	s := status{peers: []peer{{name: "Server name unknown at this time (peerID: x)", id: peerID("b")}, {name: "Server name unknown at this time (peerID: y)", id: "y"}}}
	s.named([]string{"a", "b"})
	require.Equal(t, []string{"b", "unknown~y"}, namesOfPeers(s.peers))
}
