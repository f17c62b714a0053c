//go:build unix

package nats_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// Only a Unix can freeze a process. Elsewhere Link.Stall is all there is, which the other tests use everywhere.

func (p *process) freeze(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
}

func (p *process) thaw(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
}

func TestANodeProcessIsFrozenThawedAndKilled(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	provision(t, srv)
	o := bus(srv, "o", rolebus.WithObserver())
	seen := watch(t, o.Scope)
	has := func(n int) func() bool { return func() bool { return o.Nodes("process").Len() == n } }
	p := startProcess(t, processNode, processConfig{URL: srv.URL(), Node: "p"})
	eventually(t, "the process", has(1))

	p.freeze(t)
	eventually(t, "the frozen process to go", has(0))
	p.thaw(t)
	eventually(t, "the thawed process to come back", has(1))

	p.kill(t)
	eventually(t, "the killed process to go", has(0))
	eventually(t, "the events", func() bool { return seen.count(rolebus.NodeLeft) == 2 })
	require.Equal(t, 2, seen.count(rolebus.NodeJoined), "started, thawed: %v", seen.list())
}
