package rolebus

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// A caller once got the snapshot's own slice. Whoever sorted or shuffled it had the dead listed for ever, and the living not at all.
func TestWhatACallerDoesToASliceChangesNoList(t *testing.T) {
	for _, size := range []int{3, shortList, 4 * shortList} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			rng := seeded(t)
			snap := newSnapshot("s", "")
			alive := map[string]bool{}
			for round := range uint64(20) {
				var changes []change
				for i := range size {
					name := fmt.Sprintf("n%05d", i)
					switch generation := round*uint64(size) + uint64(i) + 1; {
					case round > 0 && rng.IntN(3) > 0:
					case alive[name]:
						changes = append(changes, leftOf(name, round+1, 1001, generation))
						alive[name] = false
					default:
						changes = append(changes, stateOf(name, round+1, 1, generation, "x", "y", "z"))
						alive[name] = true
					}
				}
				snap, _ = heard{changes: changes}.apply(t, snap, 0)
				var want []string
				for name, lives := range alive {
					if lives {
						want = append(want, name)
					}
				}
				slices.Sort(want)
				for _, ns := range []Nodes{snap.Nodes("x"), snap.AllNodes()} {
					require.Equal(t, want, names(ns.Slice()), "round %d", round)
					list := ns.Slice()
					rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
					clear(list[:len(list)/2])
					require.Equal(t, want, names(ns.Slice()), "the list itself is as it was")
				}
				for _, name := range want {
					roles := snap.Roles(name).Slice()
					slices.Reverse(roles)
					roles[0] = "gone"
					require.Equal(t, "[x y z]", snap.Roles(name).String())
				}
			}
		})
	}
}

func TestSuspectsCannotBeShuffled(t *testing.T) {
	snap := snapshotOf(t, stateOf("a", 1, 1, 1, "x"), stateOf("b", 1, 1, 2, "x"), stateOf("c", 1, 1, 3, "x"))
	snap.suspects = []*Node{snap.named.get("a"), snap.named.get("b")}
	slices.Reverse(snap.Suspects().Slice())
	require.Equal(t, "[a b]", snap.Suspects().String())
}

func TestNodesAnswer(t *testing.T) {
	snap := snapshotOf(t, stateOf("c", 1, 1, 1, "x"), stateOf("a", 1, 1, 2, "x", "y"), stateOf("b", 1, 1, 3, "y"))
	ns := snap.Nodes("x")
	require.Equal(t, 2, ns.Len())
	require.Equal(t, "a", ns.At(0).Name())
	require.Equal(t, "c", ns.At(1).Name())
	require.Panics(t, func() { ns.At(2) })
	require.Same(t, ns.At(1), ns.Find("c"))
	require.Nil(t, ns.Find("b"), "it has another role")
	require.Equal(t, ns.Slice(), slices.Collect(ns.All()))
	for n := range ns.All() {
		require.Equal(t, "a", n.Name())
		break
	}
	require.Equal(t, "[a c]", ns.String())

	rs := snap.Roles("a")
	require.Equal(t, 2, rs.Len())
	require.Equal(t, Role("y"), rs.At(1))
	require.Panics(t, func() { rs.At(2) })
	require.True(t, rs.Has("x"))
	require.False(t, rs.Has("z"))
	require.Equal(t, rs.Slice(), slices.Collect(rs.All()))
	require.Equal(t, "[x y]", rs.String())
}

func TestZeroNodesAndRolesAreEmpty(t *testing.T) {
	for _, ns := range []Nodes{{}, snapshotOf(t).Nodes("x"), snapshotOf(t).AllNodes(), snapshotOf(t).Suspects()} {
		require.Zero(t, ns.Len())
		require.Empty(t, ns.Slice())
		require.Nil(t, ns.Find("a"))
		require.Nil(t, ns.Pick())
		require.Nil(t, ns.Owner("key"))
		require.Equal(t, "[]", ns.String())
		require.Panics(t, func() { ns.At(0) })
		for range ns.All() {
			t.Fatal("a node of none")
		}
	}
	for _, rs := range []Roles{{}, snapshotOf(t).Roles("a"), snapshotOf(t).MyRoles(), new(Snapshot).AllRoles(), snapshotOf(t).AllRoles()} {
		require.Zero(t, rs.Len())
		require.Empty(t, rs.Slice())
		require.False(t, rs.Has(""))
		require.Equal(t, "[]", rs.String())
		require.Panics(t, func() { rs.At(0) })
		for range rs.All() {
			t.Fatal("a role of none")
		}
	}
}

