package exclusive

import (
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/stretchr/testify/require"
)

// A claim of one's own that is idle gives way to one that somebody has made who did not know of it: its token may be smaller.
func TestAnIdleClaimGivesWayToASmallerToken(t *testing.T) {
	t.Parallel()
	var k standing
	now := time.Now()
	mine := claim{life: life{"x", 10}, token: 100, ttl: time.Second, since: time.UnixMilli(1)}
	other := claim{life: life{"y", 5}, token: 90, ttl: time.Second, since: time.UnixMilli(1)}
	k.hear(rolebus.Entry{Generation: 7, Value: mine.encode()}, now)
	k.hear(rolebus.Entry{Generation: 12, Value: other.encode()}, now)
	require.False(t, k.adopt(false, now), "it may be held")
	require.True(t, k.adopt(true, now))
	k.look(true, now)
	require.False(t, k.judge(view{now: now.Add(time.Hour)}).may, "it is held")
	require.Equal(t, uint64(101), k.next(time.UnixMilli(1)))
}
