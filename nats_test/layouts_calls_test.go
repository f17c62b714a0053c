package nats_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
)

// answers has nodes answer with their names, and then take a role.
func answers(t *testing.T, role rolebus.Role, nodes ...*rolebus.Bus) {
	t.Helper()
	for _, b := range nodes {
		_, err := call.Handle(b.Scope, "name", func(context.Context, struct{}) (string, error) { return b.Name(), nil })
		require.NoError(t, err)
		require.NoError(t, b.AddRoles(t.Context(), role))
	}
}

// canCall demands that a process can call each node that has a role, and knows of each method that is not there that it is not.
func canCall(t *testing.T, b *rolebus.Bus, role rolebus.Role, want ...string) {
	t.Helper()
	rolebustest.WaitNodes(t, b, role, len(want))
	name, err := call.New[struct{}, string](b.Scope, role, "name")
	require.NoError(t, err)
	unknown := call.Func[struct{}, string](b.Scope, role, "unknown")
	eventually(t, b.Name()+" to call all", func() bool { // on a machine that is too busy some are out of reach for a moment
		var got []string
		for _, answer := range name.All(t.Context(), struct{}{}) {
			got = append(got, answer.Value)
		}
		slices.Sort(got)
		_, err := unknown(t.Context(), struct{}{})
		return slices.Equal(got, want) && errors.Is(err, call.ErrNoMethod)
	})
}

// A call stays in its account. Who is in another one is listed, cannot be called, which is said at once, and is not suspected for it.
func TestCallsStayInTheirAccount(t *testing.T) {
	t.Parallel()
	ns := layout(t, "import.conf")
	app := at{t, ns.ClientURL(), []rolebus.Option{rolebus.WithAPIPrefix("JS.store.API")}}
	store := at{t, ns.ClientURL(), []rolebus.Option{rolebus.WithNATS(nats.UserInfo("store", "change me"))}}
	a, b, c := bus(app, "a"), bus(app, "b"), bus(store, "c")
	answers(t, "app", a, b)
	answers(t, "store", c)
	rolebustest.WaitNodes(t, a, "store", 1)
	canCall(t, a, "app", "a", "b")
	canCall(t, c, "store", "c")

	seen := watch(t, a.Scope)
	for range 20 {
		_, err := call.Func[struct{}, string](a.Scope, "store", "name")(t.Context(), struct{}{})
		require.ErrorIs(t, err, call.ErrUnreachable)
		var failed *call.CallError
		require.ErrorAs(t, err, &failed)
		require.False(t, failed.MayHaveRun())
	}
	die(t, app.url, app.opts, []*rolebus.Bus{a, b}, "d") // who is examined after it
	eventually(t, "the dead one to be missed", func() bool { return slices.Contains(seen.lines("d"), "NodeLeft unreachable") })
	require.NotContains(t, seen.lines("c"), "NodeLeft unreachable")
	require.Equal(t, 1, a.Nodes("store").Len())
}
