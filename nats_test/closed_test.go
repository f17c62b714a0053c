package nats_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// reloadable starts a server whose settings can be changed while it runs.
func reloadable(t *testing.T, change ...func(*server.Options)) (url string, reload func(func(*server.Options))) {
	t.Helper()
	opts := &server.Options{
		ServerName: "reloadable", Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoSystemAccount: true,
	}
	for _, f := range change {
		f(opts)
	}
	srv := started(t, opts.Clone())
	opts.Port = srv.Addr().(*net.TCPAddr).Port
	return srv.ClientURL(), func(f func(*server.Options)) {
		t.Helper()
		f(opts)
		require.NoError(t, srv.ReloadOptions(opts.Clone()))
	}
}

// started starts a server of which a test has all that there is.
func started(t *testing.T, opts *server.Options) *server.Server {
	t.Helper()
	srv, err := server.NewServer(opts)
	require.NoError(t, err)
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	eventually(t, "the server", func() bool { return srv.ReadyForConnections(time.Second) && srv.JetStreamEnabled() })
	return srv
}

func connect(t *testing.T, url string, opts ...rolebus.Option) *rolebus.Bus {
	t.Helper()
	b, err := rolebus.Connect(t.Context(), url, append([]rolebus.Option{rolebus.WithTTL(ttl), rolebus.WithSyncInterval(time.Second)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// nats.go gives up a connection for good whose server says what it does not know. The bus makes another one.
func TestABusOutlivesAConnectionThatAServerEnds(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]func(*speaker){
		"while it is up":                  (*speaker).say,
		"and that just broke on our side": (*speaker).sayTooLate,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := rolebustest.NewServer(t)
			on := &speaker{}
			outlives(t, srv.URL(), []rolebus.Option{rolebus.WithNATS(nats.SetCustomDialer(on))}, func(*rolebus.Bus) { say(on) }, true)
		})
	}
}

// speaker makes connections on which a word of the server's can be heard that it did not say.
type speaker struct {
	mu sync.Mutex
	on *speaking
}

type speaking struct {
	net.Conn
	word   atomic.Pointer[string]
	broken atomic.Bool
}

func (s *speaker) Dial(network, address string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, 5*time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = &speaking{Conn: conn}
	return s.on, err
}

func (s *speaker) say() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on.word.Store(new("-ERR 'Maximum Payload Violation'\r\n"))
	_ = s.on.SetReadDeadline(time.Now())
}

// sayTooLate breaks it, and the word was on its way.
func (s *speaker) sayTooLate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on.word.Store(new("-ERR 'Maximum Payload Violation'\r\n"))
	s.on.broken.Store(true)
}

func (s *speaking) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if err != nil {
		if word := s.word.Swap(nil); word != nil {
			return copy(b, *word), nil
		}
	}
	return n, err
}

func (s *speaking) Write(b []byte) (int, error) {
	if s.broken.Load() {
		return 0, syscall.EPIPE
	}
	return s.Conn.Write(b)
}

// What servers really say. Of one that ends the connection with bytes unread the system may tell sooner than its words come: then
// the connection has merely broken, and nats.go makes it again.
func TestABusOutlivesWhatAServerDoesNotTake(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lower func(*server.Options)
		say   func(*testing.T, *rolebus.Bus)
	}{
		"a message of the user's that is too large for a lowered limit": {
			func(o *server.Options) { o.MaxPayload = 2000 },
			func(t *testing.T, b *rolebus.Bus) {
				require.NoError(t, b.Conn().Publish("x", make([]byte, 10_000)))
			},
		},
		"a record that is too large for it": {
			func(o *server.Options) { o.MaxPayload = 2000 },
			func(t *testing.T, b *rolebus.Bus) {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // it is to be sent, however busy this machine is
				defer cancel()
				roles := make([]rolebus.Role, 10)
				for i := range roles {
					roles[i] = rolebus.Role(strings.Repeat(string(rune('a'+i)), 1000))
				}
				require.Error(t, b.AddRoles(ctx, roles...))
				require.NoError(t, b.RemoveRoles(t.Context(), roles...))
			},
		},
		"a subject that is too long": { // the limit stands from the start: nats-server lowers it with a data race
			nil,
			func(t *testing.T, b *rolebus.Bus) {
				require.NoError(t, b.Conn().Publish(strings.Repeat("x", 2000), nil))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, reload := reloadable(t, func(o *server.Options) { o.MaxControlLine = 1024 })
			outlives(t, url, nil, func(b *rolebus.Bus) {
				if c.lower != nil {
					reload(c.lower)
				}
				c.say(t, b)
			}, false)
		})
	}
}

// outlives has a bus live on when its connection ends; for certain says that nats.go does not make that one again.
func outlives(t *testing.T, url string, opts []rolebus.Option, end func(*rolebus.Bus), forCertain bool) {
	h, log := &told{}, &lines{}
	a := connect(t, url, append(opts, rolebus.WithNode("a"), rolebus.WithRoles("x"), rolebus.WithHooks(h), rolebus.WithLogger(log.logger()))...)
	other := connect(t, url, rolebus.WithNode("b"), rolebus.WithRoles("x"))
	rolebustest.WaitRoles(t, a, "b", "x")
	first := a.Conn()
	end(a)
	eventually(t, "a connection", func() bool {
		made := a.Conn() != first || !forCertain && first.Stats().Reconnects > 0
		return made && a.Connected()
	})
	require.NoError(t, a.Err())
	if forCertain {
		require.True(t, first.IsClosed())
		require.Positive(t, log.count("making another one"))
	}
	require.NoError(t, a.AddRoles(t.Context(), "y"))
	rolebustest.WaitRoles(t, other, "a", "x", "y")
	require.NoError(t, other.AddRoles(t.Context(), "z"))
	rolebustest.WaitRoles(t, a, "b", "x", "z")
	var down []error
	up := 0
	for _, info := range h.all() {
		switch info := info.(type) {
		case rolebus.DisconnectedInfo:
			down = append(down, info.Err)
		case rolebus.ConnectedInfo:
			up++
		}
	}
	require.Len(t, down, up-1)
	require.Error(t, down[0])
	// Heartbeats go on: the lease that stood when it was lost is over by then.
	began := time.Now()
	eventually(t, "a TTL to pass", func() bool { return time.Since(began) > ttl })
	require.Positive(t, a.LeaseLeft())
	require.NoError(t, a.Close())
	eventually(t, "the goodbye", func() bool { return other.Nodes("y").Len() == 0 })
}

