package rolebus

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func serversOf(t *testing.T, url string, found ...Address) (*servers, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	o, err := newOptions([]Option{WithLogger(slog.New(slog.NewTextHandler(&log, nil)))})
	require.NoError(t, err)
	s := newServers(url, o)
	s.found = found
	return s, &log
}

// What nats.go is told of the servers: each once, with the user and the password of the URL, as nats.go itself would write it.
func TestServersAsURLs(t *testing.T) {
	for name, c := range map[string]struct {
		url   string
		found []Address
		want  []string
		log   string
	}{
		"a URL alone":           {"a, tls://b:7 ,", nil, []string{"nats://a:4222", "tls://b:7"}, ""},
		"found alone":           {"", []Address{{Host: "10.0.0.1"}, {Host: "x.test", Port: 7}}, []string{"nats://10.0.0.1:4222", "nats://x.test:7"}, ""},
		"IPv6":                  {"nats://[::1]", []Address{{Host: "::1"}, {Host: "fe80::1%eth0", Port: 1}}, []string{"nats://[::1]:4222", "nats://[fe80::1%25eth0]:1"}, ""},
		"credentials":           {"nats://u:p%40%2C@a", []Address{{Host: "b"}}, []string{"nats://u:p%40,@a:4222", "nats://u:p%40,@b:4222"}, ""},
		"a token":               {"a,nats://secret@b", []Address{{Host: "c"}}, []string{"nats://a:4222", "nats://secret@b:4222", "nats://secret@c:4222"}, ""},
		"the scheme of the URL": {"wss://a", []Address{{Host: "b"}, {Host: "c", Scheme: "ws", Port: 3}}, []string{"wss://a:443", "wss://b:443", "ws://c:3"}, ""},
		"ws among nats":         {"a", []Address{{Host: "b", Scheme: "ws"}, {Host: "c"}}, []string{"nats://a:4222", "nats://c:4222"}, "ws://b:80"},
		"nats among ws":         {"", []Address{{Host: "b", Scheme: "ws"}, {Host: "c", Scheme: "nats"}, {Host: "d"}}, []string{"ws://b:80", "ws://d:80"}, "nats://c:4222"},
		"ws behind":             {"", []Address{{Host: "a"}, {Host: "b", Scheme: "ws"}}, []string{"nats://a:4222"}, "ws://b:80"},
		"a route":               {"a", []Address{{Host: "b", Route: true}}, []string{"nats://a:4222"}, "nats-route://b:6222"},
		"twins":                 {"a,nats://a:4222", []Address{{Host: "a"}, {Host: "a", Server: "s"}}, []string{"nats://a:4222"}, ""},
		"priorities":            {"", []Address{{Host: "c", Priority: 2}, {Host: "b", Priority: 1}, {Host: "a"}}, []string{"nats://a:4222", "nats://b:4222", "nats://c:4222"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, log := serversOf(t, c.url, c.found...)
			for range 3 {
				require.Equal(t, c.want, s.urls(false))
			}
			require.Equal(t, c.log != "", strings.Contains(log.String(), c.log) && log.Len() > 0, log.String())
			require.LessOrEqual(t, strings.Count(log.String(), "level=WARN"), 1, "each once")
			require.ElementsMatch(t, c.want, s.urls(true))
		})
	}
}

// What servers told of comes last, and is no more than text of theirs.
func TestServersThatServersToldOfComeLast(t *testing.T) {
	s, _ := serversOf(t, "tls://u:p@a", Address{Host: "b", Priority: 9})
	s.hear([]string{"c:5", "[::1]:6", "nonsense", ":7", "a:4222", "a b:5", "x%zz:6", "h:99999", "[::1:4:6", "ws://w:1"})
	require.Equal(t, []string{"tls://u:p@a:4222", "tls://u:p@b:4222", "tls://u:p@c:5", "tls://u:p@[::1]:6"}, s.urls(false))
	s.linked(true, false)
	require.Equal(t, []string{"tls://u:p@a:4222", "tls://u:p@b:4222"}, s.urls(false))
}

// A connection without TLS does not go where TLS is wanted, which it could not insist on.
func TestTLSIsForAllServersOrNone(t *testing.T) {
	s, log := serversOf(t, "a", Address{Host: "b", Scheme: "tls"})
	require.Equal(t, []string{"nats://a:4222", "tls://b:4222"}, s.urls(false), "not connected yet: nats.go takes TLS for all of them")
	s.linked(false, false)
	require.Equal(t, []string{"nats://a:4222"}, s.urls(false))
	require.Contains(t, log.String(), "nats.Secure")
	s.given, s.scheme = nil, ""
	s.found = append(s.found, Address{Host: "c"})
	require.Equal(t, []string{"nats://c:4222"}, s.urls(false), "which says nothing about one without a scheme")
	s.linked(true, false)
	require.Len(t, s.urls(false), 2)
}

