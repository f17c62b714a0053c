package nats_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// What ClusterHelper does, line by line.

func TestAddAndRemoveOneAndManyRoles(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := bus(srv, "a"), bus(srv, "b")
	require.NoError(t, a.AddRoles(t.Context(), "one"))
	rolebustest.WaitRoles(t, b, "a", "one")
	require.NoError(t, a.AddRoles(t.Context(), "two", "three"))
	rolebustest.WaitRoles(t, b, "a", "one", "three", "two")
	require.NoError(t, a.RemoveRoles(t.Context(), "one"))
	rolebustest.WaitRoles(t, b, "a", "three", "two")
	require.NoError(t, a.RemoveRoles(t.Context(), "two", "three"))
	rolebustest.WaitRoles(t, b, "a")
}

func TestNoChangeWritesNothing(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := srv.Bus(rolebus.WithRoles("x")) // its first heartbeat is a second away
	js := jetStream(t, srv.Conn())
	nc := srv.Conn()
	heard := make(chan *nats.Msg, 10)
	_, err := nc.ChanSubscribe("rolebus.changes.>", heard)
	require.NoError(t, err)
	require.NoError(t, nc.Flush())

	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	record, err := stream.GetLastMsgForSubject(t.Context(), "$KV.rolebus.default."+a.Name())
	require.NoError(t, err)
	generation := a.Generation()
	require.Equal(t, record.Sequence, generation, "the revision is the generation")
	require.NoError(t, a.AddRoles(t.Context(), "x"))
	require.NoError(t, a.AddRoles(t.Context(), "x", "x"))
	require.NoError(t, a.RemoveRoles(t.Context(), "y"))
	require.NoError(t, a.SetRoles(t.Context(), "x"))
	require.Equal(t, generation, a.Generation())
	require.NoError(t, a.AddRoles(t.Context(), "y"), "a change, to know that all before it has been heard")
	require.Greater(t, a.Generation(), generation)
	first := <-heard
	require.Contains(t, first.Header.Get("Rolebus"), `"version":2,`, "the first announcement is that of the change")
}

func TestManyRolesAreAnnouncedInOneChange(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a")
	nc := srv.Conn()
	heard := make(chan *nats.Msg, 10)
	_, err := nc.ChanSubscribe("rolebus.changes.default.a", heard)
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	require.NoError(t, a.AddRoles(t.Context(), "x", "y", "z"))
	require.Contains(t, (<-heard).Header.Get("Rolebus"), `"added":["x","y","z"]}`)
	require.NoError(t, a.SetRoles(t.Context(), "z", "q"))
	msg := <-heard
	require.Contains(t, msg.Header.Get("Rolebus"), `"added":["q"],"removed":["x","y"]}`)
	require.Empty(t, msg.Data)
	require.Empty(t, heard)
}

func TestRolesAreAnyJSONValueToldApartExactly(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := bus(srv, "a"), bus(srv, "b")
	values := []any{
		"text", 42, "42", -1.5, true, "true", nil, "null", []any{"shard", 3}, `["shard",3]`, []any{"shard", "3"},
		map[string]any{"kind": "db", "zone": 7}, "a.b c*>=\n\t é 世界", " lead", "trail ",
	}
	for _, v := range values {
		role, err := rolebus.RoleOf(v)
		require.NoError(t, err)
		require.Empty(t, a.Nodes(role).Slice(), "%#v is like one before it", v)
		require.NoError(t, a.AddRoles(t.Context(), role))
		eventually(t, "the role", func() bool { return b.Nodes(role).Len() == 1 })
	}
	require.Len(t, a.MyRoles().Slice(), len(values))
	require.Equal(t, a.MyRoles().Slice(), b.Roles("a").Slice())
	late := bus(srv, "late", rolebus.WithObserver())
	require.Equal(t, a.MyRoles().Slice(), late.Roles("a").Slice(), "read from the bucket as well as heard")
}

func TestQueries(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a", rolebus.WithRoles("x", "y"), rolebus.WithMeta(map[string]string{"zone": "1"}))
	b := bus(srv, "b", rolebus.WithRoles("x"))
	c := bus(srv, "c")
	for _, s := range []*rolebus.Bus{a, b, c} {
		eventually(t, "both roles", func() bool { return s.Nodes("x").Len() == 2 })
		require.Equal(t, []string{"a", "b"}, names(s.Nodes("x").Slice()), "nodes by role")
		require.Equal(t, []string{"a"}, names(s.Nodes("y").Slice()))
		require.Empty(t, s.Nodes("none").Slice())
		require.Equal(t, []rolebus.Role{"x", "y"}, s.Roles("a").Slice(), "roles by node")
		require.Empty(t, s.Roles("c").Slice())
		require.Empty(t, s.Roles("nobody").Slice())
		require.Equal(t, []string{"a", "b"}, names(s.AllNodes().Slice()), "a node without a role is not listed")
		n := s.Nodes("y").At(0)
		require.Equal(t, "1", n.Meta("zone"))
		require.Empty(t, n.Meta("none"))
		require.True(t, n.Has("y"))
		require.False(t, n.Has("z"))
	}
	require.Equal(t, []rolebus.Role{"x"}, b.MyRoles().Slice(), "my roles")
	require.Empty(t, c.MyRoles().Slice())
	require.True(t, a.IsLocal("a"))
	require.False(t, a.IsLocal("b"))
	require.Equal(t, "a", a.Name())
	require.Equal(t, "default", a.Scope.Name())
}

