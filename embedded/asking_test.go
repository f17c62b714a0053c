package embedded

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A few ask each other quickly; of many each asks no more than some dozens in a second, and still often enough that what it heard counts.
func TestManyAskEachOtherLessOften(t *testing.T) {
	for _, n := range []int{0, 1, 9, 10} {
		require.Equal(t, askEvery, unsettled(n), n)
	}
	for n := 10; n <= 60; n++ {
		require.LessOrEqual(t, float64(n)/unsettled(n).Seconds(), float64(time.Second/askEach)+1e-9, n)
	}
	for n := range mostAsked {
		require.Less(t, unsettled(n)+askPatience/2, fresh, n)
	}
}
