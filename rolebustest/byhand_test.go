package rolebustest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// said returns what f panics with, "" if it does not.
func said(f func()) (what string) {
	defer func() {
		if fault := recover(); fault != nil {
			what = fmt.Sprint(fault)
		}
	}()
	f()
	return ""
}

func TestNodesAndSnapshotsByHand(t *testing.T) {
	a := rolebustest.Node("a", map[string]string{"zone": "1"}, "web", "api", "web")
	require.Equal(t, "a", a.Name())
	require.Equal(t, []rolebus.Role{"api", "web"}, a.Roles().Slice())
	require.Equal(t, "1", a.Meta("zone"))
	require.EqualValues(t, 1, a.Incarnation())

	var reader rolebus.Reader = rolebustest.Snapshot("s", rolebustest.Node("b", nil, "api"), a, rolebustest.Node("idle", nil))
	require.Equal(t, "[a b]", reader.Nodes("api").String())
	require.Same(t, a, reader.Nodes("web").At(0))
	require.Equal(t, "[a b]", reader.AllNodes().String())
	require.Equal(t, "[api]", reader.Roles("b").String())
	require.Zero(t, reader.Nodes("none").Len())
	require.Zero(t, rolebustest.Snapshot("s").AllNodes().Len())
}

func TestMistakesInNodesAndSnapshotsByHandPanic(t *testing.T) {
	for _, tc := range []struct {
		make func()
		says string
	}{
		{func() { rolebustest.Node("", nil) }, "rolebustest: rolebus: node by hand: bad name: node is empty"},
		{func() { rolebustest.Node("a", nil, "") }, "role is empty"},
		{func() { rolebustest.Node("a", map[string]string{"": "v"}) }, "a key is empty"},
		{func() { rolebustest.Snapshot("") }, "rolebustest: rolebus: snapshot by hand: bad name: scope is empty"},
		{func() { rolebustest.Snapshot("s", nil) }, "node 1 is nil"},
		{func() { rolebustest.Snapshot("s", rolebustest.Node("a", nil), rolebustest.Node("a", nil, "x")) }, `two nodes are named "a"`},
	} {
		require.Contains(t, said(tc.make), tc.says)
	}
}
