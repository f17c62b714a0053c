package examples_test

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCalls(t *testing.T) {
	t.Parallel()
	p := start(t, "calls")
	require.Equal(t, 0, p.wait(t), p)
	t.Log(p.stdout.String())
	p.leavesNothing(t)
	theCallersKnow(t, p)
}

// theCallersKnow looks at what the program tells: the steps, and then the table.
func theCallersKnow(t *testing.T, p *program) {
	t.Helper()
	require.Empty(t, p.stderr.String())
	inOrder(t, p.stdout.String(),
		`there is a NATS server`,
		`three processes handle the methods price and charge`,
		`the first \d+ calls were answered`,
		`shop-1 was killed \(SIGKILL\) while it charged`,
		`\d+ more calls were answered, by the other two`,
		`shop-2 was drained: it answered the \d+ calls`,
		`\d+ more calls were answered, by shop-3 alone`,
		`shop-3 left\n`,
		`\nprice +\d+ +\d+ +0 +0 `,
		`\ncharge +\d+ +\d+ +\d+ +[1-9]\d* `,
		`\n +\d+ +[1-9]\d*   cannot be reached\n`,
		`charged +\d+ +0 +[1-9]\d* `,
		`every price was answered, and nobody was told anything wrong of a charge\n$`,
	)
	table := regexp.MustCompile(`(?m)^(?:price|charge) +(\d+) +(\d+) +(\d+) +(\d+) `).FindAllStringSubmatch(p.stdout.String(), -1)
	require.Len(t, table, 2)
	for _, row := range table {
		var n [4]int
		for i := range n {
			var err error
			n[i], err = strconv.Atoi(row[i+1])
			require.NoError(t, err)
		}
		require.Equal(t, n[0], n[1]+n[2]+n[3], "all calls are in one of three columns")
		require.Greater(t, n[1], 500)
	}
}

func TestCallsUseAServerAndLeaveItAsItWas(t *testing.T) {
	t.Parallel()
	url := server(t).URL()
	before := streams(t, url)
	p := start(t, "calls", "-url", url)
	require.Equal(t, 0, p.wait(t), p)
	p.leavesNothing(t)
	theCallersKnow(t, p)
	require.Equal(t, before, streams(t, url))
}

func TestCallsInterrupted(t *testing.T) {
	t.Parallel()
	p := start(t, "calls", "-pause", "1s")
	p.waitFor(t, `the first \d+ calls`)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	require.Equal(t, 130, p.wait(t), p)
	require.Equal(t, "calls: interrupted\n", p.stderr.String())
	p.leavesNothing(t)
}

// A parent that is killed cannot clean up its files, but no process outlives it.
func TestCallsKilled(t *testing.T) {
	t.Parallel()
	p := start(t, "calls", "-pause", "1s")
	p.waitFor(t, `the first \d+ calls`)
	require.NoError(t, p.cmd.Process.Kill())
	p.wait(t)
	p.leavesNoProcess(t)
}

func TestCallsWithoutTheServer(t *testing.T) {
	t.Parallel()
	s := server(t)
	require.NoError(t, s.Close())
	p := start(t, "calls", "-url", s.URL())
	require.Equal(t, 1, p.wait(t), p)
	require.Contains(t, p.stderr.String(), "calls: connect: nats: no servers available")
	p.leavesNothing(t)
}

func TestCallsHelp(t *testing.T) {
	t.Parallel()
	p := start(t, "calls", "--help")
	require.Equal(t, 0, p.wait(t), p)
	for _, want := range []string{"go run ./examples/calls", "\n  -url", "\n  -pause"} {
		require.Contains(t, p.stderr.String(), want)
	}
	for _, wrong := range []string{"shop-1", "-pause=-1s", "-pause=soon"} {
		p = start(t, "calls", wrong)
		require.Equal(t, 2, p.wait(t), p)
	}
}
