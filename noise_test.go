package rolebus

import (
	"bytes"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNoiseIsLoggedOnceBySenderAndInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		n := newNoise(slog.New(slog.NewTextHandler(&out, nil)))
		logged := func() string {
			defer out.Reset()
			return out.String()
		}
		bad := errors.New("wire format 2")

		require.Zero(t, n.count())
		n.ignore("a", bad)
		first := logged()
		require.Equal(t, 1, strings.Count(first, "\n"))
		for _, want := range []string{"level=WARN", "subject=a", `error="wire format 2"`, "ignored=1"} {
			require.Contains(t, first, want)
		}
		for range 100 {
			n.ignore("a", bad)
		}
		require.Empty(t, logged())
		n.ignore("b", bad)
		require.Contains(t, logged(), "subject=b", "each sender is told")
		require.EqualValues(t, 102, n.count(), "and all are counted")

		time.Sleep(noiseInterval - 1)
		n.ignore("a", bad)
		require.Empty(t, logged())
		time.Sleep(time.Nanosecond)
		n.ignore("a", bad)
		again := logged()
		require.Equal(t, 1, strings.Count(again, "\n"))
		require.Contains(t, again, "ignored=104", "with how many there were in all")
		n.ignore("a", bad)
		require.Empty(t, logged())
	})
}

func TestNoiseOfManySendersIsBounded(t *testing.T) {
	n := newNoise(slog.New(slog.DiscardHandler))
	for i := range 3*noiseSenders + 1 {
		n.ignore(strconv.Itoa(i), errors.New("bad"))
		require.LessOrEqual(t, len(n.logged), noiseSenders)
	}
	require.EqualValues(t, 3*noiseSenders+1, n.count())
}

func TestNoiseComesFromManyGoroutines(t *testing.T) {
	n := newNoise(slog.New(slog.DiscardHandler))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				n.ignore(strconv.Itoa(i%3), errors.New("bad"))
				n.count()
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 800, n.count())
}