// nats.go refuses a list that has both servers by WebSocket and others: which it may have is decided by the connection that there is.
func TestWebSocketsAreForAllServersOrNone(t *testing.T) {
	s, log := serversOf(t, "", Address{Host: "a", Scheme: "ws"}, Address{Host: "b"})
	require.Equal(t, []string{"ws://a:80", "ws://b:80"}, s.urls(false), "not connected yet")
	s.linked(false, false)
	require.Equal(t, []string{"nats://b:4222"}, s.urls(false))
	require.Contains(t, log.String(), "its scheme is ws")
	s.linked(false, true)
	require.Equal(t, []string{"ws://a:80", "ws://b:80"}, s.urls(false))
	s.found = []Address{{Host: "c"}}
	require.Equal(t, []string{"ws://c:80"}, s.urls(false))
}

// A certificate is for the host, or for whom an address with that host says; that of an IP address for any name that is known.
func TestWhomCertificatesAreFor(t *testing.T) {
	s, _ := serversOf(t, "tls://a", Address{Host: "B.test.", TLSName: "b.example"}, Address{Host: "10.0.0.1", TLSName: "c.example"})
	s.hear([]string{"d:1"})
	require.Equal(t, []string{"b.test", "b.example"}, s.names("b.test"))
	require.Equal(t, []string{"e"}, s.names("e"))
	require.Equal(t, []string{"a", "b.example", "B.test.", "c.example", "10.0.0.1"}, s.names(""))
}

// One of twice the weight is twice as often first.
func TestServersByWeight(t *testing.T) {
	s, _ := serversOf(t, "", Address{Host: "a", Weight: 10}, Address{Host: "b", Weight: 20}, Address{Host: "c", Priority: 1, Weight: 1000}, Address{Host: "d"})
	first := map[string]int{}
	const tries = 6000
	for range tries {
		urls := s.urls(true)
		first[urls[0]]++
		require.Equal(t, "nats://c:4222", urls[3])
	}
	require.InDelta(t, tries/3, first["nats://a:4222"], tries/20)
	require.InDelta(t, 2*tries/3, first["nats://b:4222"], tries/20)
	require.NotZero(t, first["nats://d:4222"], "a weight of 0 is a small one")
}

// brokenStrategy cannot do anything without panicking, as a pointer that is nil to what has methods of values.
type brokenStrategy struct{ brokenParts }

type brokenParts struct{ name string }

func (s brokenParts) Discover(context.Context, func([]Address, error)) error { return nil }
func (s brokenParts) String() string                                         { return s.name }

type brokenErr struct{ err error }

func (s *brokenErr) Discover(context.Context, func([]Address, error)) error { return nil }
func (s *brokenErr) Err() error                                             { return s.err }

// A strategy whose methods panic ends no process.
func TestAStrategyThatIsNil(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := Connect(ctx, "", WithDiscovery((*brokenStrategy)(nil)), WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "*rolebus.brokenStrategy")
	_, err = Connect(ctx, "", WithDiscovery((*brokenErr)(nil)))
	require.ErrorContains(t, err, "*rolebus.brokenErr, panics when it is asked")
}

// Whether TLS is insisted on does not depend on which few of many servers a try goes to.
func TestTLSIsWantedByOneOfManyForAll(t *testing.T) {
	s, _ := serversOf(t, "")
	for i := range 100 {
		s.found = append(s.found, Address{Host: "a", Port: i + 1})
	}
	s.strategy, s.found[70].Scheme, s.scheme = nobody{}, "tls", "nats"
	d := &dialer{servers: s}
	for range 13 {
		require.True(t, d.choose(t.Context()))
		require.True(t, d.to.Secure)
	}
	s.found[70].Scheme = ""
	require.True(t, d.choose(t.Context()))
	require.False(t, d.to.Secure, "none wants it any more")
}

type nobody struct{}

func (nobody) Discover(context.Context, func([]Address, error)) error { return nil }

// What is not used is told when nobody waits for the lock: whoever takes the line may use the connection.
func TestWhatIsNotUsedIsToldWithoutTheLock(t *testing.T) {
	s, _ := serversOf(t, "a", Address{Host: "b", Route: true})
	told := 0
	s.log = slog.New(handler(func() { s.names(""); told++ }))
	require.Equal(t, []string{"nats://a:4222"}, s.urls(false))
	require.Equal(t, 1, told)
}

// handler is a log that does something with each line.
type handler func()

func (handler) Enabled(context.Context, slog.Level) bool    { return true }
func (h handler) Handle(context.Context, slog.Record) error { h(); return nil }
func (h handler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h handler) WithGroup(string) slog.Handler             { return h }

// Servers that are others without end are tried soon, and not without end.
func TestServersThatAreOthersWithoutEndAreNotTriedWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := serversOf(t, "")
		ctx, cancel := context.WithCancel(t.Context())
		go again(ctx, time.Millisecond, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.change()
		})
		tries := 0
		for began := time.Now(); time.Since(began) < time.Minute; tries++ {
			s.await(ctx, time.Second)
		}
		require.LessOrEqual(t, tries, 8*60)
		require.Greater(t, tries, 4*60)
		cancel()
		began := time.Now()
		s.await(ctx, time.Second)
		require.Equal(t, began, time.Now(), "the end is not waited for")
	})
}
