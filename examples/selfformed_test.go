package examples_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// At any moment: while the processes look for each other, when they have formed, and while a spare takes the place of one that was killed.
func TestSelfformedInterrupted(t *testing.T) {
	t.Parallel()
	for _, when := range []string{`no NATS but what they are themselves`, `three founded a cluster`, `each took the role worker`} {
		selfformedInterrupted(t, when)
	}
}

func selfformedInterrupted(t *testing.T, when string) {
	t.Helper()
	p := start(t, "selfformed")
	p.waitFor(t, when)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	require.Equal(t, 130, p.wait(t), p)
	require.Equal(t, "selfformed: interrupted\n", p.stderr.String())
	p.leavesNothing(t)
}

// A parent that is killed cannot clean up its files, but no process outlives it.
func TestSelfformedKilled(t *testing.T) {
	t.Parallel()
	p := start(t, "selfformed")
	p.waitFor(t, `each took the role worker`)
	require.NoError(t, p.cmd.Process.Kill())
	p.wait(t)
	p.leavesNoProcess(t)
}

func TestSelfformedNobodyReads(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	p := prepare(t, "selfformed")
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

// A story that takes too long ends all the same, and says what it waited for.
func TestSelfformedThatTakesTooLong(t *testing.T) {
	t.Parallel()
	p := start(t, "selfformed", "-limit", "500ms")
	require.Equal(t, 1, p.wait(t), p)
	require.Regexp(t, `^selfformed: starting five processes: the story took too long\nnode-1 says: .*forming`, p.stderr.String())
	p.leavesNothing(t)
}

func TestSelfformedHelp(t *testing.T) {
	t.Parallel()
	p := start(t, "selfformed", "--help")
	require.Equal(t, 0, p.wait(t), p)
	for _, want := range []string{"go run ./examples/selfformed", "\n  -pause", "\n  -limit"} {
		require.Contains(t, p.stderr.String(), want)
	}
	for _, wrong := range []string{"node-1", "-pause=-1s", "-limit=soon"} {
		p = start(t, "selfformed", wrong)
		require.Equal(t, 2, p.wait(t), p)
	}
}
