package discovery_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/replaced"
	"github.com/rolebus/rolebus/rolebustest"
)

// connect connects a bus that has nothing but a strategy.
func connect(t *testing.T, s rolebus.Strategy, opts ...rolebus.Option) *rolebus.Bus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := rolebus.Connect(ctx, "", append([]rolebus.Option{rolebus.WithDiscovery(s), rolebus.WithNode("a")}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// dead are addresses at which nobody listens.
func dead(n int) []rolebus.Address {
	var all []rolebus.Address
	for i := range n {
		all = append(all, rolebus.Address{Host: fmt.Sprintf("127.9.%d.%d", i/250, i%250+1), Port: 1})
	}
	return all
}

// The server that discovery forgets is not left for that; when it dies there is another one.
func TestAForgottenServerIsStayedWith(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	first, second := srv.Link(), srv.Link()
	known := newBoard(addressOf(t, first))
	b := connect(t, known)
	known.tell([]rolebus.Address{addressOf(t, second)}, nil)
	eventually(t, "the other server to be in the pool", has(b, addressOf(t, second)))
	require.True(t, has(b, addressOf(t, first))(), "it is where the connection is")
	require.NoError(t, b.AddRoles(t.Context(), "x"))
	require.Zero(t, b.Conn().Stats().Reconnects)
	require.True(t, isAt(b, addressOf(t, first))())
	first.Cut()
	eventually(t, "the other server", isAt(b, addressOf(t, second)))
	eventually(t, "the first one to be forgotten", lacks(b, addressOf(t, first)))
}

// All servers have died, and the connection is lost, when others are found.
func TestServersAreFoundWhileThereIsNoConnection(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	first, second := srv.Link(), srv.Link()
	known := newBoard(addressOf(t, first), dead(1)[0])
	b := connect(t, known)
	first.Cut()
	eventually(t, "the connection to be lost", func() bool { return !b.Connected() })
	known.tell([]rolebus.Address{addressOf(t, second)}, nil)
	eventually(t, "the server that is found", isAt(b, addressOf(t, second)))
	eventually(t, "the dead to be out of the pool", func() bool { return len(replaced.Pool(b)) == 1 })
	require.NoError(t, b.AddRoles(t.Context(), "x"))
}

// A thousand are listed that are gone.
func TestOneOfAThousandServersIsAlive(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	b := connect(t, newBoard(append(dead(1000), addressOf(t, srv))...))
	eventually(t, "all to be in the pool", func() bool { return len(replaced.Pool(b)) == 1001 })
	require.True(t, isAt(b, addressOf(t, srv))())
}

// Ten thousand are more than are used; which is said once, and works.
func TestTenThousandServers(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	log, known := &lines{}, newBoard(append([]rolebus.Address{addressOf(t, srv)}, dead(10_000)...)...)
	b := connect(t, known, log.option())
	eventually(t, "as many as are used", func() bool { return len(replaced.Pool(b)) == 1024 })
	require.Equal(t, 1, log.count("it lists too many addresses"), log.text())
}

// Whom a server refuses is told at once; the password is not.
func TestRefusedCredentialsAreAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, func(o *server.Options) { o.Username, o.Password = "u", "p" })
	for name, list := range map[string][]rolebus.Address{
		"one server":       {addressOf(t, srv)},
		"the first of two": {addressOf(t, srv), dead(1)[0]},
		"the last of many": append(dead(30), addressOf(t, srv)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := rolebus.Connect(ctx, "", rolebus.WithDiscovery(newBoard(list...)), rolebus.WithNATS(nats.UserInfo("u", "not-the-one")))
			require.ErrorContains(t, err, "Authorization Violation")
			require.NoError(t, ctx.Err())
			require.NotContains(t, err.Error(), "not-the-one")
		})
	}
}

// What is found may be something else than a NATS server; others may be found.
func TestSomethingElseIsFound(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(nil)
	defer web.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	var strange []rolebus.Address
	for _, at := range []string{web.Listener.Addr().String(), silent.Addr().String()} {
		a, err := rolebus.ParseAddress(at)
		require.NoError(t, err)
		strange = append(strange, a)
	}
	srv := rolebustest.NewServer(t)
	log, known := &lines{}, newBoard(strange...)
	made := make(chan *rolebus.Bus)
	go func() {
		b, err := rolebus.Connect(t.Context(), "", rolebus.WithDiscovery(known), rolebus.WithNode("a"), log.option(), rolebus.WithNATS(nats.Timeout(100*time.Millisecond)))
		if err != nil {
			t.Error(err)
		}
		made <- b
	}()
	eventually(t, "what is there to be told", func() bool { return log.count(strange[0].HostPort()) > 0 })
	known.tell(append(strange, addressOf(t, srv)), nil)
	b := <-made
	require.NotNil(t, b)
	defer b.Close()
	require.True(t, isAt(b, addressOf(t, srv))())
}

