//go:build long

package embedded_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/embedded"
)

func TestAllLeaveOneAfterAnother(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	for _, p := range town.form(t, 4) {
		require.NoError(t, p.Leave(t.Context()), p.State().Name)
		require.Equal(t, embedded.Closed, p.State().Part)
	}
	town.form(t, 3, embedded.WithPatience(10*time.Second)) // anew: they remember the cluster for so long
}
