//go:build long

package discovery_test

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/discoverytest"
	"github.com/rolebus/rolebus/internal/lan"
)

// What is asked of every strategy, on a network with others and with a stranger.
func TestGossipDoesAsStrategiesShould(t *testing.T) {
	if !lan.Namespaced(t) {
		return
	}
	discoverytest.Run(t, discoverytest.Subject{
		Many: 10, Cannot: discoverytest.Part, Secrets: []string{gossipSecret},
		New: func(tb testing.TB) discoverytest.Source {
			l := lan.New(tb)
			client, peer, servers := l.Host(), l.Host(), l.Host()
			s := newStranger(tb, l.Host())
			// Each speaker hears all others, 50 times a second: that of many would keep a small machine busy.
			gossip := func(h lan.Host) on {
				return on{h, discovery.Gossip("one", gossipSecret, discovery.Interval(20*time.Millisecond), discovery.GoneAfter(500*time.Millisecond))}
			}
			speakers := map[discovery.Address][]context.CancelFunc{}
			var all sync.WaitGroup
			set := func(list []discovery.Address) {
				l.Up(servers.Cable, true)
				var gone []context.CancelFunc
				for a, cancels := range speakers {
					if !slices.Contains(list, a) {
						gone = append(gone, cancels...)
						delete(speakers, a)
					}
				}
				for _, a := range list {
					if len(speakers[a]) > 1 {
						continue
					}
					ctx, cancel := context.WithCancel(context.Background())
					speakers[a] = append(speakers[a], cancel)
					all.Go(func() {
						if err := gossip(servers.Host).Announce(ctx, []discovery.Address{a}); err != nil {
							tb.Error(err)
						}
					})
				}
				for _, cancel := range gone {
					cancel()
				}
			}
			tb.Cleanup(func() {
				set(nil)
				all.Wait()
			})
			return discoverytest.Source{
				Strategy: gossip(client.Host),
				Peer:     func() discovery.Strategy { return gossip(peer.Host) },
				Set:      set,
				Failures: map[string]func(){"the servers' cable is out": func() { l.Up(servers.Cable, false) }},
				Nuisances: map[string]func(){
					"garbage": func() {
						for size := range 1400 {
							b := make([]byte, size)
							rand.Read(b)
							s.send(b, append([]byte("rbg\x01"), b...))
						}
					},
					"all that was sent, again": func() { s.send(s.recorded()...) },
				},
			}
		},
	})
}
