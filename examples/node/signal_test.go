//go:build node && unix

package node_test

import (
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// Elsewhere a process can be killed, and no more.

func TestInterrupted(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	web := bus(server, "web")
	lost := leavings(t, web)
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		js := start(t, server.URL(), "js", long, "a")
		rolebustest.WaitRoles(t, web, "js", "a")
		js.waitNodes(t, map[string][]string{"js": {"a"}, "web": {}})
		require.NoError(t, js.cmd.Process.Signal(signal))
		require.Equal(t, 0, js.wait(t), js)
		rolebustest.WaitRoles(t, web, "js")
	}
	rolebustest.Eventually(t, "two goodbyes", func() bool {
		return slices.Equal(lost("js"), []rolebus.Reason{rolebus.ReasonLeft, rolebus.ReasonLeft})
	})
}

func TestFrozenComesBack(t *testing.T) {
	t.Parallel()
	server := rolebustest.NewServer(t)
	web := bus(server, "web")
	js := start(t, server.URL(), "js", ttl, "a")
	rolebustest.WaitRoles(t, web, "js", "a")
	stream := stream(t, server)

	require.NoError(t, js.cmd.Process.Signal(syscall.SIGSTOP))
	rolebustest.Eventually(t, "the server to bury it", func() bool { return last(t, stream, "$KV.rolebus.default.js").Gone == "expired" })
	rolebustest.WaitRoles(t, web, "js")
	require.NoError(t, js.cmd.Process.Signal(syscall.SIGCONT))
	rolebustest.WaitRoles(t, web, "js", "a")
	js.say(t, `{"roles":["b"]}`)
	rolebustest.WaitRoles(t, web, "js", "b")
}
