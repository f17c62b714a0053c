package nats_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/rolebustest"
)

// What docs/DISCOVERY.md says of a bus with a strategy.

func TestRefusedCredentialsOfAServerThatWasFoundAreAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, func(o *server.Options) { o.Username, o.Password = "u", "right" })
	_, err := rolebus.Connect(t.Context(), "nats://u:wrong@127.0.0.1:1", rolebus.WithDiscovery(telling(addressOf(t, srv.URL()))))
	require.ErrorIs(t, err, nats.ErrAuthorization)
	require.NotContains(t, err.Error(), "wrong")
}

// Whatever else is wrong with a server that was found is waited for, and another one that is found meanwhile is gone to.
func TestABusWaitsForAServerThatTakesIt(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	log, strategy := &lines{}, telling(rolebus.Address{Host: "127.0.0.1", Port: 1})
	made := make(chan error, 1)
	go func() {
		b, err := rolebus.Connect(t.Context(), "", rolebus.WithDiscovery(strategy), rolebus.WithLogger(log.logger()))
		if err == nil {
			err = b.Close()
		}
		made <- err
	}()
	eventually(t, "the reason to be told", func() bool { return log.count("127.0.0.1:1: connection refused") > 0 })
	strategy.tell([]rolebus.Address{addressOf(t, srv.URL())}, nil)
	require.NoError(t, <-made)
}

// A strategy ends with the bus, not before its goodbye.
func TestAStrategyEndsWithTheBus(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	var ended atomic.Bool
	strategy := discovery.Func(func(ctx context.Context, found func([]discovery.Address, error)) error {
		defer ended.Store(true)
		found([]discovery.Address{addressOf(t, srv.URL())}, nil)
		<-ctx.Done()
		return ctx.Err()
	})
	b, err := rolebus.Connect(t.Context(), "", rolebus.WithDiscovery(strategy), rolebus.WithRoles("api"))
	require.NoError(t, err)
	var during atomic.Bool
	b.OnShutdown(func(context.Context) { during.Store(ended.Load()) })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, b.Shutdown(ctx))
	require.False(t, during.Load())
	require.True(t, ended.Load())
}

// Also when Connect fails.
func TestAStrategyEndsWithConnectThatFails(t *testing.T) {
	t.Parallel()
	var ended atomic.Bool
	strategy := discovery.Func(func(ctx context.Context, _ func([]discovery.Address, error)) error {
		<-ctx.Done()
		ended.Store(true)
		return ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := rolebus.Connect(ctx, "", rolebus.WithDiscovery(strategy))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	eventually(t, "the strategy to end", ended.Load)
}

// What other servers a server tells of is used as well, unless nats.go is told not to.
func TestServersThatAServerToldOfAreLeftOutIfTheyAreToBe(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	here, dead := addressOf(t, srv.URL()), rolebus.Address{Host: "127.0.0.1", Port: 1}
	strategy := telling(here, dead)
	b, err := rolebus.Connect(t.Context(), "", rolebus.WithDiscovery(strategy), rolebus.WithNATS(nats.DontRandomize(), nats.IgnoreDiscoveredServers()))
	require.NoError(t, err)
	defer b.Close()
	eventually(t, "both in the pool, in their order", func() bool { return pool(b) == here.HostPort()+" "+dead.HostPort() })
}

// A connection that is made already has its servers.
func TestNewTakesNoStrategy(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc, err := nats.Connect(srv.URL())
	require.NoError(t, err)
	defer nc.Close()
	_, err = rolebus.New(t.Context(), nc, rolebus.WithDiscovery(telling()))
	require.ErrorContains(t, err, "discovery: the connection is made already, and has its servers")
	_, err = rolebus.Connect(t.Context(), "", rolebus.WithDiscovery(nil))
	require.ErrorContains(t, err, "the strategy is nil")
	_, err = rolebus.Connect(t.Context(), "", rolebus.WithDiscovery(discovery.File("")), rolebus.WithTTL(time.Millisecond))
	for _, part := range []string{"the path is empty", "TTL"} {
		require.ErrorContains(t, err, part)
	}
}

// A URL and a strategy: the servers of both, also where the strategy fails.
func TestAURLBesideAStrategy(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	strategy := telling()
	strategy.tell(nil, errors.New("no"))
	b, err := rolebus.Connect(t.Context(), srv.URL(), rolebus.WithDiscovery(strategy))
	require.NoError(t, err)
	defer b.Close()
	strategy.tell([]rolebus.Address{{Host: "127.0.0.1", Port: 1}}, nil)
	eventually(t, "both in the pool", func() bool {
		return len(strings.Fields(pool(b))) == 2 && strings.Contains(pool(b), addressOf(t, srv.URL()).HostPort())
	})
}
