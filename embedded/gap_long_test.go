//go:build long

package embedded_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// writer writes again and again, and knows for how long it could not.
type writer struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
}

// gap returns the longest time without a write since it was asked last.
func (w *writer) gap() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	gap := max(w.longest, time.Since(w.last))
	w.longest = 0
	return gap.Round(time.Millisecond)
}

func (w *writer) wrote() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.longest, w.last = max(w.longest, time.Since(w.last)), time.Now()
}

// Members come back, and leave for good, one after another, while a client of a spare writes: -v tells for how long it could not. It asks again
// after 200 ms.
func TestWritesWhileMembersGo(t *testing.T) {
	town := newTown(t)
	all := town.form(t, 6)
	nc := connect(t, all[5].URL(), nats.ReconnectWait(10*time.Millisecond))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "W", Subjects: []string{"w"}, Replicas: 3})
	require.NoError(t, err)
	w := &writer{last: time.Now()}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	writes := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			one, end := context.WithTimeout(ctx, 200*time.Millisecond)
			if _, err := js.Publish(one, "w", nil); err == nil {
				w.wrote()
				writes++
			}
			end()
		}
	})
	for _, p := range all[:3] {
		w.gap()
		began := time.Now()
		require.NoError(t, p.Close())
		back := town.begin(t, p.State().Name)
		await(t, back, "to be back", whole(3))
		t.Logf("%s came back in %v: no writes for %v", p.State().Name, time.Since(began).Round(time.Millisecond), w.gap())
		all = append(all, back)
	}
	for _, p := range all[6:] {
		w.gap()
		name, began := p.State().Name, time.Now()
		require.NoError(t, p.Leave(t.Context()))
		t.Logf("%s left in %v: no writes for %v", name, time.Since(began).Round(time.Millisecond), w.gap())
		await(t, all[5], "to be whole", whole(3))
	}
	cancel()
	wg.Wait()
	info, err := js.Stream(t.Context(), "W")
	require.NoError(t, err)
	require.GreaterOrEqual(t, int(info.CachedInfo().State.Msgs), writes, "what was acknowledged is there")
}
