package rolebus

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// listOf returns a list of nodes of these names.
func listOf(t testing.TB, names ...string) Nodes {
	t.Helper()
	var nodes []*Node
	for _, name := range names {
		n, err := NewNode(NodeState{Name: name, Roles: []Role{"x"}})
		require.NoError(t, err)
		nodes = append(nodes, n)
	}
	snap, err := NewSnapshot("s", nodes...)
	require.NoError(t, err)
	require.True(t, snap.Joined())
	return snap.Nodes("x")
}

func TestVectorsOwner(t *testing.T) {
	vectors(t, "owner.jsonl", func(t *testing.T, v struct {
		Nodes   []string
		Key     string
		Owner   *string
		Weights []string
	}) {
		owner := listOf(t, v.Nodes...).Owner(v.Key)
		if v.Owner == nil {
			require.Nil(t, owner)
			return
		}
		require.Equal(t, *v.Owner, owner.Name())
		for i, want := range v.Weights {
			weight := scatter(hashText(v.Nodes[i]) ^ scatter(hashText(v.Key)))
			require.Equal(t, want, fmt.Sprintf("%016x", weight))
		}
	})
}

// When a node goes, only its own keys move, to all others alike; when it comes back, it has the same ones again.
func TestOwnerMovesNoKeyThatNeedNotMove(t *testing.T) {
	for _, size := range []int{2, 3, 10, 64} {
		keys := 100 * size * size
		var names []string
		for i := range size {
			names = append(names, "api-"+strconv.Itoa(i))
		}
		all, gone := listOf(t, names...), size/2
		rest := listOf(t, slices.Delete(slices.Clone(names), gone, gone+1)...)
		owned, inherited := map[string]int{}, map[string]int{}
		for i := range keys {
			key := "user:" + strconv.Itoa(i)
			was, is := all.Owner(key).Name(), rest.Owner(key).Name()
			owned[was]++
			if was == names[gone] {
				inherited[is]++
			} else {
				require.Equal(t, was, is, "%s had another owner, who is still there", key)
			}
		}
		requireAlike(t, owned, keys, size)
		requireAlike(t, inherited, owned[names[gone]], size-1)
	}
}

// requireAlike checks that a total is spread evenly over so many, within five standard deviations.
func requireAlike(t *testing.T, got map[string]int, total, over int) {
	t.Helper()
	mean := float64(total) / float64(over)
	require.Len(t, got, over)
	for name, n := range got {
		off := float64(n) - mean
		require.LessOrEqual(t, off*off, 25*mean, "%s has %d of %d, over %d", name, n, total, over)
	}
}

func BenchmarkOwner(b *testing.B) {
	for _, size := range []int{10, 1000} {
		var names []string
		for i := range size {
			names = append(names, "api-"+strconv.Itoa(i))
		}
		nodes := listOf(b, names...)
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				nodes.Owner("user:42")
			}
		})
	}
}
