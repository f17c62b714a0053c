package discovery_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/stretchr/testify/require"
)

// A list that lacks the same thing at every lookup is told when that begins and then at growing intervals, not each time as if it had worked
// in between.
func TestWhatIsWrongBesideAListIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		asked := 0
		s := discovery.Poll("test", func(context.Context) ([]discovery.Address, error) {
			asked++
			return []discovery.Address{{Host: "a"}}, errors.New("half of it")
		}, discovery.Interval(time.Second), discovery.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		_ = s.Discover(ctx, func([]discovery.Address, error) {})
		synctest.Wait()
		require.Greater(t, asked, 5)
		require.Equal(t, 1, strings.Count(log.String(), "half of it"), log.String())
		require.NotContains(t, log.String(), "works again")
	})
}

// Who says when to be asked again is asked then, and not sooner; for a day nobody is silenced.
func TestAPauseThatIsAskedForIsKept(t *testing.T) {
	for wanted, kept := range map[time.Duration]time.Duration{
		40 * time.Second:     40 * time.Second,
		100 * 24 * time.Hour: time.Hour,
		time.Millisecond:     0,
	} {
		synctest.Test(t, func(t *testing.T) {
			var at []time.Time
			s := discovery.Poll("test", func(context.Context) ([]discovery.Address, error) {
				at = append(at, time.Now())
				return nil, &discovery.Failure{Reason: discovery.ReasonThrottled, RetryAfter: wanted}
			}, discovery.Interval(100*time.Millisecond), discovery.MaxBackoff(100*time.Millisecond))
			ctx, cancel := context.WithTimeout(t.Context(), 5*kept+time.Second)
			defer cancel()
			_ = s.Discover(ctx, func([]discovery.Address, error) {})
			require.GreaterOrEqual(t, len(at), 4)
			for i := range at[1:] {
				pause := at[i+1].Sub(at[i])
				require.GreaterOrEqual(t, pause, kept)
				require.LessOrEqual(t, pause, kept*5/4+200*time.Millisecond)
			}
		})
	}
}
