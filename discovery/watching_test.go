package discovery_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/stretchr/testify/require"
)

func TestAWatchTellsWhatItLearns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("away")
		s := discovery.Watch("test", func(ctx context.Context, w *discovery.Watching) error {
			require.Equal(t, time.Second, w.Interval())
			require.Equal(t, 5*time.Second, w.Timeout())
			require.Equal(t, time.Minute, w.MaxBackoff())
			require.Equal(t, discovery.Address{Port: 7, Cluster: "c"}, w.Shape())
			require.InDelta(t, 200*time.Millisecond, w.Backoff(2), float64(21*time.Millisecond)) // nothing was found yet
			w.List([]discovery.Address{{Host: "a"}, {Host: "b", Port: 8}})
			require.InDelta(t, 2*time.Second, w.Backoff(2), float64(201*time.Millisecond))
			require.InDelta(t, time.Minute, w.Backoff(1000), float64(6*time.Second))
			require.InDelta(t, time.Second, w.Backoff(0), float64(101*time.Millisecond))
			w.Part([]discovery.Address{{Host: "c"}}, failure)
			w.Fail(failure)
			<-ctx.Done()
			return ctx.Err()
		}, discovery.Interval(time.Second), discovery.Port(7), discovery.Cluster("c"))
		require.Equal(t, "test", s.(interface{ String() string }).String())
		ctx, cancel := context.WithCancel(t.Context())
		var told [][]discovery.Address
		var errs []error
		ended := make(chan error, 1)
		go func() {
			ended <- s.Discover(ctx, func(a []discovery.Address, err error) { told, errs = append(told, a), append(errs, err) })
		}()
		synctest.Wait()
		a, b, c := discovery.Address{Host: "a", Port: 7, Cluster: "c"}, discovery.Address{Host: "b", Port: 8, Cluster: "c"}, discovery.Address{Host: "c", Port: 7, Cluster: "c"}
		require.Equal(t, [][]discovery.Address{{a, b}, {c}, nil}, told)
		require.Equal(t, []error{nil, failure, failure}, errs)
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

func TestMistakesOfAStrategyComeInOneError(t *testing.T) {
	one, two := errors.New("one"), errors.New("two")
	s := discovery.Watch("test", nil, discovery.Mistake(one, nil), discovery.Interval(0), discovery.Mistake(two))
	err := s.(interface{ Err() error }).Err()
	require.ErrorIs(t, err, one)
	require.ErrorIs(t, err, two)
	require.ErrorContains(t, err, "Interval 0s")
	require.ErrorContains(t, err, "the function is nil")
	require.ErrorIs(t, s.Discover(t.Context(), nil), one)
	require.NoError(t, discovery.Static([]string{"a"}, discovery.Mistake(nil)).(interface{ Err() error }).Err())
}

// Doubled often enough, any duration is less than none.
func TestBackoffHasNoEnd(t *testing.T) {
	for _, interval := range []time.Duration{10 * time.Millisecond, 24 * time.Hour} {
		s := discovery.Watch("test", func(_ context.Context, w *discovery.Watching) error {
			w.List([]discovery.Address{{Host: "a"}})
			for failures := range 100 {
				require.InDelta(t, min(interval<<min(failures, 13), w.MaxBackoff()), w.Backoff(failures+1), float64(w.MaxBackoff()/10+1))
			}
			return nil
		}, discovery.Interval(interval))
		require.NoError(t, s.Discover(t.Context(), func([]discovery.Address, error) {}))
	}
}

// A list of a source of which something is still wrong is a list, and no sign that all is well.
func TestAListBesideWhatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := discovery.Watch("test", func(_ context.Context, w *discovery.Watching) error {
			w.List([]discovery.Address{{Host: "a"}, {Host: "b"}})
			w.Fail(errors.New("c is no address"))
			w.ListBeside([]discovery.Address{{Host: "a"}})
			require.NotContains(t, log.String(), "works again")
			w.List([]discovery.Address{{Host: "a"}})
			require.Contains(t, log.String(), `msg="discovery works again" strategy=test failures=1`)
			return nil
		}, discovery.Port(7), discovery.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		var told [][]discovery.Address
		require.NoError(t, s.Discover(t.Context(), func(a []discovery.Address, _ error) { told = append(told, a) }))
		a, b := discovery.Address{Host: "a", Port: 7}, discovery.Address{Host: "b", Port: 7}
		require.Equal(t, [][]discovery.Address{{a, b}, nil, {a}, {a}}, told)
	})
}
