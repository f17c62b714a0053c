//go:build long

package examples_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLeader(t *testing.T) {
	t.Parallel()
	p := start(t, "leader")
	require.Equal(t, 0, p.wait(t), p)
	t.Log(p.stdout.String())
	p.leavesNothing(t)
	require.Empty(t, p.stderr.String())

	node := `node-[123]`
	next := node + ` leads; nobody wrote for \d+(\.\d+)?m?s\n`
	inOrder(t, p.stdout.String(),
		`a file that refuses old tokens\n`,
		`three processes want to lead: `+node+` does, and writes\n`,
		node+` was killed \(SIGKILL\)\n`, next,
		node+` was started again`,
		node+` was frozen \(SIGSTOP\), just before it wrote a line\n`, next,
		node+` was thawed, and wrote that line: refused\n`, `then it looked: lease lost: `,
		node+`'s link to NATS was cut, not that to the file\n`, next, node+` had stopped by itself after `, `lease lost: `,
		`the link was mended`,
		node+` was drained: it finished its line, and passed the term on\n`, next,
		`all have gone\n`,
		`\n\d{2,} lines of [5-9] terms: each term's stand together, and the tokens only grew;\n`,
		`1 came late, and is not among them\n$`,
	)
	for line := range strings.Lines(p.stdout.String()) {
		require.LessOrEqual(t, len(line), 81, line)
	}
}

// While the leader is frozen, and while it is cut off.
func TestLeaderInterruptedInTrouble(t *testing.T) {
	t.Parallel()
	for _, when := range []string{`was frozen`, `link to NATS was cut`} {
		leaderInterrupted(t, when)
	}
}

func TestLeaderKilledWhileOneIsFrozen(t *testing.T) {
	t.Parallel()
	p := start(t, "leader", "-pause", "1s")
	p.waitFor(t, `was frozen`)
	require.NoError(t, p.cmd.Process.Kill())
	p.wait(t)
	p.leavesNoProcess(t)
}
