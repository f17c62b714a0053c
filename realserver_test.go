package rolebus

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

// realServer is the URL of a NATS server with JetStream that runs until the test ends, for tests inside the package: package embedded
// imports it, and so cannot be imported by them.
func realServer(t testing.TB, set ...func(*server.Options)) string {
	t.Helper()
	o := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), DisableJetStreamBanner: true, NoSigs: true, NoLog: true,
	}
	for _, f := range set {
		f(o)
	}
	srv, err := server.NewServer(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	srv.Start()
	require.True(t, srv.ReadyForConnections(time.Minute))
	return srv.ClientURL()
}
