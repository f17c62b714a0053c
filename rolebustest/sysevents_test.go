package rolebustest_test

import (
	"encoding/json"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/rolebustest"
)

func TestServerTellsWhoseConnectionEnded(t *testing.T) {
	t.Parallel()
	s := rolebustest.NewServer(t)
	heard := listen(t, s)
	heard.until(t, s, "a")
	s.Restart()
	heard.until(t, s, "b")
}

func TestServerTellsAccountsOfTheTest(t *testing.T) {
	t.Parallel()
	s := rolebustest.NewServer(t, func(o *server.Options) {
		app := server.NewAccount("APP")
		o.Accounts, o.Users = []*server.Account{app}, []*server.User{{Username: "app", Password: "secret", Account: app}}
	})
	user := nats.UserInfo("app", "secret")
	heard := listen(t, s, user)
	heard.until(t, s, "a", user)
}

func TestEveryServerOfAClusterTellsWhoseConnectionEnded(t *testing.T) {
	t.Parallel()
	c := rolebustest.NewCluster(t)
	servers := c.Servers()
	var heard []*ended
	for _, s := range servers {
		heard = append(heard, listen(t, s))
	}
	for _, from := range servers {
		for _, at := range heard {
			at.until(t, from, "on "+from.Name())
		}
	}
	// A server that stops says nothing of its clients: they did not die.
	leaver := servers[2]
	bystander := leaver.Conn(nats.Name("bystander"))
	leaver.Stop()
	for _, at := range heard[:2] {
		at.until(t, servers[0], "one after it stopped")
	}
	leaver.Start()
	rolebustest.Eventually(t, "the bystander to be back", bystander.IsConnected)
	for _, at := range heard {
		at.until(t, leaver, "one after it started")
		require.NotContains(t, at.names(), "bystander")
	}
}

// ended collects the names of connections that ended, as heard of by one server.
type ended struct {
	mu  sync.Mutex
	all []string
}

func listen(t *testing.T, s *rolebustest.Server, opts ...nats.Option) *ended {
	t.Helper()
	e := &ended{}
	_, err := s.Conn(opts...).Subscribe("rolebus.sys.disconnect", func(msg *nats.Msg) {
		var event server.DisconnectEventMsg
		if err := json.Unmarshal(msg.Data, &event); err != nil {
			t.Errorf("event %s: %v", msg.Data, err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.all = append(e.all, event.Client.Name)
	})
	require.NoError(t, err)
	return e
}

func (e *ended) names() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.all)
}

// until lets clients of a server die until it is heard of: what one server tells another crosses a route, which may just
// be coming up.
func (e *ended) until(t *testing.T, on *rolebustest.Server, name string, opts ...nats.Option) {
	t.Helper()
	rolebustest.Eventually(t, name+" to be heard of", func() bool {
		die(t, on, name, opts...)
		return slices.Contains(e.names(), name)
	})
}

// die connects a client whose system then closes its connection, as it does when it ends a process.
func die(t *testing.T, on *rolebustest.Server, name string, opts ...nats.Option) {
	t.Helper()
	var d dialer
	on.Conn(append(opts, nats.Name(name), nats.NoReconnect(), nats.SetCustomDialer(&d))...)
	require.NoError(t, d.socket.Close())
}

// dialer keeps what it dialled last.
type dialer struct{ socket net.Conn }

func (d *dialer) Dial(network, address string) (_ net.Conn, err error) {
	d.socket, err = net.Dial(network, address)
	return d.socket, err
}
