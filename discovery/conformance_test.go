package discovery_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/discoverytest"
)

// answers is what a lookup of a test says.
type answers struct {
	mu   sync.Mutex
	list []discovery.Address
	err  error
	hang bool // until the lookup's context is over
	slow time.Duration
	deaf chan struct{} // not nil: until it is closed, whatever the context says
	do   func()        // in the lookup
}

func (a *answers) set(list []discovery.Address, err error) { a.become(&answers{list: list, err: err}) }

func (a *answers) become(next *answers) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.deaf != nil {
		close(a.deaf)
	}
	a.list, a.err, a.hang, a.slow, a.deaf, a.do = slices.Clone(next.list), next.err, next.hang, next.slow, next.deaf, next.do
}

func (a *answers) lookup(ctx context.Context) ([]discovery.Address, error) {
	a.mu.Lock()
	list, err, hang, slow, deaf, do := slices.Clone(a.list), a.err, a.hang, a.slow, a.deaf, a.do
	a.mu.Unlock()
	if do != nil {
		do()
	}
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if deaf != nil {
		<-deaf
		return nil, errors.New("late")
	}
	select {
	case <-time.After(slow):
	case <-ctx.Done():
	}
	return list, err
}

var errRefused = &discovery.Failure{Source: "test", Reason: discovery.ReasonForbidden, Mend: "ask for it", Err: errors.New("refused")}

// polled is the subject that asks such a lookup, by a Poll within something else.
func polled(within func(tb testing.TB, s discovery.Strategy) discovery.Strategy) discoverytest.Subject {
	return discoverytest.Subject{New: func(tb testing.TB) discoverytest.Source {
		a := &answers{}
		quick := []discovery.Option{discovery.Interval(10 * time.Millisecond), discovery.Timeout(50 * time.Millisecond), discovery.MaxBackoff(10 * time.Millisecond)}
		s := discovery.Poll("test", a.lookup, quick...)
		return discoverytest.Source{
			Strategy: within(tb, s),
			Set:      func(list []discovery.Address) { a.set(list, nil) },
			Part:     func(list []discovery.Address) { a.set(list, errors.New("the list lacks something")) },
			Failures: map[string]func(){
				"refuses":  func() { a.set(nil, errRefused) },
				"hangs":    func() { a.become(&answers{hang: true}) },
				"is wrong": func() { a.set([]discovery.Address{{Host: "no host"}}, errors.New("no address")) },
			},
			Nuisances: map[string]func(){
				"slow": func() {
					a.mu.Lock()
					defer a.mu.Unlock()
					a.slow = 30 * time.Millisecond
				},
			},
		}
	}}
}

func TestPollDoesWhatAStrategyShould(t *testing.T) {
	discoverytest.Run(t, polled(func(_ testing.TB, s discovery.Strategy) discovery.Strategy { return s }))
}

func TestFuncDoesWhatAStrategyShould(t *testing.T) {
	discoverytest.Run(t, polled(func(_ testing.TB, s discovery.Strategy) discovery.Strategy {
		return discovery.Func(func(ctx context.Context, found func([]discovery.Address, error)) error { return s.Discover(ctx, found) })
	}))
}

func TestCombineDoesWhatAStrategyShould(t *testing.T) {
	discoverytest.Run(t, polled(func(_ testing.TB, s discovery.Strategy) discovery.Strategy {
		return discovery.Combine(s, discovery.With(discovery.Combine(s)))
	}))
}

func TestStaticDoesWhatAStrategyShould(t *testing.T) {
	discoverytest.Run(t, discoverytest.Subject{
		New: func(testing.TB) discoverytest.Source {
			return discoverytest.Source{
				Strategy: discovery.Static([]string{"a", "tls://b:4333", "[::1]:1"}),
				Lists:    []discovery.Address{{Host: "a"}, {Host: "b", Port: 4333, Scheme: "tls"}, {Host: "::1", Port: 1}},
			}
		},
		Cannot: discoverytest.Change,
	})
}
