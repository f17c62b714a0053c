package rolebustest

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLateness(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		delay  time.Duration
		loss   float64
		losses int
		resend time.Duration
		late   time.Duration
	}{
		{0, 0, 0, resendAfter, 0},
		{30 * ms, 0, 0, resendAfter, 30 * ms},
		{30 * ms, 0.1, 0, resendAfter, 30 * ms},
		{0, 0.1, 1, resendAfter, 200 * ms},
		{0, 0.1, 2, resendAfter, 600 * ms},
		{0, 0.1, 4, resendAfter, 3 * time.Second},
		{30 * ms, 0.1, 1, resendAfter, 290 * ms},     // when it was clear that no answer came, and the way again
		{30 * ms, 0.1, 2, resendAfter, 810 * ms},     // 260 and 520 ms, and the way
		{30 * ms, 0, 2, resendAfter, 30 * ms},        // nothing is lost any more
		{0, 0.1, 2, reopenAfter, 3 * time.Second},    // a new connection
		{0, 0.9, resends, resendAfter, 804_600 * ms}, // TCP gives up where it would send once more, 120 s later
		{longest, 0.9, 1, resendAfter, longest + 2*time.Minute},
	} {
		s := shape{delay: c.delay, loss: c.loss}
		require.Equal(t, c.late, s.late(chunk{losses: c.losses, resend: c.resend}), "%+v", c)
	}
}

// Chunks are what was sent, in order, and begin where something was lost, as often as the loss says.
func TestLossIsBySegments(t *testing.T) {
	sent := make([]byte, 2_000*segmentSize-1)
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	for _, p := range []float64{0, 0.01, 0.5, 0.9} {
		var got []byte
		lost, most := 0, 0
		for i, c := range (shape{loss: p}).send(sent, time.Now()) {
			require.Zero(t, len(got)%segmentSize)
			require.NotEmpty(t, c.bytes)
			if i > 0 {
				require.Positive(t, c.losses)
			}
			if c.losses > 0 {
				lost++
			}
			most = max(most, c.losses)
			got = append(got, c.bytes...)
		}
		require.True(t, bytes.Equal(sent, got))
		require.LessOrEqual(t, most, resends)
		require.InDelta(t, p*2_000, lost, 8*math.Sqrt(p*(1-p)*2_000)) // eight times the standard deviation
	}
	require.Empty(t, shape{}.send(nil, time.Now()))
}

func TestWhatWasSentIsKeptFromTheNextRead(t *testing.T) {
	for _, p := range []float64{0, 0.5} {
		buf := []byte("first")
		chunks := (shape{loss: p}).send(buf, time.Now())
		copy(buf, "other")
		require.Equal(t, "first", string(chunks[0].bytes))
	}
}
