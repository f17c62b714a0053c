//go:build long

package examples_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// It ends within its own limit, which is less than a minute.
func TestSelfformed(t *testing.T) {
	t.Parallel()
	p := start(t, "selfformed")
	require.Equal(t, 0, p.waitWithin(t, 2*time.Minute), p)
	t.Log(p.stdout.String())
	p.leavesNothing(t)
	require.Empty(t, p.stderr.String())

	node := `node-[1-5]`
	parts := `leader: ` + node + `  members: ` + node + ` ` + node + `  spares: `
	five := parts + node + ` ` + node + `\n`
	inOrder(t, p.stdout.String(),
		`five processes found each other by gossip; three founded a cluster\n`,
		`leader: node-[123]  members: node-[123] node-[123]  spares: node-4 node-5\n`,
		`each took the role worker`,
		node+`, which led, was killed \(SIGKILL\); node-[45] has its place\n`, `role was gone after \d+\.\d s`, parts+node+`\n`,
		node+` was started again; its place is taken, so it is a spare\n`, five,
		node+`, which led, was restarted, and has its place again\n`, five,
		`one after another: node-1\n`, `one after another: node-2\n`, `one after another: node-3\n`,
		`one after another: node-4\n`, `one after another: node-5\n`, five,
		`all five said goodbye: no role is left\n`,
		`the servers have stopped\n`,
		`\nlooked at the roles \d{4,} times in \d+\.\d s, in \d{2,} snapshots:\n`,
		`of 12 processes that started 12 were seen to come, of 12 that ended 12 to go;\n`,
		`the role of a process that lives was missing 0 times\n$`,
	)
	timed := regexp.MustCompile(`^ *\d+ ms  \S`)
	for line := range strings.Lines(p.stdout.String()) {
		require.LessOrEqual(t, len(line), 81, line)
		if strings.HasPrefix(line, " ") && !strings.HasPrefix(line, strings.Repeat(" ", 13)) {
			require.Regexp(t, timed, line, "every step has its time")
		}
	}
}

// While one is being updated.
func TestSelfformedInterruptedDuringUpdates(t *testing.T) {
	t.Parallel()
	selfformedInterrupted(t, `which led, was restarted, and has its place again`)
}
