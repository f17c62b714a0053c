package rolebus

import (
	"fmt"
	"testing"
)

// fleetOf returns a snapshot of so many nodes. All have one role, a hundredth of them another, and each has one of its own.
func fleetOf(count int) *Snapshot {
	changes := make([]change, count)
	for i := range changes {
		changes[i] = stateOf(nodeName(i), 1, 1, uint64(i+1),
			"all", Role(fmt.Sprintf("group-%02d", i%100)), Role(fmt.Sprintf("one-%06d", i)))
		if i%2 == 0 {
			changes[i].roles = roleSet(append(changes[i].roles, "half"))
		}
	}
	snap, _ := newSnapshot("s", "").apply(news{changes: changes, whole: true, now: cacheEpoch, calm: forEver})
	return snap
}

// BenchmarkApply measures what it costs to apply one change, after many others, without the message that brings it. In the
// fleet each node has four roles: one that all have, one of a hundred, one that half of them have, and one of its own.
//
//	Role:    a node gains a role that nobody else has, or loses it
//	Held:    a node loses the role that half have, or gains it again
//	Restart: a node begins another life
//	Leave:   a node leaves, or joins again
//	Asked:   as Role, and somebody asks for all nodes after each change
//	Burst:   as Role, 1,000 nodes, or all, in one snapshot
func BenchmarkApply(b *testing.B) {
	for _, count := range []int{100, 1000, 10_000, 100_000} {
		fleet := fleetOf(count)
		for _, bm := range []struct {
			name  string
			there func(n *Node) (change, *Node) // what happens, and what the node is then
			back  func(n *Node) (change, *Node)
			burst int
			asked bool
		}{
			{name: "Role", there: toggled("new"), back: toggled("new")},
			{name: "Held", there: toggled("half"), back: toggled("half")},
			{name: "Restart", there: reborn, back: reborn},
			{name: "Leave", there: leaving, back: reborn},
			{name: "Asked", there: toggled("new"), back: toggled("new"), asked: true},
			{name: "Burst", there: toggled("new"), back: toggled("new"), burst: 1000},
		} {
			b.Run(fmt.Sprintf("%s/nodes=%d", bm.name, count), func(b *testing.B) {
				b.ReportAllocs()
				snap, burst := fleet, min(max(bm.burst, 1), count)
				var waiting []change
				for at := 0; b.Loop(); {
					if len(waiting) == 0 {
						b.StopTimer()
						waiting, at = thereAndBack(snap, max(burst, 50), at, bm.there, bm.back)
						b.StartTimer()
					}
					var fetch gap
					snap, fetch = snap.apply(news{changes: waiting[:burst], now: cacheEpoch, calm: forEver})
					waiting = waiting[burst:]
					if len(fetch.nodes) > 0 {
						b.Fatalf("%v must be fetched", fetch.nodes)
					}
					if bm.asked && snap.AllNodes().Len() != count {
						b.Fatal("wrong answer")
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst), "ns/change")
			})
		}
	}
}

// thereAndBack returns what happens to so many nodes, which are far from each other, from the one at a place on, and then
// undoes it. It returns the next place, too.
func thereAndBack(snap *Snapshot, nodes, at int, there, back func(*Node) (change, *Node)) (changes []change, next int) {
	var returning []change
	count := snap.members.len()
	for range nodes {
		n := snap.named.get(nodeName(at * 7919 % count))
		at++
		c, n := there(n)
		changes = append(changes, c)
		c, _ = back(n)
		returning = append(returning, c)
	}
	return append(changes, returning...), at
}

func toggled(role Role) func(*Node) (change, *Node) {
	one := []Role{role}
	return func(n *Node) (change, *Node) {
		c := change{
			kind: kindDelta, node: n.name, id: life{n.id.incarnation, n.id.version + 1}, base: n.id.version, generation: n.generation + 1,
		}
		if n.Has(role) {
			c.removed = one
		} else {
			c.added = one
		}
		return c, &Node{name: n.name, id: c.id, generation: c.generation, roles: merge(n.roles, c.added, c.removed)}
	}
}

func reborn(n *Node) (change, *Node) {
	c := change{kind: kindState, node: n.name, id: life{n.id.incarnation + 1, 1}, generation: n.generation + 1, ttl: n.ttl, roles: n.roles}
	return c, &Node{name: n.name, id: c.id, generation: c.generation, roles: n.roles}
}

func leaving(n *Node) (change, *Node) {
	return leftOf(n.name, n.id.incarnation, n.id.version, n.generation), n
}

func nodeName(i int) string { return fmt.Sprintf("node-%06d", i) }
