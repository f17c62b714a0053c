package embedded

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatAServerLacksCountsIfItLasts(t *testing.T) {
	var l lasting
	now := time.Now()
	lacks := func(after time.Duration, these ...string) bool {
		now = now.Add(after)
		return l.lacks(now, these)
	}
	require.True(t, lacks(0, "a"), "at first it must have all")
	require.True(t, lacks(time.Second, "b"))
	require.False(t, lacks(time.Second))
	for i := range 100 {
		require.False(t, lacks(time.Second, fmt.Sprint(i), fmt.Sprint(i+1)), "another one each time")
	}
	require.False(t, lacks(time.Second, "a", "b"))
	require.False(t, lacks(behindAtMost-1, "b"))
	require.True(t, lacks(1, "b", "c"))
	require.True(t, lacks(time.Hour, "b"))
	require.False(t, lacks(time.Second, "c"))
	require.False(t, lacks(time.Hour), "it is forgotten when it is there")
	require.False(t, lacks(time.Second, "b"))
}
