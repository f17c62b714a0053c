package call_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/internal/atonce"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(echoProcess) != "" {
		if err := playEcho(); err != nil {
			fmt.Fprintln(os.Stderr, "echo process:", err)
			os.Exit(1)
		}
		return
	}
	atonce.Tests(8, 2)
	goleak.VerifyTestMain(m)
}

// handler is what a test handles a method by.
type handler[In, Out any] func(context.Context, In) (Out, error)

// echo returns what it gets.
func echo(_ context.Context, in string) (string, error) { return in, nil }

// handle handles a method until the test ends.
func handle[In, Out any](t testing.TB, s *rolebus.Scope, method string, f handler[In, Out], opts ...call.HandleOption) *call.Endpoint {
	t.Helper()
	e, err := call.Handle(s, method, f, opts...)
	require.NoError(t, err)
	return e
}

// method makes a method to call.
func method[In, Out any](t testing.TB, s *rolebus.Scope, role rolebus.Role, name string, opts ...call.Option) *call.Method[In, Out] {
	t.Helper()
	m, err := call.New[In, Out](s, role, name, opts...)
	require.NoError(t, err)
	return m
}

// soon is a context for what must end soon.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// fleet is a server, a node that only calls, and some that have the role "worker".
func fleet(t testing.TB, workers ...string) (caller *rolebus.Bus, nodes map[string]*rolebus.Bus) {
	t.Helper()
	server := rolebustest.NewServer(t)
	caller = server.Bus(rolebus.WithNode("caller"))
	nodes = map[string]*rolebus.Bus{}
	for _, name := range workers {
		nodes[name] = server.Bus(rolebus.WithNode(name))
	}
	return caller, nodes
}

// work gives a node the role "worker", and waits until somebody else sees it.
func work(t testing.TB, node, seenBy *rolebus.Bus) {
	t.Helper()
	require.NoError(t, node.AddRoles(soon(t), "worker"))
	rolebustest.Eventually(t, node.Name()+" is a worker", func() bool { return seenBy.Nodes("worker").Find(node.Name()) != nil })
}