func TestMetadataAtRunTime(t *testing.T) {
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a", rolebus.WithRoles("x"), rolebus.WithScopes("s"), rolebus.WithMeta(map[string]string{"zone": "1"}))
	b := bus(srv, "b", rolebus.WithScopes("s"))
	require.NoError(t, a.In("s").AddRoles(t.Context(), "y"))
	shown := func(b *rolebus.Bus, zone string) bool {
		n, in := b.Nodes("x").Find("a"), b.In("s").Nodes("y").Find("a")
		return n != nil && in != nil && n.Meta("zone") == zone && in.Meta("zone") == zone
	}
	eventually(t, "the first metadata", func() bool { return shown(b, "1") })
	generation := a.Generation()
	require.NoError(t, a.SetMeta(t.Context(), map[string]string{"zone": "2"}))
	require.True(t, shown(a, "2"), "when the call returns")
	require.Greater(t, a.Generation(), generation)
	eventually(t, "other metadata", func() bool { return shown(b, "2") })
	generation = a.Generation()
	require.NoError(t, a.SetMeta(t.Context(), map[string]string{"zone": "2"}))
	require.Equal(t, generation, a.Generation())

	kv, err := jetStream(t, srv.Conn()).KeyValue(t.Context(), "rolebus")
	require.NoError(t, err)
	entry, err := kv.Get(t.Context(), "default.a")
	require.NoError(t, err)
	require.Contains(t, string(entry.Value()), `"roles":["x"],"meta":{"zone":"2"}`)
	late := bus(srv, "late", rolebus.WithObserver(), rolebus.WithScopes("s"))
	require.True(t, shown(late, "2"), "read from the bucket as well as heard")

	require.ErrorIs(t, a.SetMeta(t.Context(), map[string]string{"zone": strings.Repeat("z", 2<<20)}), rolebus.ErrTooLarge)
	require.NoError(t, a.AddRoles(t.Context(), "z"))
	eventually(t, "the role", func() bool { return b.Nodes("z").Len() == 1 })
	require.True(t, shown(b, "2"))
}

func TestScopesAtRunTime(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a", rolebus.WithScopes("s"), rolebus.WithDefaultScope("home"), rolebus.WithRoles("x"))
	b := bus(srv, "b", rolebus.WithDefaultScope("home"))
	require.Equal(t, []string{"home", "s"}, a.Scopes())
	require.Equal(t, []string{"a"}, names(b.In("home").Nodes("x").Slice()), "start-up roles are in the default scope")

	s, err := b.Join(t.Context(), "s")
	require.NoError(t, err)
	require.Equal(t, []string{"home", "s"}, b.Scopes())
	_, err = b.Join(t.Context(), "s")
	require.ErrorIs(t, err, rolebus.ErrAlreadyJoined)
	require.ErrorIs(t, b.Leave(t.Context(), "t"), rolebus.ErrNotJoined)

	require.NoError(t, b.In("t").AddRoles(t.Context(), "r"), "adding a role joins")
	require.Equal(t, []string{"home", "s", "t"}, b.Scopes())
	require.NoError(t, s.AddRoles(t.Context(), "p", "q"))
	rolebustest.WaitRoles(t, a.In("s"), "b", "p", "q")
	seen := watch(t, a.In("s"))
	eventually(t, "the watch to have begun", func() bool { return len(seen.lines("b")) == 3 })
	require.NoError(t, b.Leave(t.Context(), "s"))
	require.Empty(t, s.AllNodes().Slice())
	rolebustest.WaitRoles(t, a.In("s"), "b")
	eventually(t, "the events", func() bool { return len(seen.lines("b")) == 6 })
	require.Equal(t, []string{"NodeJoined", "RoleAdded p", "RoleAdded q", "RoleRemoved p left", "RoleRemoved q left", "NodeLeft left"},
		seen.lines("b"))
	require.Equal(t, []string{"home", "t"}, b.Scopes())
}

