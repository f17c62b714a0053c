package nats_test

import (
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// dialer counts a bus's tries to connect, and breaks its connection.
type dialer struct {
	mu    sync.Mutex
	conn  net.Conn
	tries []time.Time
}

func (d *dialer) Dial(network, address string) (net.Conn, error) {
	d.mu.Lock()
	d.tries = append(d.tries, time.Now())
	d.mu.Unlock()
	conn, err := net.DialTimeout(network, address, 5*time.Second)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn = conn
	return conn, err
}

func (d *dialer) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.conn.Close()
}

func (d *dialer) all() []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.tries)
}

// A connection that merely broke is made again at once. One in five must be: a fixed wait of a tenth of a second or more
// would show in each of them.
func TestABrokenConnectionIsMadeAgainAtOnce(t *testing.T) {
	srv := rolebustest.NewServer(t)
	d, h := &dialer{}, &told{}
	srv.Bus(rolebus.WithHooks(h), rolebus.WithNATS(nats.SetCustomDialer(d)))
	lastTold[rolebus.StartedInfo](t, h)
	least := time.Hour
	for round := range 5 {
		d.cut()
		eventually(t, "the connection to be back", func() bool {
			var up []rolebus.ConnectedInfo
			for _, info := range h.all() {
				if info, ok := info.(rolebus.ConnectedInfo); ok {
					up = append(up, info)
				}
			}
			if len(up) < round+2 {
				return false
			}
			least = min(least, up[round+1].After)
			return true
		})
	}
	require.Less(t, least, 100*time.Millisecond)
}

// A server that refuses is asked less and less often.
func TestARefusedReconnectBacksOff(t *testing.T) {
	t.Parallel()
	password := "one"
	srv := rolebustest.NewServer(t, func(o *server.Options) { o.Username, o.Password = "u", password })
	d := &dialer{}
	b := srv.Bus(rolebus.WithNATS(nats.SetCustomDialer(d), nats.UserInfo("u", "one")))
	password = "two"
	srv.Restart()
	before := len(d.all())
	eventually(t, "some more tries", func() bool { return len(d.all()) >= before+6 })
	tries := d.all()
	for i := len(tries) - 2; i < len(tries); i++ {
		require.Greater(t, tries[i].Sub(tries[i-1]), time.Second)
	}
	password = "one"
	srv.Restart()
	require.NoError(t, b.AddRoles(t.Context(), "x"), "it comes back by itself")
}
