package rolebus

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVectorsRing(t *testing.T) {
	vectors(t, "ring.jsonl", func(t *testing.T, v struct{ Nodes, Ring, Places []string }) {
		require.ElementsMatch(t, v.Nodes, v.Ring)
		require.Len(t, v.Places, len(v.Ring))
		snap := &Snapshot{members: list{nodes: listOf(t, v.Nodes...).Slice()}}
		for i, name := range v.Ring {
			require.Equal(t, v.Places[i], fmt.Sprintf("%016x", spotOf(name).place))
			if next := snap.successor(name); len(v.Ring) > 1 {
				require.Equal(t, v.Ring[(i+1)%len(v.Ring)], next.Name())
			} else {
				require.Nil(t, next, "there is nobody else")
			}
		}
	})
}

// Of two in one place the one comes first whose name does. No two short names are known that share one.
func TestTheRingLeadsThroughAllNodes(t *testing.T) {
	var nodes []*Node
	for i := range 200 {
		nodes = append(nodes, &Node{name: strconv.Itoa(1000 + i), hash: hashText(strconv.Itoa(i / 2))})
	}
	snap := &Snapshot{members: list{nodes: nodes}}
	at := func(n *Node) spot { return spot{scatter(n.hash), n.name} }
	var seen []*Node
	for n := nodes[7]; len(seen) < len(nodes); n = snap.after(at(n)) {
		require.NotContains(t, seen, n)
		seen = append(seen, n)
	}
	require.Same(t, nodes[7], snap.after(at(seen[len(seen)-1])))
	turns := 0
	for i, n := range seen {
		if next := seen[(i+1)%len(seen)]; at(n).place > at(next).place || at(n).place == at(next).place && n.name > next.name {
			turns++
		}
	}
	require.Equal(t, 1, turns, "it is sorted")
}

// Who is not listed has a place all the same.
func TestANameThatIsNotListedHasASuccessor(t *testing.T) {
	snap := &Snapshot{members: list{nodes: listOf(t, "api-1", "api-2", "api-3").Slice()}}
	for _, name := range []string{"x", "y", "z", ""} {
		next := snap.successor(name)
		require.NotNil(t, next)
		for _, n := range snap.members.nodes {
			from := spotOf(name).place
			require.GreaterOrEqual(t, spotOf(n.name).place-from, spotOf(next.name).place-from, "%s lies between %s and %s", n.name, name, next.name)
		}
	}
	require.Nil(t, (&Snapshot{}).successor("x"))
}

func BenchmarkSuccessor(b *testing.B) {
	for _, size := range []int{10, 1000, 10_000} {
		var names []string
		for i := range size {
			names = append(names, "api-"+strconv.Itoa(i))
		}
		snap := &Snapshot{members: list{nodes: listOf(b, names...).Slice()}}
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				snap.successor("api-7")
			}
		})
	}
}