func TestEachScopeHasItsOwnGenerations(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a", rolebus.WithScopes("s"))
	s := a.In("s")
	home := a.Generation()
	before := s.Generation()
	require.NoError(t, s.AddRoles(t.Context(), "x"))
	require.Greater(t, s.Generation(), before)
	require.Equal(t, home, a.Generation())
	last := s.Generation()
	require.NoError(t, a.Close())
	again := bus(srv, "a", rolebus.WithScopes("s"))
	require.Greater(t, again.In("s").Generation(), last, "generations do not start again with the process")
}

func TestEventsComeOncePerRoleAndOncePerNode(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	var joined, left, added, removed atomic.Int32
	b := bus(srv, "b", rolebus.WithHandler(rolebus.Handler{
		OnNodeJoined:  func(ev rolebus.Event) { joined.Add(1) },
		OnNodeLeft:    func(ev rolebus.Event) { left.Add(1) },
		OnRoleAdded:   func(ev rolebus.Event) { added.Add(1) },
		OnRoleRemoved: func(ev rolebus.Event) { removed.Add(1) },
	}))
	seen := watch(t, b.Scope)
	a := bus(srv, "a", rolebus.WithRoles("x", "y"))
	require.NoError(t, a.AddRoles(t.Context(), "z"))
	eventually(t, "z", func() bool { return added.Load() == 3 && len(seen.lines("a")) == 4 }) // a slow reader might miss it
	require.NoError(t, a.RemoveRoles(t.Context(), "z"))
	eventually(t, "z to go", func() bool { return removed.Load() == 1 })
	// Several syncs and heartbeats later nothing has been told again.
	js := jetStream(t, srv.Conn())
	seq := lastSeq(t, js)
	eventually(t, "heartbeats", func() bool { return lastSeq(t, js) > seq+8 })
	require.NoError(t, a.Close())
	eventually(t, "the end", func() bool { return left.Load() == 1 && len(seen.lines("a")) == 8 })
	require.Equal(t, []string{
		"NodeJoined", "RoleAdded x", "RoleAdded y", "RoleAdded z", "RoleRemoved z",
		"RoleRemoved x left", "RoleRemoved y left", "NodeLeft left",
	}, seen.lines("a"))
	require.EqualValues(t, []int32{2, 1, 3, 3}, []int32{joined.Load(), left.Load(), added.Load(), removed.Load()})
}

func TestAHandlerMayHaveAnySubset(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	heard := make(chan rolebus.Event, 10)
	for _, h := range []rolebus.Handler{{}, {OnNodeLeft: func(ev rolebus.Event) { heard <- ev }}} {
		b := bus(srv, "b", rolebus.WithHandler(h))
		a := bus(srv, "a", rolebus.WithRoles("x"))
		eventually(t, "a", func() bool { return b.Nodes("x").Len() == 1 })
		require.NoError(t, a.Close())
		eventually(t, "a to go", func() bool { return b.Nodes("x").Len() == 0 })
		if h.OnNodeLeft != nil {
			ev := <-heard
			require.Equal(t, rolebus.ReasonLeft, ev.Reason)
			require.Equal(t, "a", ev.Node.Name())
			require.Equal(t, "default", ev.Scope)
			require.NotZero(t, ev.Generation)
		}
		require.NoError(t, b.Close())
	}
}

func TestObserverReadsAndNobodySeesIt(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a", rolebus.WithRoles("x"))
	o := bus(srv, "o", rolebus.WithObserver())
	require.Equal(t, []string{"a"}, names(o.Nodes("x").Slice()))
	require.ErrorIs(t, o.AddRoles(t.Context(), "x"), rolebus.ErrReadOnly)
	require.ErrorIs(t, o.RemoveRoles(t.Context(), "x"), rolebus.ErrReadOnly)
	require.ErrorIs(t, o.SetRoles(t.Context(), "x"), rolebus.ErrReadOnly)
	_, err := o.Join(t.Context(), "s")
	require.NoError(t, err)
	require.NoError(t, a.In("s").AddRoles(t.Context(), "y"))
	eventually(t, "y", func() bool { return o.In("s").Nodes("y").Len() == 1 })
	require.Len(t, stored(t, jetStream(t, srv.Conn()), "rolebus", "s"), 1)
	require.Zero(t, o.Generation())
	require.NoError(t, o.Close())
}

func TestWaitForARole(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	provision(t, srv)
	o := bus(srv, "o", rolebus.WithObserver())
	done := make(chan error, 1)
	go func() { done <- o.WaitFor(context.Background(), "x", 2) }()
	bus(srv, "a", rolebus.WithRoles("x"))
	bus(srv, "b", rolebus.WithRoles("x"))
	require.NoError(t, <-done)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, o.WaitFor(ctx, "x", 3), context.Canceled)
}
