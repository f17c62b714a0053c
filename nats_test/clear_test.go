package nats_test

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
)

// Where one of several servers wants TLS none gets a password without, also when each is asked why it takes no connection.
func TestNoPasswordGoesOutInTheClearWhereTLSIsWanted(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	heard := make(chan string, 1000)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(heard)
				return
			}
			_ = c.SetDeadline(time.Now().Add(200 * time.Millisecond))
			_, _ = c.Write([]byte(`INFO {"server_id":"x","version":"2.12.0","max_payload":1000000}` + "\r\n"))
			line, _ := bufio.NewReader(c).ReadString('\n')
			_ = c.Close()
			select {
			case heard <- line:
			default:
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	_, err = rolebus.Connect(ctx, "nats://u:geheim@"+l.Addr().String()+",tls://127.0.0.1:1")
	require.ErrorIs(t, err, nats.ErrSecureConnWanted)
	require.NoError(t, l.Close())
	tries := 0
	for line := range heard {
		tries++
		require.False(t, strings.Contains(line, "geheim"), line)
	}
	require.NotZero(t, tries)
}
