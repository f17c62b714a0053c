package rescue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// canary is a stream into which messages are written without end, and what was acknowledged.
type canary struct {
	f     *fleet
	name  string
	js    jetstream.JetStream
	mutex sync.Mutex
	acked []string // guarded by mutex
}

func (f *fleet) newCanary(name string, replicas int) *canary {
	c := &canary{f: f, name: name, js: f.connect()}
	f.wait("a stream to be made", func() bool {
		ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Replicas: replicas})
		return err == nil
	})
	return c
}

// write writes until it is ended, several messages at once.
func (c *canary) write() (end func()) {
	ctx, stop := context.WithCancel(context.Background())
	from := c.count()
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				<-pace.C
				text := fmt.Sprintf("%d-%d-%d", from, i, n)
				once, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
				_, err := c.js.Publish(once, c.name+".x", []byte(text))
				cancel()
				if err == nil {
					c.mutex.Lock()
					c.acked = append(c.acked, text)
					c.mutex.Unlock()
				}
			}
		})
	}
	return func() { stop(); writers.Wait() }
}

// more waits until so many more messages were acknowledged.
func (c *canary) more(n int) {
	c.f.t.Helper()
	n += c.count()
	c.f.wait("messages to be acknowledged", func() bool { return c.count() >= n })
}

func (c *canary) count() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.acked)
}

// lost are which of the messages that were acknowledged are not there: their numbers, in the order of their acknowledgements.
func (c *canary) lost() (lost []int) {
	ctx, cancel := context.WithTimeout(c.f.t.Context(), patience)
	defer cancel()
	s, err := c.f.connect().Stream(ctx, c.name)
	require.NoError(c.f.t, err)
	there := map[string]bool{}
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := s.GetMsg(ctx, seq)
		require.NoError(c.f.t, err)
		there[string(m.Data)] = true
	}
	for i, text := range c.acked {
		if !there[text] {
			lost = append(lost, i)
		}
	}
	return lost
}

// whole waits until the stream has a leader, and all replicas are up to date.
func (c *canary) whole() {
	c.f.t.Helper()
	js := c.f.connect()
	c.f.wait("stream "+c.name+" to be whole", func() bool {
		info := c.info(js)
		return info != nil && info.Cluster.Leader != "" && len(info.Cluster.Replicas) == info.Config.Replicas-1 &&
			!slices.ContainsFunc(info.Cluster.Replicas, func(p *jetstream.PeerInfo) bool { return !p.Current || p.Offline })
	})
}

func (c *canary) info(js jetstream.JetStream) *jetstream.StreamInfo {
	ctx, cancel := context.WithTimeout(c.f.t.Context(), 2*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, c.name)
	if err != nil || s.CachedInfo().Cluster == nil {
		return nil
	}
	return s.CachedInfo()
}

func (c *canary) leader() string { return c.info(c.js).Cluster.Leader }
