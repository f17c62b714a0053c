package examples_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Before anybody leads, and when somebody does.
func TestLeaderInterrupted(t *testing.T) {
	t.Parallel()
	for _, when := range []string{`a file that refuses old tokens`, `does, and writes`} {
		leaderInterrupted(t, when)
	}
}

func leaderInterrupted(t *testing.T, when string) {
	t.Helper()
	p := start(t, "leader", "-pause", "1s")
	p.waitFor(t, when)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	require.Equal(t, 130, p.wait(t), p)
	require.Equal(t, "leader: interrupted\n", p.stderr.String())
	p.leavesNothing(t)
}

// A parent that is killed cannot clean up its files, but no process outlives it.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	p := start(t, "leader", "-pause", "1s")
	p.waitFor(t, `does, and writes`)
	require.NoError(t, p.cmd.Process.Kill())
	p.wait(t)
	p.leavesNoProcess(t)
}

func TestLeaderNobodyReads(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	p := prepare(t, "leader")
	p.cmd.Stdout = w
	p.begin(t)
	require.NoError(t, w.Close())
	_, err = r.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, 1, p.wait(t), p)
	require.Contains(t, p.stderr.String(), "broken pipe")
	p.leavesNothing(t)
}

func TestLeaderHelp(t *testing.T) {
	t.Parallel()
	p := start(t, "leader", "--help")
	require.Equal(t, 0, p.wait(t), p)
	for _, want := range []string{"go run ./examples/leader", "\n  -pause"} {
		require.Contains(t, p.stderr.String(), want)
	}
	for _, wrong := range []string{"node-1", "-pause=soon"} {
		p = start(t, "leader", wrong)
		require.Equal(t, 2, p.wait(t), p)
	}
}