func TestPickTakesEachAlike(t *testing.T) {
	const nodes, each = 10, 1000
	var changes []change
	for i := range uint64(nodes) {
		changes = append(changes, stateOf(fmt.Sprint("n", i), 1, 1, i+1, "x"))
	}
	ns, picked := snapshotOf(t, changes...).Nodes("x"), map[string]int{}
	for range nodes * each {
		picked[ns.Pick().Name()]++
	}
	for n := range ns.All() {
		require.InDelta(t, each, picked[n.Name()], 250, "eight standard deviations")
	}
}

func TestListsDoNotAllocate(t *testing.T) {
	var changes []change
	for i := range uint64(3 * shortList) {
		changes = append(changes, stateOf(fmt.Sprintf("n%05d", i), 1, 1, i+1, "x", "y"))
	}
	snap := snapshotOf(t, changes...)
	ns, rs := snap.Nodes("x"), snap.Roles("n00000")
	var (
		node  *Node
		role  Role
		count int
		found bool
	)
	for name, read := range map[string]func(){
		"Snapshot.Nodes":    func() { count = snap.Nodes("x").Len() },
		"Snapshot.AllNodes": func() { count = snap.AllNodes().Len() },
		"Snapshot.Suspects": func() { count += snap.Suspects().Len() },
		"Nodes.Len":         func() { count = ns.Len() },
		"Nodes.At":          func() { node = ns.At(7) },
		"Nodes.Find":        func() { node = ns.Find("n00009") },
		"Nodes.Pick":        func() { node = ns.Pick() },
		"Nodes.Owner":       func() { node = ns.Owner("key") },
		"Nodes.All": func() {
			for n := range ns.All() {
				node = n
			}
		},
		"Roles.Len": func() { count += rs.Len() },
		"Roles.At":  func() { role = rs.At(1) },
		"Roles.Has": func() { found = rs.Has("y") },
		"Roles.All": func() {
			for r := range rs.All() {
				role = r
			}
		},
		"Node.Roles": func() { rs = node.Roles() },
		"Node.Has":   func() { found = node.Has("x") },
		"Node.Meta":  func() { _ = node.Meta("zone") },
	} {
		if node == nil {
			node = ns.At(0)
		}
		require.Zero(t, testing.AllocsPerRun(100, read), name)
	}
	require.True(t, node != nil && role != "" && count > 0 && found)
}

func TestNodesByHand(t *testing.T) {
	given := NodeState{
		Name: "a", Incarnation: 3, Generation: 9, Meta: map[string]string{"zone": "1"}, Roles: []Role{"y", "x", "y"},
	}
	n, err := NewNode(given)
	require.NoError(t, err)
	given.Meta["zone"], given.Roles[0] = "changed", "changed"
	require.Equal(t, []any{"a", uint64(3), uint64(9), "1", "[x y]"},
		[]any{n.Name(), n.Incarnation(), n.Generation(), n.Meta("zone"), n.Roles().String()}, "what was given is the caller's")

	n, err = NewNode(NodeState{Name: "a"})
	require.NoError(t, err)
	require.EqualValues(t, 1, n.Incarnation())
	require.EqualValues(t, 1, n.Generation())
	require.Zero(t, n.Roles().Len())

	for _, tc := range []struct {
		state NodeState
		says  string
		name  bool
	}{
		{NodeState{}, "rolebus: node by hand: bad name: node is empty", true},
		{NodeState{Name: "a\xff"}, "is not UTF-8", true},
		{NodeState{Name: "a", Roles: []Role{"x", ""}}, "role is empty", true},
		{NodeState{Name: "a", Meta: map[string]string{"": ""}}, "a key is empty", false},
		{NodeState{Name: "a", Incarnation: maxNumber + 1}, "at most 9007199254740991", false},
	} {
		n, err := NewNode(tc.state)
		require.ErrorContains(t, err, tc.says)
		require.Equal(t, tc.name, errors.Is(err, ErrBadName), err)
		require.Nil(t, n)
	}
}

