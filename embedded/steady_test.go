package embedded_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/embedded"
)

// A member that is ready is not unready for a moment whenever a stream is made that it has none of yet.
func TestReadyStaysWhileStreamsAreMade(t *testing.T) {
	t.Parallel()
	all := newTown(t).form(t, 3)
	nc, err := nats.Connect(all[0].URL())
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 60 && err == nil; i++ {
			ctx, cancel := context.WithTimeout(t.Context(), long)
			_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: fmt.Sprint("S", i), Subjects: []string{fmt.Sprint("s", i)}, Replicas: 3})
			cancel()
		}
		done <- err
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			require.NoError(t, err)
			return
		case <-tick.C:
			for _, p := range all {
				s := p.State()
				require.True(t, s.Ready, "%s: %+v", s.Name, s)
				require.Equal(t, embedded.Member, s.Part)
			}
		}
	}
}
