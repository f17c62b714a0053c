package rolebustest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
)

const (
	patience = 15 * time.Second
	poll     = 2 * time.Millisecond
)

// Eventually waits until cond holds, for 15 seconds at the most; then the test has failed, and says for what it waited.
// It must be called from the test's own goroutine, and calls cond there.
func Eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	Within(tb, patience, what, cond)
}

// Within is [Eventually] with a deadline of its own.
func Within(tb testing.TB, d time.Duration, what string, cond func() bool) {
	tb.Helper()
	within(tb, d, cond, func() string { return what })
}

// WaitRoles waits until a node has just these roles in the scope, as a bus sees it; without roles, until it has none or
// is gone. It waits and fails as [Eventually] does. A *rolebus.Bus stands for its default scope.
func WaitRoles(tb testing.TB, scope rolebus.Reader, node string, roles ...rolebus.Role) {
	tb.Helper()
	roles = slices.Sorted(slices.Values(roles))
	var seen []rolebus.Role
	within(tb, patience, func() bool {
		seen = scope.Roles(node).Slice()
		return slices.Equal(seen, roles)
	}, func() string {
		return fmt.Sprintf("node %s to have the roles %q; it has %q", node, roles, seen)
	})
}

// WaitNodes waits until just n nodes have a role in the scope, as a bus sees it. It waits and fails as [Eventually] does, and says who
// has it. A *rolebus.Bus stands for its default scope.
func WaitNodes(tb testing.TB, scope rolebus.Reader, role rolebus.Role, n int) {
	tb.Helper()
	var seen rolebus.Nodes
	within(tb, patience, func() bool {
		seen = scope.Nodes(role)
		return seen.Len() == n
	}, func() string {
		return fmt.Sprintf("%d nodes to have the role %q; %d have it: %v", n, role, seen.Len(), seen)
	})
}

func within(tb testing.TB, d time.Duration, cond func() bool, what func() string) {
	tb.Helper()
	start := time.Now()
	for !cond() {
		if time.Since(start) > d {
			tb.Fatalf("rolebustest: waited %v for: %s", d, what())
		}
		time.Sleep(poll)
	}
}
