package discovery_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/discovery"
)

const gossipSecret = "0a9Zk3-unit-tests-only"

// freePort returns a UDP port that nobody has.
func freePort(t *testing.T) int {
	t.Helper()
	conn, err := net.ListenUDP("udp", nil)
	require.NoError(t, err)
	defer conn.Close()
	return int(conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
}

// listing is what a strategy told.
type listing struct {
	mu    sync.Mutex
	lists [][]discovery.Address
	errs  []error
}

func (l *listing) take(list []discovery.Address, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.errs = append(l.errs, err)
		return
	}
	l.lists = append(l.lists, list)
}

func (l *listing) last() []discovery.Address {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lists) == 0 {
		return nil
	}
	return l.lists[len(l.lists)-1]
}

// said returns how many failures have the text.
func (l *listing) failures() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]error(nil), l.errs...)
}

// discovering follows a strategy until the test ends.
func discovering(t *testing.T, s discovery.Strategy) *listing {
	l := &listing{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Discover(ctx, l.take) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			require.ErrorIs(t, err, context.Canceled)
		case <-time.After(10 * time.Second):
			t.Error("Discover does not end with its context")
		}
	})
	return l
}

// announcing announces until stop is called, or the test ends.
func announcing(t *testing.T, s discovery.Strategy, addresses ...discovery.Address) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.(discovery.Announcer).Announce(ctx, addresses) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(10 * time.Second):
			t.Error("Announce does not end with its context")
		}
	})
	t.Cleanup(stop)
	return stop
}

func lists(t *testing.T, l *listing, want ...discovery.Address) {
	t.Helper()
	require.Eventually(t, func() bool {
		got := l.last()
		if len(got) != len(want) {
			return false
		}
		for _, w := range want {
			found := false
			for _, g := range got {
				found = found || g == w
			}
			if !found {
				return false
			}
		}
		return true
	}, 20*time.Second, 10*time.Millisecond, "%v", want)
}

func TestGossipOnOneMachine(t *testing.T) {
	for name, opts := range map[string][]discovery.Option{
		"IPv4":      {discovery.ListenAddress("127.0.0.1")},
		"broadcast": {discovery.ListenAddress("127.0.0.1"), discovery.Broadcast()},
		"both":      {discovery.Interfaces("127.0.0.1")},
		"TTL 0":     {discovery.MulticastTTL(0)},
	} {
		t.Run(name, func(t *testing.T) {
			opts = append(opts, discovery.GossipPort(freePort(t)))
			s := discovery.Gossip("test", gossipSecret, opts...)
			a := discovery.Address{
				Host: "10.0.0.7", Port: 4222, Scheme: "tls", Server: "nats-0", Cluster: "north", TLSName: "nats.example", Priority: 1, Weight: 2,
			}
			b := discovery.Address{Host: "fd00::7", Route: true}
			first := discovering(t, s)
			stop := announcing(t, s, a)
			announcing(t, s, b)
			lists(t, first, a, b)
			second := discovering(t, s)
			lists(t, second, a, b)
			stop()
			lists(t, first, b)
			lists(t, second, b)
		})
	}
}

func TestGossipOptionsAreChecked(t *testing.T) {
	for want, s := range map[string]discovery.Strategy{
		`cluster "": 1 to 64 bytes`:                    discovery.Gossip("", gossipSecret),
		`the secret: it is empty: make one with`:       discovery.Gossip("a", ""),
		`it has 5 bytes, at least 16`:                  discovery.Gossip("a", "short"),
		`it begins or ends with white space`:           discovery.Gossip("a", gossipSecret+"\n"),
		`only 1 different bytes`:                       discovery.Gossip("a", "aaaaaaaaaaaaaaaaaaaaaaa"),
		`AcceptSecrets: it has 5 bytes`:                discovery.Gossip("a", gossipSecret, discovery.AcceptSecrets("short")),
		`AcceptSecrets: 4 of them`:                     discovery.Gossip("a", gossipSecret, discovery.AcceptSecrets("1", "2", "3", "4")),
		`GossipPort 0: 1 to 65535`:                     discovery.Gossip("a", gossipSecret, discovery.GossipPort(0)),
		`MulticastGroup "10.0.0.1": 224.0.0.0 to`:      discovery.Gossip("a", gossipSecret, discovery.MulticastGroup("10.0.0.1")),
		`MulticastGroup: no group`:                     discovery.Gossip("a", gossipSecret, discovery.MulticastGroup()),
		`Broadcast "ff12::1": an IPv4 address`:         discovery.Gossip("a", gossipSecret, discovery.Broadcast("ff12::1")),
		`MulticastGroup and Broadcast: one of them`:    discovery.Gossip("a", gossipSecret, discovery.MulticastGroup("224.1.1.1"), discovery.Broadcast()),
		`Broadcast is of IPv4`:                         discovery.Gossip("a", gossipSecret, discovery.ListenAddress("::"), discovery.Broadcast()),
		`ListenAddress "eth0": an address`:             discovery.Gossip("a", gossipSecret, discovery.ListenAddress("eth0")),
		`Interfaces: none`:                             discovery.Gossip("a", gossipSecret, discovery.Interfaces()),
		`MulticastTTL 256: 0 to 255`:                   discovery.Gossip("a", gossipSecret, discovery.MulticastTTL(256)),
		`GoneAfter 0s: at least`:                       discovery.Gossip("a", gossipSecret, discovery.GoneAfter(0)),
		`it does not take Scheme; it takes AcceptSecr`: discovery.Gossip("a", gossipSecret, discovery.Scheme("tls")),
	} {
		err := s.Discover(t.Context(), func([]discovery.Address, error) { t.Error("it told something") })
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), gossipSecret)
		require.ErrorContains(t, s.(discovery.Announcer).Announce(t.Context(), []discovery.Address{{Host: "a"}}), want)
	}
}

func TestGossipHasRoomForSoMany(t *testing.T) {
	many := make([]discovery.Address, 60)
	for i := range many {
		many[i] = discovery.Address{Host: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String(), Port: 4222, Scheme: "nats", Server: "nats-0"}
	}
	s := discovery.Gossip("test", gossipSecret, discovery.GossipPort(freePort(t))).(discovery.Announcer)
	err := s.Announce(t.Context(), many)
	require.ErrorContains(t, err, "bytes, and may have 1200 (announce fewer addresses at once")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Announce(ctx, many[:20]))
}