// One address that is bad, of a route or of another kind does not keep the others from being used. Each is named once.
func TestOneBadAddressDoesNotRefuseTheList(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	log, good := &lines{}, dead(1)[0]
	list := []rolebus.Address{
		{Host: "not a host"}, {Host: "127.0.0.1", Port: 70000}, {Host: "127.0.0.1", Scheme: "gopher"}, {}, {Host: "0.0.0.0", Port: 4222},
		{Host: "127.0.0.1", Port: 6222, Route: true}, {Host: "127.0.0.1", Port: 8080, Scheme: "ws"}, {Host: "127.0.0.1", Port: 4443, Scheme: "tls"},
		good, good, addressOf(t, srv), good,
	}
	known := newBoard(addressOf(t, srv))
	b := connect(t, known, log.option())
	for range 3 {
		known.tell(list, nil)
		eventually(t, "the good ones in the pool", func() bool { return has(b, good)() && len(replaced.Pool(b)) == 2 })
		known.tell(append(list[:5:5], addressOf(t, srv)), nil)
		eventually(t, "one of them to be gone", func() bool { return len(replaced.Pool(b)) == 1 })
	}
	for _, text := range []string{"not a host", "port 70000", "gopher", "it has no host", "0.0.0.0"} {
		require.Equal(t, 1, log.count(text), "%s in %s", text, log.text())
	}
	for _, text := range []string{"it is a route", "its scheme is ws", "it wants TLS"} {
		require.Equal(t, 3, log.count(text), "%s, each time that it appears, in %s", text, log.text())
	}
	require.Zero(t, b.Conn().Stats().Reconnects)
}

// nats.go gives a connection up when a server ends it with words that it does not know. Another one is made, to servers that are found: those
// from the beginning are gone.
func TestAConnectionThatWasGivenUpIsMadeAgainToWhatIsFound(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	first, second, third := newProxy(t, addressOf(t, srv)), srv.Link(), srv.Link()
	known := newBoard(first.address)
	b := connect(t, known)
	require.NoError(t, b.AddRoles(t.Context(), "x"))
	nc := b.Conn()
	known.tell([]rolebus.Address{addressOf(t, second)}, nil)
	eventually(t, "the other server in the pool", has(b, addressOf(t, second)))
	first.end("-ERR 'You are not wanted here'\r\n")
	eventually(t, "another connection", func() bool { return b.Conn() != nc && isAt(b, addressOf(t, second))() })
	eventually(t, "the first address to be forgotten", lacks(b, first.address))
	known.tell([]rolebus.Address{addressOf(t, third)}, nil)
	eventually(t, "the new connection to follow, too", has(b, addressOf(t, third)))
	second.Cut()
	eventually(t, "the third server", isAt(b, addressOf(t, third)))
	require.NoError(t, b.AddRoles(t.Context(), "y"))
}

// proxy stands before a server until it ends all with a word of its own.
type proxy struct {
	address  rolebus.Address
	listener net.Listener
	mu       sync.Mutex
	clients  []net.Conn
}

func newProxy(t *testing.T, to rolebus.Address) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l}
	p.address, err = rolebus.ParseAddress(l.Addr().String())
	require.NoError(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", to.HostPort())
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			p.clients = append(p.clients, client)
			p.mu.Unlock()
			for _, way := range [][2]net.Conn{{client, upstream}, {upstream, client}} {
				all.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_ = way[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		p.end("")
		all.Wait()
	})
	return p
}

func (p *proxy) end(word string) {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		_, _ = io.WriteString(c, word)
		_ = c.Close()
	}
	p.clients = nil
}

// A strategy finds one seed. Where else there are servers, the servers tell, unless nobody is to listen to them.
func TestWhatServersTellIsUsedToo(t *testing.T) {
	t.Parallel()
	c := replaced.New(t, replaced.Shape{Advertise: true})
	seed := ofDomain(c.Addresses()[:1])
	b := connect(t, newBoard(seed...), rolebus.WithNATS(c.Options()...))
	known := newBoard(seed...)
	deaf := connect(t, known, rolebus.WithNode("deaf"), rolebus.WithNATS(c.Options()...), rolebus.WithNATS(nats.IgnoreDiscoveredServers()))
	c.Stop(0)
	eventually(t, "a server that was told of", func() bool { return b.Connected() && b.Conn().ConnectedAddr() != seed[0].HostPort() })
	require.NoError(t, b.AddRoles(t.Context(), "x"))
	require.Equal(t, []string{seed[0].HostPort()}, replaced.Pool(deaf))
	require.False(t, deaf.Connected())
	known.tell(ofDomain(c.Addresses()), nil)
	eventually(t, "a server that is found", deaf.Connected)
}

// A server is known by a name, and its certificate is for another one, which the strategy tells.
func TestACertificateMayBeForWhomTheStrategySays(t *testing.T) {
	t.Parallel()
	c := replaced.New(t, replaced.Shape{})
	at := c.Addresses()[0]
	options := append(c.Options(), nats.SkipHostLookup(), nats.SetCustomDialer(&renaming{"alias.example", at.Host}), nats.IgnoreDiscoveredServers())
	named := rolebus.Address{Host: "alias.example", Port: at.Port, TLSName: replaced.Domain}
	b := connect(t, newBoard(named), rolebus.WithNATS(options...))
	require.NoError(t, b.AddRoles(t.Context(), "x"))

	for _, other := range []string{"", "elsewhere.test"} {
		named.TLSName = other
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := rolebus.Connect(ctx, "", rolebus.WithDiscovery(newBoard(named)), rolebus.WithNATS(options...))
		require.ErrorContains(t, err, "TLSName")
	}
}

// renaming connects to an address where a name was asked for.
type renaming struct{ name, ip string }

func (r *renaming) Dial(network, address string) (net.Conn, error) {
	return net.DialTimeout(network, strings.Replace(address, r.name, r.ip, 1), 5*time.Second)
}
