package call_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/call"
)

// To somebody else, and to this process itself.
func TestNotificationsArrive(t *testing.T) {
	caller, nodes := fleet(t, "w1", "w2")
	nodes["caller"] = caller
	heard := make(chan string, 10)
	for name, b := range nodes {
		handle(t, b.Scope, "note", func(_ context.Context, in string) (string, error) {
			heard <- name + " " + in
			return "", call.Error("NOBODY", "hears this")
		})
		work(t, b, caller)
	}
	note := method[string, string](t, caller.Scope, "worker", "note", call.RoundRobin())
	next := func() string {
		select {
		case what := <-heard:
			return what
		case <-soon(t).Done():
			require.Fail(t, "nobody heard it")
			return ""
		}
	}
	var each []string
	for range 3 {
		require.NoError(t, note.Notify(soon(t), "once"))
		each = append(each, next())
	}
	require.ElementsMatch(t, []string{"w1 once", "w2 once", "caller once"}, each)
	require.NoError(t, note.NotifyAll(soon(t), "all"))
	require.ElementsMatch(t, []string{"w1 all", "w2 all", "caller all"}, []string{next(), next(), next()})
}
