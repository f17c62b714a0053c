//go:build long

package embedded_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/embedded"
)

// A process that cannot keep what it is to the cluster runs no server: after a restart what that stored would be nobody's. It goes on once it can.
func TestNoServerBeforeItIsKeptWhoseItIs(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	one := town.begin(t, "p0")
	file := filepath.Join(town.store("p0"), "rolebus-cluster.json")
	require.NoError(t, os.MkdirAll(filepath.Join(file+".new", "in the way"), 0o700)) // as if the disk were full: it cannot be written
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	town.begin(t, "p1")
	town.begin(t, "p2")

	await(t, one, "to say why", func(s embedded.ClusterState) bool {
		return s.Waiting != "" && len(one.lines("could not keep what this process is")) > 0
	})
	await(t, one, "to say what it waits for", func(s embedded.ClusterState) bool {
		return s.Waiting == "its store directory, which cannot be written: see the log, whether the disk is full, and whose the directory is"
	})
	now, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(before), string(now), "what was kept stays")
	require.NoDirExists(t, filepath.Join(town.store("p0"), "jetstream"), "a server has stored something")

	require.NoError(t, os.RemoveAll(file+".new"))
	for _, p := range town.all {
		await(t, p, "to be whole", whole(3))
	}
}
