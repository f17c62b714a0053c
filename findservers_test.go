package rolebus

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// twoServers are two that know nothing of each other, and a connection to the first.
func twoServers(t *testing.T) (nc *nats.Conn, first, second string) {
	t.Helper()
	urls := make([]string, 2)
	for i := range urls {
		srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
		require.NoError(t, err)
		srv.Start()
		t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
		require.True(t, srv.ReadyForConnections(time.Minute))
		urls[i] = srv.ClientURL()
	}
	nc, err := nats.Connect(urls[0], nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc, urls[0], urls[1]
}

// madeAgain has a connection made again.
func madeAgain(t *testing.T, nc *nats.Conn) {
	t.Helper()
	before := nc.Stats().Reconnects
	require.NoError(t, nc.ForceReconnect())
	require.Eventually(t, func() bool { return nc.Stats().Reconnects > before && nc.IsConnected() }, time.Minute, time.Millisecond)
}

// Why the list that nats.go is given always has the server that it is connected to: otherwise it takes the first for that one.
func TestNATSMistakesItsServerForTheFirstOfAListWithoutIt(t *testing.T) {
	nc, first, second := twoServers(t)
	require.Equal(t, first, nc.ConnectedUrl())
	require.NoError(t, nc.SetServerPool([]string{second}))
	require.Equal(t, second, nc.ConnectedUrl())
	require.Equal(t, first, "nats://"+nc.ConnectedAddr())
}

// Where nats.go connected again while it was given a list, nobody knows which server it takes for its own, until it does so once more.
func TestWhomAConnectionIsWithIsBelievedOnlyWhenNATSKnows(t *testing.T) {
	nc, first, _ := twoServers(t)
	f := &followed{nc: nc}
	require.Equal(t, first, f.here())
	f.given()
	require.Equal(t, first, f.here(), "nothing happened meanwhile")
	madeAgain(t, nc)
	require.Equal(t, first, f.here(), "it happened before the list")
	madeAgain(t, nc)
	f.given()
	require.Empty(t, f.here())
	f.given()
	require.Empty(t, f.here(), "another list mends nothing")
	madeAgain(t, nc)
	require.Equal(t, first, f.here())
}
