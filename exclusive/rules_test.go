package exclusive

import (
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/stretchr/testify/require"
)

// heldBy is a post that is held, as a process learns of it at time 0, which sees the holder or does not.
func heldBy(node string, alive bool) *standing {
	k := &standing{}
	c := claim{life: life{node, 10}, token: 100, ttl: 3 * time.Second, since: at(0)}
	k.hear(rolebus.Entry{Name: "n", Generation: 7, Value: c.encode()}, at(0))
	k.look(alive, at(0))
	return k
}

const longSettled = time.Hour

// A process hears of a claim before it has seen any nodes: it has not joined yet. Much later it joins, at the very time at which another process takes
// over the holder's name. The holder is certain of its lease, and does not know it yet.
func TestAnAbsenceThatNobodyConfirmedIsNone(t *testing.T) {
	t.Parallel()
	k := heldBy("x", false)
	v := k.judge(view{now: at(60_000), settled: longSettled})
	require.False(t, v.may)
	require.True(t, v.confirm, "the leader is asked")
	k.confirm(0, at(60_000)) // another life has the record
	v = k.judge(view{now: at(60_001), settled: longSettled})
	require.False(t, v.may)
	require.Equal(t, at(63_000), v.again)
	require.True(t, k.judge(view{now: at(63_000), settled: longSettled}).may)
}

// A process is cut off while it waits. Meanwhile the holder writes its record again, and is superseded right before that process is back.
func TestAnAbsenceDuringAnOutageIsNone(t *testing.T) {
	t.Parallel()
	k := heldBy("x", false)
	k.confirm(0, at(0))
	v := k.judge(view{now: at(3000), settled: 100 * time.Millisecond})
	require.False(t, v.may)
	require.Equal(t, at(5900), v.again)
}

func TestWhoIsSeenAgainWasNotGone(t *testing.T) {
	t.Parallel()
	k := heldBy("x", false)
	k.confirm(0, at(0))
	k.look(true, at(100))
	require.False(t, k.judge(view{now: at(3000), settled: longSettled}).may)
	k.look(false, at(3000))
	v := k.judge(view{now: at(3000), settled: longSettled})
	require.False(t, v.may)
	require.True(t, v.confirm)
}
