package nats_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// What nats.go makes of the lists that it is given.

// With nats.MaxReconnects nats.go lets a server go that has been tried so often, and not the connection for that.
func TestADeadServerDoesNotTakeTheLimitOfTriesOfAnother(t *testing.T) {
	t.Parallel()
	link := rolebustest.NewServer(t).Link()
	strategy := telling(addressOf(t, link.URL()), rolebus.Address{Host: "127.0.0.1", Port: 1})
	b, err := rolebus.Connect(t.Context(), "", rolebus.WithDiscovery(strategy), rolebus.WithNATS(nats.MaxReconnects(2)))
	require.NoError(t, err)
	defer b.Close()
	for i := range 5 {
		link.Reset()
		eventually(t, "the connection to be back", func() bool { return b.Conn().Stats().Reconnects > uint64(i) && b.Connected() })
		require.NoError(t, b.Err())
	}
}

// Servers of the lowest priority come first whenever the connection is lost, wherever it was.
func TestPriorityCountsEachTimeThatTheConnectionIsLost(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	first, second, third := srv.Link(), srv.Link(), srv.Link()
	at := func(l *rolebustest.Link, priority uint16) rolebus.Address {
		a := addressOf(t, l.URL())
		a.Priority = priority
		return a
	}
	first.Cut()
	strategy := telling(at(first, 1), at(second, 2), at(third, 2))
	b, err := rolebus.Connect(t.Context(), "", rolebus.WithDiscovery(strategy), rolebus.WithNATS(nats.DontRandomize(), nats.IgnoreDiscoveredServers()))
	require.NoError(t, err)
	defer b.Close()
	is := func(l *rolebustest.Link) func() bool {
		return func() bool { return b.Connected() && b.Conn().ConnectedAddr() == at(l, 0).HostPort() }
	}
	eventually(t, "a connection to the second", is(second))
	second.Cut()
	eventually(t, "a connection to the third", is(third))
	first.Mend()
	second.Mend()
	eventually(t, "the list to begin anew", func() bool { return pool(b)[:len(at(first, 0).HostPort())] == at(first, 0).HostPort() })
	third.Reset()
	eventually(t, "a connection", b.Connected)
	eventually(t, "a connection to the first", is(first))
	require.Equal(t, uint64(2), b.Conn().Stats().Reconnects, "and not elsewhere before")
}

// lists notes what hooks are told of servers.
type lists struct {
	mu  sync.Mutex
	all []rolebus.ServersInfo
}

func (l *lists) OnServers(info rolebus.ServersInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, info)
}

// Hooks are told what came and what went, and nothing twice, whatever becomes of the connection.
func TestHooksAreToldOfServersOnce(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	here, dead := addressOf(t, link.URL()), rolebus.Address{Host: "127.0.0.1", Port: 1, Priority: 5}
	heard, strategy := &lists{}, telling(here)
	b, err := rolebus.Connect(t.Context(), "", rolebus.WithDiscovery(strategy), rolebus.WithHooks(heard), rolebus.WithNATS(nats.IgnoreDiscoveredServers()))
	require.NoError(t, err)
	defer b.Close()
	eventually(t, "the first list to be told", func() bool {
		heard.mu.Lock()
		defer heard.mu.Unlock()
		return len(heard.all) == 1
	})
	strategy.tell([]rolebus.Address{here, dead}, nil)
	eventually(t, "both in the pool", func() bool { return len(b.Conn().ServerPool()) == 2 })
	for i := range 3 {
		link.Reset()
		eventually(t, "the connection to be back", func() bool { return b.Conn().Stats().Reconnects > uint64(i) && b.Connected() })
	}
	strategy.tell([]rolebus.Address{here}, nil)
	eventually(t, "the last list to be told", func() bool {
		heard.mu.Lock()
		defer heard.mu.Unlock()
		return len(heard.all) > 0 && len(heard.all[len(heard.all)-1].Went) > 0
	})
	one, other := here.HostPort(), dead.HostPort()
	require.Equal(t, []rolebus.ServersInfo{
		{Servers: []string{one}, Came: []string{one}, Went: []string{}},
		{Servers: []string{one, other}, Came: []string{other}, Went: []string{}},
		{Servers: []string{one}, Came: []string{}, Went: []string{other}},
	}, heard.all)
}

// A thousand servers that are others at each look hold up nothing, and the log tells what cannot be learnt, not without end.
func TestListsThatChangeWithoutEnd(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	log, here := &lines{}, addressOf(t, srv.URL())
	list := func(round int) []rolebus.Address {
		all := []rolebus.Address{here}
		for i := range 1023 {
			all = append(all, rolebus.Address{Host: fmt.Sprintf("10.%d.%d.%d", round%200, i/250, i%250+1)})
		}
		return all
	}
	strategy := telling(list(0)...)
	b, err := rolebus.Connect(t.Context(), srv.URL(), rolebus.WithDiscovery(strategy), rolebus.WithLogger(log.logger()), rolebus.WithTTL(2*time.Second))
	require.NoError(t, err)
	defer b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	for round := 1; ctx.Err() == nil; round++ {
		strategy.tell(list(round), nil)
		strategy.tell(list(round), errors.New("not all of it"))
		require.NoError(t, b.SetRoles(t.Context(), "api"))
		require.NoError(t, b.SetRoles(t.Context(), "web"))
		require.True(t, b.Connected())
	}
	require.LessOrEqual(t, log.count("the servers that the connection may go to"), 80)
	eventually(t, "what failed to be told", func() bool { return log.count("not all of it") > 0 })
	require.Equal(t, 1, log.count("not all of it"))
	strategy.tell(list(1000), nil)
	eventually(t, "the last list", func() bool {
		return slices.ContainsFunc(b.Conn().ServerPool(), func(s nats.Server) bool { return s.URL.Host == list(1000)[1].HostPort() })
	})
}
