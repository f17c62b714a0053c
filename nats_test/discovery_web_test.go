package nats_test

import (
	"context"
	"crypto/tls"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
)

// webServer starts a server that clients reach by WebSocket, and returns its URL for them.
func webServer(t *testing.T, secure *tls.Config) *url.URL {
	t.Helper()
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true,
		Websocket: server.WebsocketOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoTLS: secure == nil, TLSConfig: secure},
	})
	require.NoError(t, err)
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	require.True(t, ns.ReadyForConnections(20*time.Second))
	at, err := url.Parse(ns.WebsocketURL())
	require.NoError(t, err)
	return at
}

// A bus goes to servers by WebSocket: with TLS and without, whether the strategy says so or the URL beside it, and follows them.
func TestABusFindsItsServersByWebSocket(t *testing.T) {
	t.Parallel()
	cert, ca := certificate(t, "nats.test")
	plain := webServer(t, nil)
	secure := webServer(t, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	for name, tc := range map[string]struct {
		at     *url.URL
		beside string // URL
		silent bool   // about the scheme
		opts   []nats.Option
	}{
		"ws":                   {at: plain},
		"ws, by the URL":       {at: plain, beside: "ws://127.0.0.1:1", silent: true},
		"wss":                  {at: secure, opts: []nats.Option{nats.RootCAs(ca)}},
		"wss, by the URL":      {at: secure, beside: "wss://127.0.0.1:1", silent: true, opts: []nats.Option{nats.RootCAs(ca)}},
		"wss, by an option":    {at: secure, beside: "ws://127.0.0.1:1", silent: true, opts: []nats.Option{nats.RootCAs(ca)}},
		"wss beside others ws": {at: secure, beside: "ws://" + plain.Host, opts: []nats.Option{nats.RootCAs(ca)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here := addressOf(t, tc.at.String())
			here.TLSName = "nats.test"
			if !tc.silent {
				here.Scheme = tc.at.Scheme
			}
			strategy := telling(here)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			b, err := rolebus.Connect(ctx, tc.beside, rolebus.WithDiscovery(strategy), rolebus.WithNATS(tc.opts...), rolebus.WithRoles("api"))
			require.NoError(t, err)
			defer b.Close()
			require.Equal(t, here.HostPort(), b.Conn().ConnectedAddr())
			other := here
			other.Port = 1
			strategy.tell([]rolebus.Address{here, other}, nil)
			eventually(t, "the other one in the pool", func() bool {
				for _, s := range b.Conn().ServerPool() {
					if s.URL.Host == other.HostPort() {
						return true
					}
				}
				return false
			})
			require.NoError(t, b.Conn().ForceReconnect())
			eventually(t, "the connection to be back", func() bool { return b.Connected() && b.Conn().Stats().Reconnects > 0 })
		})
	}
}
