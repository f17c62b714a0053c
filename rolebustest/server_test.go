package rolebustest_test

import (
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

const bucketStream = "KV_rolebus"

func TestRestartKeepsBucketAndBus(t *testing.T) {
	t.Parallel()
	s := rolebustest.NewServer(t)
	addr, nc := s.URL(), s.Conn()
	a, b := s.Bus(rolebus.WithRoles("api")), s.Bus()
	rolebustest.WaitRoles(t, b, a.Name(), "api")
	made := streamInfo(t, nc).Created

	s.Restart()

	require.Equal(t, addr, s.URL())
	require.NoError(t, a.AddRoles(t.Context(), "db"))
	rolebustest.WaitRoles(t, b, a.Name(), "db", "api") // in any order
	rolebustest.Eventually(t, "the plain connection to be back", nc.IsConnected)
	require.Equal(t, made, streamInfo(t, nc).Created, "the bucket was made anew")
}

func TestStopAndStartTwiceIsOnce(t *testing.T) {
	t.Parallel()
	s := rolebustest.NewServer(t)
	s.Start()
	require.True(t, s.Running())
	s.Stop()
	s.Stop()
	require.False(t, s.Running())
	_, err := nats.Connect(s.URL())
	require.ErrorIs(t, err, nats.ErrNoServers)
	s.Start()
	s.Start()
	s.Conn()
	s.Kill()
	require.False(t, s.Running())
	s.Start()
	s.Isolate()
	s.Rejoin()
	s.Conn()
}

func TestStartWaitsForItsPort(t *testing.T) {
	t.Parallel()
	var tries atomic.Int64
	s := rolebustest.NewServer(t, func(*server.Options) { tries.Add(1) })
	s.Stop()
	u, err := url.Parse(s.URL())
	require.NoError(t, err)
	other, err := net.Listen("tcp", u.Host)
	require.NoError(t, err)
	started := make(chan struct{})
	go func() {
		defer close(started)
		s.Start()
	}()
	rolebustest.Eventually(t, "the start to be tried twice", func() bool { return tries.Load() > 2 })
	require.NoError(t, other.Close())
	<-started
	s.Conn()
}

func TestOptionsOfServer(t *testing.T) {
	t.Parallel()
	starts := 0
	s := rolebustest.NewServer(t, func(o *server.Options) {
		starts++
		o.Users = []*server.User{{Username: "app", Password: "secret"}}
	})
	_, err := nats.Connect(s.URL())
	require.ErrorIs(t, err, nats.ErrAuthorization)
	user := nats.UserInfo("app", "secret")
	s.Conn(user)
	b := s.Bus(rolebus.WithNATS(user), rolebus.WithNode("me"))
	require.Equal(t, "me", b.Name())
	s.Restart()
	require.Equal(t, 2, starts)
}

func TestEndClosesBusesBeforeTheServer(t *testing.T) {
	t.Parallel()
	var b *rolebus.Bus
	var nc *nats.Conn
	var s *rolebustest.Server
	var tb *standIn
	require.Empty(t, failure(func(t *standIn) {
		tb = t
		s = rolebustest.NewServer(t)
		nc, b = s.Conn(), s.Link().Bus(rolebus.WithRoles("api"))
	}))
	require.Empty(t, tb.logged, "the bus could not say goodbye")
	require.ErrorIs(t, b.Err(), rolebus.ErrClosed)
	require.True(t, nc.IsClosed())
	require.False(t, s.Running())
	require.NoDirExists(t, tb.dirs[0])
}

func TestFailuresSayWhy(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]func(*standIn){
		"rolebustest: server: ": func(t *standIn) {
			rolebustest.NewServer(t, func(o *server.Options) { o.ServerName = "a b" })
		},
		"rolebustest: a bus to nats://127.0.0.1:": func(t *standIn) {
			rolebustest.NewServer(t).Bus(rolebus.WithTTL(0))
		},
		"rolebustest: a connection to nats://127.0.0.1:": func(t *standIn) {
			s := rolebustest.NewServer(t)
			s.Stop()
			s.Conn()
		},
	} {
		require.Contains(t, failure(f), want)
	}
}

func streamInfo(t *testing.T, nc *nats.Conn) *jetstream.StreamInfo {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), bucketStream)
	require.NoError(t, err)
	return stream.CachedInfo()
}

// logged tells how long something took, for whoever runs the tests with -v.
func logged(t *testing.T, what string, f func()) {
	t.Helper()
	start := time.Now()
	f()
	t.Logf("%s: %v", what, time.Since(start).Round(time.Millisecond))
}
