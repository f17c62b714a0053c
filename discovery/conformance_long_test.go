//go:build long

package discovery_test

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/discoverytest"
	"github.com/rolebus/rolebus/internal/found"
)

// A lookup that ignores its context is waited for at each end: this takes longer.
func TestPollOfALookupThatIsDeafDoesWhatAStrategyShould(t *testing.T) {
	s := polled(nil)
	s.New = func(tb testing.TB) discoverytest.Source {
		a := &answers{}
		tb.Cleanup(func() { a.become(&answers{}) }) // nobody is deaf any more
		return discoverytest.Source{
			Strategy: discovery.Poll("deaf", a.lookup, discovery.Interval(20*time.Millisecond), discovery.Timeout(10*time.Millisecond)),
			Set:      func(list []discovery.Address) { a.set(list, nil) },
			Failures: map[string]func(){"is deaf": func() { a.become(&answers{deaf: make(chan struct{})}) }},
		}
	}
	s.Cannot = discoverytest.Part
	discoverytest.Run(t, s)
}

func TestRancherDoesWhatAStrategyShould(t *testing.T) {
	discoverytest.Run(t, discoverytest.Subject{
		Many: 2 * found.Most,
		New: func(tb testing.TB) discoverytest.Source {
			s := newSite(tb, metadata())
			list := func(addresses []discovery.Address, more ...string) {
				all := more
				for _, a := range addresses {
					text, err := json.Marshal(map[string]any{"primary_ip": a.Host, "state": "running"})
					if err != nil {
						tb.Fatal(err)
					}
					all = append(all, string(text))
				}
				s.become(metadata(all...))
			}
			failures := map[string]func(){}
			for _, name := range []string{"401", "403", "404", "410", "429", "503", "a page", "other JSON", "endless", "slow", "silent", "breaks"} {
				failures[name] = func() { s.become(httpFailures[name].do) }
			}
			return discoverytest.Source{
				Strategy: discovery.Rancher(discovery.BaseURL(s.URL), discovery.Port(4222), discovery.Interval(20*time.Millisecond),
					discovery.MaxBackoff(30*time.Millisecond), discovery.Timeout(time.Second)),
				Set:      func(addresses []discovery.Address) { list(addresses) },
				Part:     func(addresses []discovery.Address) { list(addresses, "[]") },
				Failures: failures,
			}
		},
	})
}

// The suite of Combine puts With through the same, within.
func TestWithDoesWhatAStrategyShould(t *testing.T) {
	discoverytest.Run(t, polled(func(_ testing.TB, s discovery.Strategy) discovery.Strategy {
		return discovery.With(s, discovery.Name("mine"))
	}))
}

func TestWithGetsByWithStrategiesThatMisbehave(t *testing.T) {
	discoverytest.RunConsumer(t, discoverytest.Wrapper(func(s discovery.Strategy) discovery.Strategy {
		return discovery.With(s, discovery.Name("mine"), discovery.WithLogger(slog.New(slog.DiscardHandler)))
	}))
}

// What one does wrong means nothing to the others, either.
func TestCombineGetsByWithStrategiesThatMisbehave(t *testing.T) {
	discoverytest.RunConsumer(t, discoverytest.Wrapper(func(s discovery.Strategy) discovery.Strategy { return discovery.Combine(s) }))
}