func TestSnapshotsByHand(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{0, 1, 5, shortList + 1, 2000} {
		var nodes []*Node
		var all, x []string
		for i := range size {
			name := fmt.Sprintf("n%05d", i)
			nodes = append(nodes, handmade(t, NodeState{Name: name, Roles: []Role{"x", "y"}[:i%3]}))
			if i%3 > 0 {
				all, x = append(all, name), append(x, name)
			}
		}
		rng.Shuffle(size, func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		snap, err := NewSnapshot("s", nodes...)
		require.NoError(t, err)
		requireSound(t, snap)
		require.Equal(t, all, names(snap.AllNodes().Slice()), "sorted, and without those that have no role")
		require.Equal(t, x, names(snap.Nodes("x").Slice()))
		require.Equal(t, size/3, snap.Nodes("y").Len())
		for _, n := range nodes {
			require.Equal(t, n.Roles(), snap.Roles(n.Name()))
			if n.Has("x") {
				require.Same(t, n, snap.Nodes("x").Find(n.Name()))
			}
		}
		if size > 1 {
			owner := snap.Nodes("x").Owner("key")
			require.NotNil(t, owner)
			again, err := NewSnapshot("another", nodes...)
			require.NoError(t, err)
			require.Same(t, owner, again.Nodes("x").Owner("key"))
		}
		require.Zero(t, snap.Stale())
		require.Zero(t, snap.Suspects().Len())
		require.Zero(t, snap.MyRoles().Len(), "it is nobody's own")
		require.Zero(t, snap.Generation())
	}

	a := handmade(t, NodeState{Name: "a"})
	_, err := NewSnapshot("s", new(Node))
	require.ErrorIs(t, err, ErrBadName, "no node has no name")
	snap, err := NewSnapshot("s\xff", a, nil, a)
	require.Nil(t, snap)
	require.ErrorIs(t, err, ErrBadName)
	for _, says := range []string{"rolebus: snapshot by hand: ", "is not UTF-8", "node 2 is nil", `two nodes are named "a"`} {
		require.ErrorContains(t, err, says)
	}
}

func TestFilterLeavesTheListAlone(t *testing.T) {
	all := listOf(t, "a", "b", "c")
	some := all.Filter(func(n *Node) bool { return n.Name() != "b" })
	require.Equal(t, "[a c]", some.String())
	require.Equal(t, "[a b c]", all.String())
	require.Nil(t, some.Find("b"))
	require.Equal(t, "[]", all.Filter(func(*Node) bool { return false }).String())
	require.Zero(t, Nodes{}.Filter(func(*Node) bool { return true }).Len())
}

func TestEmptyListsAreZero(t *testing.T) {
	a := stateOf("a", 1, 1, 1)
	a.roles = sorted([]Role{})
	snap := snapshotOf(t, stateOf("b", 1, 1, 2, "x"))
	next, _ := heard{changes: []change{a, {kind: kindDelta, node: "b", id: life{1, 2}, base: 1, generation: 3, removed: []Role{"x"}}}}.apply(t, snap, 0)
	require.Zero(t, next.Roles("b"))
	for _, name := range []string{"a", "b"} {
		require.NotNil(t, next.Node(name))
		require.Zero(t, next.Roles(name))
	}
	require.Zero(t, next.Nodes("x"))
	require.Zero(t, next.AllNodes())
	require.Zero(t, next.AllRoles())

	w, err := decodeWire(`{"format":1,"incarnation":1,"version":1,"ttl":15000,"roles":[]}`)
	require.NoError(t, err)
	c, err := w.change()
	require.NoError(t, err)
	require.Equal(t, kindState, c.kind)
	require.Nil(t, c.roles)

	d := newDraft(snap, news{})
	d.suspects = []*Node{{name: "c"}}
	d.unhide("c")
	require.Zero(t, d.finish().Suspects())
}
