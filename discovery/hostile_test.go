package discovery_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/discovery"
)

// What a lookup returns stays its own: it may be a list that others read, too.
func TestPollChangesNothingOfWhatALookupReturns(t *testing.T) {
	t.Parallel()
	own := []discovery.Address{{Host: "10.0.0.1"}}
	strategy := discovery.Poll("own", func(context.Context) ([]discovery.Address, error) { return own, nil }, discovery.Port(7), discovery.Interval(10*time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			_ = strategy.Discover(ctx, func(list []discovery.Address, _ error) {
				if len(list) != 1 || list[0].Port != 7 {
					t.Errorf("found %v", list)
				}
			})
		})
	}
	all.Wait()
	require.Equal(t, []discovery.Address{{Host: "10.0.0.1"}}, own)
}

// No part of a password is told that stands in a file by mistake, whatever it looks like.
func TestAPasswordInAFileIsToldNowhere(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"nats://user:geheim#x@host:4222", "nats://user:geheim @host", "user:geheim#x@host", "nats://user:gehe%im#y@host"} {
		path := filepath.Join(t.TempDir(), "servers")
		require.NoError(t, os.WriteFile(path, []byte(line+"\n10.0.0.1\n"), 0o600))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		told := false
		_ = discovery.File(path).Discover(ctx, func(_ []discovery.Address, err error) {
			if err != nil {
				require.NotContains(t, err.Error(), "gehe", line)
				require.ErrorContains(t, err, "line 1: an address has no user and no password", line)
				told = true
				cancel()
			}
		})
		cancel()
		require.True(t, told, line)
	}
}
