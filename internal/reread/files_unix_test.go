//go:build unix

package reread_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A named pipe in place of a file blocks nobody.
func TestAPipeBlocksNobody(t *testing.T) {
	d := newDesk(t, "one")
	d.kept.Pace(0, 0)
	require.NoError(t, os.Remove(d.path))
	require.NoError(t, syscall.Mkfifo(d.path, 0o600))
	d.says("one")
	require.ErrorContains(t, d.kept.Look(), "it is no regular file but a named pipe (put a regular file there")
}
