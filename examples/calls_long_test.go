//go:build long

package examples_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCallsServerThatGoesAway(t *testing.T) {
	t.Parallel()
	s := server(t)
	p := start(t, "calls", "-url", s.URL(), "-pause", "100ms")
	p.waitFor(t, `the first \d+ calls`)
	require.NoError(t, s.Close())
	require.Equal(t, 1, p.wait(t), p)
	require.Contains(t, p.stderr.String(), "calls: ")
	require.NotContains(t, p.stdout.String(), "every price was answered")
	p.leavesNothing(t)
}
