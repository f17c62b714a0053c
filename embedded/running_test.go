package embedded

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

func TestWhoIsDeadAsServersKnow(t *testing.T) {
	for _, test := range []struct {
		name string
		p    server.PeerInfo
		dead bool
	}{
		{"heard a moment ago", server.PeerInfo{Current: true, Active: 900 * time.Millisecond}, false},
		{"it catches up", server.PeerInfo{Lag: 7, Active: 900 * time.Millisecond}, false},
		{"not heard for long, and nothing happens", server.PeerInfo{Current: true, Active: 4 * time.Second}, true},
		{"not heard for long", server.PeerInfo{Lag: 7, Active: 4 * time.Second}, true},
		{"never heard by a new leader", server.PeerInfo{}, true},
		{"just heard by a new leader", server.PeerInfo{Current: true}, false},
		{"offline", server.PeerInfo{Current: true, Offline: true, Active: time.Second}, true},
	} {
		require.Equal(t, test.dead, isDead(&test.p), test.name)
	}
}
