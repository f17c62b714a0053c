package examples_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDiscovery(t *testing.T) {
	t.Parallel()
	p := start(t, "discovery")
	began := time.Now()
	require.Equal(t, 0, p.wait(t), p)
	require.Less(t, time.Since(began), 40*time.Second)
	t.Log(p.stdout.String())
	p.leavesNothing(t)
	require.Empty(t, p.stderr.String())

	fleet := func(dns, file, both, then string) string {
		return `node-1 +dns +` + dns + ` +` + then + `\n +node-2 +file +` + file + ` +` + then + `\n +node-3 +both +` + both + ` +` + then + `\n`
	}
	all := func(news, then string) string { // a lookup may have failed just before
		news += `( failed: [a-z, ]+)?`
		return fleet(news, news, news, then)
	}
	inOrder(t, p.stdout.String(),
		`three nodes start`, fleet(`failed: not found`, `failed: not found`, `failed: not found`, `waits`),
		`server a comes`, all(`\+a`, `may go to a +is on a`),
		`b and c come`, all(`\+b \+c`, `may go to a b c +is on a`),
		`a goes`, all(`-a`, `may go to b c +is on [bc]`),
		`DNS answers SERVFAIL`, fleet(`failed: unavailable`, `failed: empty`, `failed: empty, unavailable`, `may go to b c +is on [bc]`),
		`b goes meanwhile`, `node-1 +dns .* may go to b c +is on c\n`, `node-2 +file .* may go to b c +is on c\n`, `node-3 +both .* may go to b c +is on c\n`,
		`d comes in place of b`, all(`\+d -b`, `may go to c d +is on c`),
		`c goes, and e comes`, all(`\+e -c`, `may go to d e +is on [de]`),
		`node-1 +dns +5 +3 +\d+ +a, .*\n`, `node-2 +file +5 +3 +\d+ +a, .*\n`, `node-3 +both +10 +6 +\d+ +a, .*\n`,
		`five servers came, three went, and no node was lost\n$`,
	)
	timed := regexp.MustCompile(`^ *\d+ ms  \S`)
	for line := range strings.Lines(p.stdout.String()) {
		require.LessOrEqual(t, len(line), 91, line)
		if strings.HasPrefix(line, "      ") && !strings.Contains(line, "node-") && !strings.Contains(line, "gone") {
			require.Regexp(t, timed, line, "every step has its time")
		}
	}
}

// Also while nobody has found anything yet.
func TestDiscoveryInterrupted(t *testing.T) {
	t.Parallel()
	for _, when := range []string{`three nodes have no URL`, `server a comes`} {
		p := start(t, "discovery", "-pause", "1s")
		p.waitFor(t, when)
		require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
		require.Equal(t, 130, p.wait(t), p)
		require.Equal(t, "discovery: interrupted\n", p.stderr.String())
		p.leavesNothing(t)
	}
}

func TestDiscoveryNobodyReads(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	p := prepare(t, "discovery")
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

func TestDiscoveryHelp(t *testing.T) {
	t.Parallel()
	p := start(t, "discovery", "--help")
	require.Equal(t, 0, p.wait(t), p)
	for _, want := range []string{"go run ./examples/discovery", "\n  -pause"} {
		require.Contains(t, p.stderr.String(), want)
	}
	for _, wrong := range []string{"a", "-pause=-1s", "-pause=soon"} {
		p = start(t, "discovery", wrong)
		require.Equal(t, 2, p.wait(t), p)
	}
}
