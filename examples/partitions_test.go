package examples_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPartitions(t *testing.T) {
	t.Parallel()
	partitionsAreShared(t, start(t, "partitions"), `each worker goes by what it sees\n`)
}

func partitionsAreShared(t *testing.T, p *program, title string) {
	t.Helper()
	require.Equal(t, 0, p.wait(t), p)
	t.Log(p.stdout.String())
	p.leavesNothing(t)
	require.Empty(t, p.stderr.String())
	worker := func(names ...string) string {
		table := ` partition   0 .* 15\n`
		for _, name := range names {
			table += ` +` + name + ` .*\n`
		}
		return table + `( +\d+ of 16 moved \(\+\)\n)?\n`
	}
	inOrder(t, p.stdout.String(),
		title,
		`three workers share the partitions\n`, worker("worker-1", "worker-2", "worker-3"),
		`worker-2 was killed \(SIGKILL\): the others have all after `, worker("worker-1", "worker-3"),
		`worker-4 has its part; `, worker("worker-1", "worker-3", "worker-4"),
		`worker-1 was drained; `, worker("worker-3", "worker-4"),
		`all have gone\n`,
		`\n(\d+) of (\d+) jobs were done, each customer's in their order; \d+ of them twice\n`,
		`two .*\n$`,
	)
	for line := range strings.Lines(p.stdout.String()) {
		require.LessOrEqual(t, len(line), 90, line)
	}
}

func TestPartitionsInterrupted(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"-strict=false", "-strict"} {
		p := start(t, "partitions", "-pause", "1s", flag)
		p.waitFor(t, `three workers share the partitions`)
		require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
		require.Equal(t, 130, p.wait(t), p)
		require.Equal(t, "partitions: interrupted\n", p.stderr.String())
		p.leavesNothing(t)
	}
}

// A parent that is killed cannot clean up its files, but no process outlives it.
func TestPartitionsKilled(t *testing.T) {
	t.Parallel()
	p := start(t, "partitions", "-pause", "1s")
	p.waitFor(t, `three workers share the partitions`)
	require.NoError(t, p.cmd.Process.Kill())
	p.wait(t)
	p.leavesNoProcess(t)
}

func TestPartitionsNobodyReads(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	p := prepare(t, "partitions")
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

func TestPartitionsHelp(t *testing.T) {
	t.Parallel()
	p := start(t, "partitions", "--help")
	require.Equal(t, 0, p.wait(t), p)
	for _, want := range []string{"go run ./examples/partitions", "\n  -strict", "\n  -pause"} {
		require.Contains(t, p.stderr.String(), want)
	}
	for _, wrong := range []string{"worker-1", "-pause=soon", "-strict=perhaps"} {
		p = start(t, "partitions", wrong)
		require.Equal(t, 2, p.wait(t), p)
	}
}