// Who closes the connection of Connect wants the end.
func TestABusEndsWithAConnectionThatTheUserCloses(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	b := srv.Bus()
	b.Conn().Close()
	<-b.Done()
	require.ErrorIs(t, b.Err(), nats.ErrConnectionClosed)
}

// Who drains a borrowed connection leaves.
func TestADrainedConnectionSaysGoodbye(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, func(o *server.Options) { o.NoSystemAccount = true })
	other := srv.Bus(rolebus.WithTTL(5*time.Minute), rolebus.WithProbeInterval(0))
	for range 5 {
		nc := srv.Conn()
		b, err := rolebus.New(t.Context(), nc, rolebus.WithNode("a"), rolebus.WithRoles("x"), rolebus.WithScopes("s", "t"), rolebus.WithTTL(5*time.Minute))
		require.NoError(t, err)
		rolebustest.WaitRoles(t, other, "a", "x")
		require.NoError(t, nc.Drain())
		<-b.Done()
		require.ErrorIs(t, b.Err(), nats.ErrConnectionDraining)
		eventually(t, "the goodbye", func() bool { return other.Nodes("x").Len() == 0 })
	}
}

// What is asked while a connection is down is not kept in its buffer, to be sent when nobody waits for it any more.
func TestNothingIsQueuedOnABorrowedConnection(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn(nats.ReconnectBufSize(8 << 20))
	b, err := rolebus.New(t.Context(), nc, rolebus.WithTTL(time.Second), rolebus.WithSyncInterval(50*time.Millisecond),
		rolebus.WithProbeInterval(50*time.Millisecond), rolebus.WithScopes("s", "t"))
	require.NoError(t, err)
	other := srv.Bus(rolebus.WithTTL(time.Second), rolebus.WithScopes("s", "t"))
	defer func() { require.NoError(t, other.Close()) }()
	require.NoError(t, other.AddRoles(t.Context(), "y"))
	rolebustest.WaitRoles(t, b, other.Name(), "y")
	srv.Stop()
	eventually(t, "it to be noticed", func() bool { return b.Snapshot().Stale() > 2*time.Second })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, b.AddRoles(ctx, "x"), nats.ErrDisconnected)
	queued, err := nc.Buffered()
	require.NoError(t, err)
	require.Zero(t, queued)
	srv.Start()
	eventually(t, "the role", func() bool { return other.Nodes("x").Len() == 1 })
	require.NoError(t, b.Close())
}

// A connection that does not hear itself sees deaths as soon as another one.
func TestABusThatDoesNotHearItself(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, func(o *server.Options) { o.NoSystemAccount = true }) // by probes alone
	open := func(nc *nats.Conn, node string) *rolebus.Bus {
		b, err := rolebus.New(t.Context(), nc, rolebus.WithNode(node), rolebus.WithRoles("x"), rolebus.WithTTL(5*time.Minute))
		require.NoError(t, err)
		return b
	}
	link := srv.Link()
	c := open(link.Conn(nats.NoEcho()), "c")
	a, b := open(srv.Conn(nats.NoEcho()), "a"), open(srv.Conn(nats.NoEcho()), "b")
	require.NoError(t, a.AddRoles(t.Context(), "y"), "its own news it hears from the server")
	for _, each := range []*rolebus.Bus{a, b, c} {
		eventually(t, "all", func() bool { return each.Nodes("x").Len() == 3 })
	}
	sub, err := srv.Conn().SubscribeSync("rolebus.probe.default.c")
	require.NoError(t, err)
	for range 4 { // only who has answered before is missed
		_, err := sub.NextMsg(30 * time.Second)
		require.NoError(t, err)
	}
	link.Cut()
	for _, each := range []*rolebus.Bus{a, b} {
		eventually(t, "the death to be seen", func() bool { return each.Nodes("x").Len() == 2 })
	}
	link.Mend()
	for _, each := range []*rolebus.Bus{a, b, c} {
		require.NoError(t, each.Close())
	}
}

// A borrowed connection that is less than one of Connect is told of.
func TestWhatABorrowedConnectionLacksIsTold(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	for name, c := range map[string]struct {
		opts []nats.Option
		told int
	}{
		"as nats.go makes it": {[]nats.Option{nats.MaxReconnects(60)}, 3},
		"never again":         {[]nats.Option{nats.NoReconnect(), nats.IgnoreAuthErrorAbort()}, 2},
		"as strong as it can": {[]nats.Option{nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(1)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			log := &lines{}
			b, err := rolebus.New(t.Context(), srv.Conn(c.opts...), rolebus.WithNode(name), rolebus.WithLogger(log.logger()))
			require.NoError(t, err)
			require.NoError(t, b.Close())
			require.Equal(t, c.told, log.count("the borrowed connection: "))
		})
	}
}
