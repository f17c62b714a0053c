package nats_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// told is a hook that keeps what it is told of the connection, the bucket, and what comes with the start.
type told struct {
	mu    sync.Mutex
	infos []any
}

func (h *told) add(info any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.infos = append(h.infos, info)
}

func (h *told) OnStarted(info rolebus.StartedInfo)           { h.add(info) }
func (h *told) OnScopeJoined(info rolebus.ScopeJoinedInfo)   { h.add(info) }
func (h *told) OnScopeLeft(info rolebus.ScopeLeftInfo)       { h.add(info) }
func (h *told) OnConnected(info rolebus.ConnectedInfo)       { h.add(info) }
func (h *told) OnDisconnected(info rolebus.DisconnectedInfo) { h.add(info) }
func (h *told) OnBucket(info rolebus.BucketInfo)             { h.add(info) }
func (h *told) OnIgnored(info rolebus.IgnoredInfo)           { h.add(info) }

// all returns what it was told so far.
func (h *told) all() []any {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.infos)
}

// lastTold waits until what it was told last is one kind of event, and returns that.
func lastTold[Info any](t *testing.T, h *told) (info Info) {
	t.Helper()
	eventually(t, "the hook to be told", func() (ok bool) {
		if all := h.all(); len(all) > 0 {
			info, ok = all[len(all)-1].(Info)
		}
		return ok
	})
	return info
}

func TestHooksHearInTheOrderOfTheStart(t *testing.T) {
	srv := rolebustest.NewServer(t)
	h := &told{}
	began := time.Now()
	b := srv.Bus(rolebus.WithNode("a"), rolebus.WithRoles("x"), rolebus.WithScopes("s"), rolebus.WithHooks(h))
	started := lastTold[rolebus.StartedInfo](t, h)
	require.Equal(t, "a", started.Node)
	require.Equal(t, []string{"default", "s"}, started.Scopes)
	require.Equal(t, []rolebus.Role{"x"}, started.Roles.Slice())
	require.Positive(t, started.Took)
	require.Less(t, started.Took, time.Since(began))
	all := h.all()
	require.Len(t, all, 5)
	connected := all[0].(rolebus.ConnectedInfo)
	require.Equal(t, "server-1", connected.Server)
	require.Contains(t, srv.URL(), connected.Address)
	require.Zero(t, connected.After)
	require.Equal(t, rolebus.BucketInfo{Bucket: "rolebus", Made: true}, all[1])
	require.Equal(t, "default", all[2].(rolebus.ScopeJoinedInfo).Scope)
	require.Equal(t, 1, all[2].(rolebus.ScopeJoinedInfo).Nodes)
	require.Equal(t, "s", all[3].(rolebus.ScopeJoinedInfo).Scope)
	require.NoError(t, b.Close())
	all = h.all()[5:]
	require.Len(t, all, 2, "that Close closes the connection is no event")
	for _, info := range all {
		require.NoError(t, info.(rolebus.ScopeLeftInfo).Err)
	}
}

func TestHooksHearOfAConnectionThatIsLost(t *testing.T) {
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	var lost, back atomic.Int32
	h := &told{}
	link.Bus(rolebus.WithHooks(h), rolebus.WithNATS(
		nats.DisconnectErrHandler(func(*nats.Conn, error) { lost.Add(1) }),
		nats.ReconnectHandler(func(*nats.Conn) { back.Add(1) })))
	lastTold[rolebus.StartedInfo](t, h)
	connected := h.all()[0].(rolebus.ConnectedInfo)
	for round := range int32(2) {
		link.Cut()
		down := lastTold[rolebus.DisconnectedInfo](t, h)
		require.Error(t, down.Err)
		require.Equal(t, []string{connected.Server, connected.Address}, []string{down.Server, down.Address})
		link.Mend()
		up := lastTold[rolebus.ConnectedInfo](t, h)
		require.Equal(t, "server-1", up.Server)
		require.Positive(t, up.After)
		eventually(t, "the user's own handlers", func() bool { return lost.Load() == round+1 && back.Load() == round+1 })
	}
}

func TestHooksHearOfABorrowedConnection(t *testing.T) {
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	h := &told{}
	b, err := rolebus.New(t.Context(), nc, rolebus.WithHooks(h))
	require.NoError(t, err)
	lastTold[rolebus.StartedInfo](t, h)
	require.IsType(t, rolebus.ConnectedInfo{}, h.all()[0])
	srv.Stop()
	down := lastTold[rolebus.DisconnectedInfo](t, h)
	require.Equal(t, "server-1", down.Server)
	srv.Start()
	require.Positive(t, lastTold[rolebus.ConnectedInfo](t, h).After)
	nc.Close()
	<-b.Done()
	i := slices.IndexFunc(h.all(), func(info any) bool {
		down, ok := info.(rolebus.DisconnectedInfo)
		return ok && down.Err != nil
	})
	require.GreaterOrEqual(t, i, 0)
	require.ErrorIs(t, h.all()[i].(rolebus.DisconnectedInfo).Err, nats.ErrConnectionClosed)
}

func TestHooksHearWhatWasMended(t *testing.T) {
	srv := rolebustest.NewServer(t)
	require.NoError(t, srv.Bus().Close())
	js, err := jetstream.New(srv.Conn())
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	cfg := stream.CachedInfo().Config
	cfg.MaxAge = time.Hour
	_, err = js.UpdateStream(t.Context(), cfg)
	require.NoError(t, err)
	h := &told{}
	srv.Bus(rolebus.WithHooks(h))
	lastTold[rolebus.StartedInfo](t, h)
	require.Equal(t, rolebus.BucketInfo{Bucket: "rolebus", Mended: []string{"max age is 1h0m0s, must be none"}}, h.all()[1])
}

func TestHooksHearWhatIsIgnored(t *testing.T) {
	srv := rolebustest.NewServer(t)
	h := &told{}
	srv.Bus(rolebus.WithHooks(h))
	lastTold[rolebus.StartedInfo](t, h)
	nc := srv.Conn()
	for total := range uint64(2) {
		require.NoError(t, nc.Publish("rolebus.changes.default.n", []byte("garbage")))
		eventually(t, "both to be told", func() bool {
			ignored, ok := h.all()[len(h.all())-1].(rolebus.IgnoredInfo)
			return ok && ignored.Total == total+1
		})
		ignored := lastTold[rolebus.IgnoredInfo](t, h)
		require.Equal(t, "rolebus.changes.default.n", ignored.Subject)
		require.Error(t, ignored.Err)
	}
}

// A Connect that fails waits for the hooks, too.
func TestAfterAConnectThatFailedNoHookIsCalled(t *testing.T) {
	srv := rolebustest.NewServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var returned atomic.Bool
	h := connectedHook(func() {
		cancel()
		for range 10_000 {
			runtime.Gosched() // time enough for Connect to be too early
		}
		returned.Store(true)
	})
	_, err := rolebus.Connect(ctx, srv.URL(), rolebus.WithReplicas(5), rolebus.WithHooks(h))
	require.Error(t, err)
	require.True(t, returned.Load())
}

type connectedHook func()

func (f connectedHook) OnConnected(rolebus.ConnectedInfo) { f() }
