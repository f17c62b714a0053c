package rolebus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRequestPatience(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct{ ttl, trip, want time.Duration }{
		{15 * time.Second, 0, 3 * time.Second},
		{15 * time.Second, 500 * ms, 3 * time.Second},
		{3 * time.Second, 400 * ms, 1200 * ms},
		{3 * time.Second, 900 * ms, 1500 * ms}, // several must fit into a lease
		{time.Second, 10 * ms, minPatience},
		{time.Second, 300 * ms, 500 * ms},
	} {
		require.Equal(t, tc.want, requestPatience(tc.ttl, tc.trip), "%v, %v", tc.ttl, tc.trip)
	}
}

func TestTheQuickestAnswerTellsHowFarAServerIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, far := &pace{ttl: 3 * time.Second}, 10*time.Millisecond
		p.flush = func(ctx context.Context) error { sleep(ctx, far); return ctx.Err() }
		p.later = func(f func(context.Context)) { go f(t.Context()) }
		require.Zero(t, p.trip())
		require.NoError(t, p.short())
		p.measure(t.Context())
		for _, took := range []time.Duration{5 * time.Second, 300 * time.Millisecond, 5 * time.Second} { // a busy leader, elsewhere
			p.took(took)
		}
		require.Equal(t, 300*time.Millisecond, p.trip())
		require.NoError(t, p.short())
		far = 1200 * time.Millisecond
		p.again()
		p.again() // asks once
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, far, p.trip(), "the way has become longer")
		require.EqualError(t, p.short(), "a round trip of 1.2s is too long for a TTL of 3s: take one of at least 9s (WithTTL)")
		far = time.Hour
		p.measure(t.Context())
		require.Equal(t, 1200*time.Millisecond, p.trip(), "no answer tells nothing")

		var none *pace
		none.took(time.Second)
		none.again()
		require.Zero(t, none.trip())
		require.NoError(t, none.short())
	})
}
