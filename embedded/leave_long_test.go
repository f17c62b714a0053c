//go:build long

package embedded_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// What one member alone stores is handed on when it leaves, and whoever else has it leave waits, too.
func TestWhoLeavesHandsOnWhatItAloneStores(t *testing.T) {
	t.Parallel()
	town := newTown(t)
	all := town.form(t, 3)
	nc, err := nats.Connect(all[0].URL(), nats.MaxReconnects(-1))
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*long)
	defer cancel()
	for i := range 6 { // so that some are on the one who leaves
		name := fmt.Sprintf("S%d", i)
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}, Replicas: 1})
		require.NoError(t, err)
		for range 20 {
			_, err := js.Publish(ctx, name, make([]byte, 1000))
			require.NoError(t, err)
		}
	}
	s, err := js.Stream(ctx, "S0")
	require.NoError(t, err)
	leader := s.CachedInfo().Cluster.Leader
	var wg sync.WaitGroup
	for _, p := range all {
		if p.State().Name == leader {
			for range 2 {
				wg.Go(func() {
					if err := p.Leave(ctx); err != nil {
						t.Errorf("leave: %v", err)
					}
				})
			}
		}
	}
	wg.Wait()
	for i := range 6 {
		name := fmt.Sprintf("S%d", i)
		until(t, func() bool {
			s, err := js.Stream(ctx, name)
			return err == nil && s.CachedInfo().State.Msgs == 20 && s.CachedInfo().Cluster.Leader != leader
		}, func() string { return name + " has all that was stored" })
	}
}
