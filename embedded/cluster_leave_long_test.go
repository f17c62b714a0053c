//go:build long

package embedded_test

import (
	"context"
	"path/filepath"
	"sync"
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

// As a whole deployment does that is told to end: what they store goes with the last one.
func TestAllLeaveAtOnce(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 4)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() {
			if err := p.Leave(ctx); err != nil {
				t.Errorf("%s: %v", p.State().Name, err)
			}
		})
	}
	wg.Wait()
	for _, p := range all {
		require.NoDirExists(t, filepath.Join(town.store(p.State().Name), "jetstream"))
	}
}
