package discovery_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/stretchr/testify/require"
)

// An interval is what it says, on average; a source that fails is asked less and less often.
func TestAPollAsksOnceAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var fail error
		s := discovery.Poll("test", func(context.Context) ([]discovery.Address, error) {
			asked++
			return []discovery.Address{{Host: "a"}}, fail
		}, discovery.Interval(5*time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		var list []discovery.Address
		ended := make(chan error, 1)
		go func() {
			ended <- s.Discover(ctx, func(a []discovery.Address, err error) {
				if err == nil {
					list = a
				}
			})
		}()
		time.Sleep(1000 * 5 * time.Second) // of the bubble
		synctest.Wait()
		require.InDelta(t, 1000, asked, 20)
		require.Equal(t, []discovery.Address{{Host: "a"}}, list)
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

func TestWrongOptionsComeInOneError(t *testing.T) {
	s := discovery.Poll("", nil, discovery.Interval(0), discovery.Port(70000), discovery.Scheme("http"), nil, discovery.Name(""))
	err := s.Discover(t.Context(), func([]discovery.Address, error) { t.Error("it told something") })
	for _, part := range []string{"Interval 0s", "Port 70000", `unknown scheme "http"`, "option 4 is nil", "Name: it is empty", "the function is nil"} {
		require.ErrorContains(t, err, part)
	}
	require.ErrorContains(t, discovery.Static([]string{"a"}, discovery.Interval(time.Second)).Discover(t.Context(), nil), "it does not take Interval")
	require.Error(t, errors.Unwrap(err))
}
