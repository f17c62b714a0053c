//go:build long

package nats_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// What came due while the server could not store it, it never tries again. And who lives has a lease that is overdue, too.
func TestPromise4ASwitchThatAFullAccountLost(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, smallAccount(t, "1M"))
	js := jetStream(t, srv.Conn())
	a, b, o := bus(srv, "a"), bus(srv, "b"), bus(srv, "o", rolebus.WithObserver())
	corpse(t, js, "c", nil)
	eventually(t, "c to be listed", func() bool { return a.Snapshot().Node("c") != nil && o.Snapshot().Node("c") != nil })
	free, full := fillUp(t, js), time.Now()
	seen := []*events{watch(t, a.Scope), watch(t, o.Scope)}
	eventually(t, "the leases of all to be long over", func() bool { return a.LeaseLeft() == 0 && time.Since(full) > 3*ttl })
	require.Contains(t, stored(t, js, "rolebus", "default"), "c")
	free()
	eventually(t, "the living to heartbeat", func() bool { return a.LeaseLeft() > 0 && b.LeaseLeft() > 0 })
	j, joined := bus(srv, "j"), time.Now()
	require.NotNil(t, j.Snapshot().Node("c"), "who joins lists it at first")
	for _, of := range []*rolebus.Bus{j, a, b, o} {
		eventually(t, of.Name()+" to drop c", func() bool { return of.Snapshot().Node("c") == nil })
		t.Logf("%s has dropped it %v after the join", of.Name(), time.Since(joined).Round(time.Millisecond))
		require.Equal(t, 3, of.Snapshot().Members().Len())
	}
	require.Contains(t, stored(t, js, "rolebus", "default"), "c", "nobody may take away what is another's")
	for _, e := range seen {
		for _, living := range []string{"a", "b"} {
			require.NotContains(t, strings.Join(e.lines(living), " "), "NodeLeft")
		}
	}
}
