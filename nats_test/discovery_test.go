package nats_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// tells is a strategy that tells what a test has it tell.
type tells struct {
	mu    sync.Mutex
	list  []rolebus.Address
	err   error
	again chan struct{}
}

func telling(addresses ...rolebus.Address) *tells {
	return &tells{list: addresses, again: make(chan struct{})}
}

func (s *tells) tell(list []rolebus.Address, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list, s.err = list, err
	close(s.again)
	s.again = make(chan struct{})
}

func (s *tells) Discover(ctx context.Context, found func([]rolebus.Address, error)) error {
	for {
		s.mu.Lock()
		list, err, again := s.list, s.err, s.again
		s.mu.Unlock()
		if list != nil || err != nil {
			found(list, err)
		}
		select {
		case <-again:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func addressOf(t *testing.T, at string) rolebus.Address {
	t.Helper()
	u, err := url.Parse(at)
	require.NoError(t, err)
	a, err := rolebus.ParseAddress(u.Host)
	require.NoError(t, err)
	return a
}

// pool are the servers that a connection may go to, by host and port.
func pool(b *rolebus.Bus) string {
	var all []string
	for _, s := range b.Conn().ServerPool() {
		all = append(all, s.URL.Host)
	}
	return strings.Join(all, " ")
}

// A bus that has no URL finds its server, also one that is found later, and says what it waits for.
func TestABusFindsItsServer(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	log, strategy := &lines{}, telling()
	made := make(chan *rolebus.Bus, 1)
	go func() {
		b, err := rolebus.Connect(t.Context(), "", rolebus.WithDiscovery(strategy), rolebus.WithNode("a"), rolebus.WithLogger(log.logger()))
		if err != nil {
			t.Error(err)
		}
		made <- b
	}()
	strategy.tell(nil, errors.New("the well is dry"))
	eventually(t, "the reason to be told", func() bool { return log.count("the well is dry") > 0 })
	strategy.tell([]rolebus.Address{addressOf(t, srv.URL())}, nil)
	b := <-made
	require.NotNil(t, b)
	require.NoError(t, b.Close())

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := rolebus.Connect(ctx, "", rolebus.WithDiscovery(telling()))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no NATS server is found yet: *nats_test.tells has told nothing")
}

// The pool follows what is found; a failure, an empty list and a partial one take nothing away; a connection that works stays.
func TestThePoolFollowsWhatIsFound(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	here, a, c := addressOf(t, srv.URL()), rolebus.Address{Host: "127.0.0.1", Port: 1}, rolebus.Address{Host: "::1", Port: 2}
	strategy := telling(here)
	b, err := rolebus.Connect(t.Context(), "", rolebus.WithDiscovery(strategy), rolebus.WithNode("a"))
	require.NoError(t, err)
	defer b.Close()
	has := func(want ...rolebus.Address) func() bool {
		return func() bool {
			now := pool(b)
			for _, a := range want {
				if !strings.Contains(" "+now+" ", " "+a.HostPort()+" ") {
					return false
				}
			}
			return strings.Count(now, ":") == strings.Count(pool(b), ":") && len(strings.Fields(now)) == len(want)
		}
	}
	strategy.tell([]rolebus.Address{here, a, c, a}, nil)
	eventually(t, "what is found to be in the pool", has(here, a, c))
	for _, less := range []struct {
		list []rolebus.Address
		err  error
	}{{nil, errors.New("fails")}, {[]rolebus.Address{}, nil}, {[]rolebus.Address{a}, errors.New("half of it")}, {[]rolebus.Address{{Host: "a b"}}, nil}} {
		strategy.tell(less.list, less.err)
	}
	strategy.tell([]rolebus.Address{a, {Host: "::2", Port: 3}}, nil)
	eventually(t, "only what is found, and where it is, to be in the pool", has(here, a, rolebus.Address{Host: "::2", Port: 3}))
	require.Zero(t, b.Conn().Stats().Reconnects)
}

// A bus goes where it is found to go, with the user and the password of the URL, and the certificate of the name that was looked up.
func TestABusFollowsItsServersWithCredentialsAndTLS(t *testing.T) {
	t.Parallel()
	cert, ca := certificate(t, "nats.test")
	cluster := rolebustest.NewServer(t, func(o *server.Options) {
		withTLS(cert)(o)
		o.Username, o.Password = "u", "p@ss,word"
	})
	first, second := cluster.Link(), cluster.Link()
	at := func(link *rolebustest.Link) rolebus.Address {
		a := addressOf(t, link.URL())
		a.TLSName = "nats.test"
		return a
	}
	strategy := telling(at(first))
	from := "tls://u:" + url.QueryEscape("p@ss,word") + "@127.0.0.1:1"
	b, err := rolebus.Connect(t.Context(), from, rolebus.WithDiscovery(strategy), rolebus.WithNode("a"), rolebus.WithNATS(nats.RootCAs(ca), nats.IgnoreDiscoveredServers()))
	require.NoError(t, err)
	defer b.Close()
	strategy.tell([]rolebus.Address{at(second)}, nil)
	eventually(t, "the new address in the pool", func() bool { return strings.Contains(pool(b), at(second).HostPort()) })
	first.Cut()
	eventually(t, "a connection by the new address", func() bool { return b.Connected() && b.Conn().ConnectedAddr() == at(second).HostPort() })
	eventually(t, "the old address to be out of the pool", func() bool { return !strings.Contains(pool(b), at(first).HostPort()) })

	// Of whom the certificate is not is not talked to.
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = rolebus.Connect(ctx, from, rolebus.WithDiscovery(telling(addressOf(t, second.URL()))), rolebus.WithNATS(nats.RootCAs(ca)))
	require.ErrorContains(t, err, "TLSName")
}

// churns is a strategy that tells of a server, and of others that are new each time.
type churns struct{ here rolebus.Address }

func (s churns) Discover(ctx context.Context, found func([]rolebus.Address, error)) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 1; ctx.Err() == nil; i++ {
		found([]rolebus.Address{s.here, {Host: fmt.Sprintf("127.%d.%d.%d", i>>16%255, i>>8%256, i%256), Port: 1}}, nil)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// Where others are found without end, each has its turn again, also one that did not take the connection at first.
func TestAServerHasItsTurnAgainAmongOthersWithoutEnd(t *testing.T) {
	t.Parallel()
	link, log := rolebustest.NewServer(t).Link(), &lines{}
	link.Cut()
	made := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		b, err := rolebus.Connect(ctx, "", rolebus.WithDiscovery(churns{addressOf(t, link.URL())}), rolebus.WithLogger(log.logger()))
		if err == nil {
			err = b.Close()
		}
		made <- err
	}()
	eventually(t, "a try", func() bool { return log.count("no NATS server takes the connection") > 0 })
	link.Mend()
	require.NoError(t, <-made)
}
