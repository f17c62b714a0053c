package nats_test

import (
	"context"
	"encoding/json"
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

func TestABorrowedConnectionKeepsItsHandlers(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	var lost, back, closed atomic.Int32
	nc, err := nats.Connect(srv.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { lost.Add(1) }),
		nats.ReconnectHandler(func(*nats.Conn) { back.Add(1) }),
		nats.ClosedHandler(func(*nats.Conn) { closed.Add(1) }))
	require.NoError(t, err)
	defer nc.Close()
	b, err := rolebus.New(t.Context(), nc, rolebus.WithNode("a"), rolebus.WithTTL(ttl), rolebus.WithRoles("x"))
	require.NoError(t, err)
	srv.Restart()
	eventually(t, "the user's own handlers", func() bool { return lost.Load() == 1 && back.Load() == 1 })
	require.NoError(t, b.AddRoles(t.Context(), "y"))
	require.NoError(t, b.Close())
	require.True(t, nc.IsConnected(), "it is not ours to close")
	require.Zero(t, closed.Load())

	b, err = rolebus.New(t.Context(), nc, rolebus.WithNode("a"))
	require.NoError(t, err)
	nc.Close()
	<-b.Done()
	require.ErrorIs(t, b.Err(), nats.ErrConnectionClosed)
	require.ErrorIs(t, b.AddRoles(t.Context(), "z"), nats.ErrConnectionClosed)
	eventually(t, "the closed handler", func() bool { return closed.Load() == 1 })
	_, err = rolebus.New(t.Context(), nc)
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
}

func TestAnyKVClientSeesReadableJSONAndNoHeartbeats(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	js := jetStream(t, srv.Conn())
	a := bus(srv, "a.b", rolebus.WithRoles("x"), rolebus.WithMeta(map[string]string{"zone": "1"}))
	kv, err := js.KeyValue(t.Context(), "rolebus")
	require.NoError(t, err)
	w, err := kv.WatchAll(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Stop()) }()
	next := func() jetstream.KeyValueEntry {
		t.Helper()
		select {
		case entry := <-w.Updates():
			return entry
		case <-time.After(30 * time.Second):
			t.Fatal("the watcher hears nothing")
			return nil
		}
	}
	entry := next()
	require.Equal(t, "default.a=2Eb", entry.Key())
	var record map[string]any
	require.NoError(t, json.Unmarshal(entry.Value(), &record))
	require.Equal(t, []any{"x"}, record["roles"])
	require.Equal(t, "a.b", record["node"])
	require.Equal(t, map[string]any{"zone": "1"}, record["meta"])
	require.Nil(t, next(), "the end of what was there")
	before := lastSeq(t, js)
	eventually(t, "several heartbeats", func() bool { return lastSeq(t, js) >= before+5 })
	require.NoError(t, a.AddRoles(t.Context(), "y"))
	entry = next()
	require.NoError(t, json.Unmarshal(entry.Value(), &record))
	require.Equal(t, []any{"x", "y"}, record["roles"], "no heartbeat in between")
	require.Equal(t, a.Generation(), entry.Revision())
	require.NoError(t, a.Close())
	entry = next()
	require.Equal(t, jetstream.KeyValueDelete, entry.Operation())
	require.NoError(t, json.Unmarshal(entry.Value(), &record))
	require.Equal(t, "left", record["gone"])
	_, err = kv.Get(t.Context(), "default.a=2Eb")
	require.ErrorIs(t, err, jetstream.ErrKeyNotFound)
}

func TestAChangeDuringAnOutageIsBroughtToTheBucket(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := bus(srv, "a"), bus(srv, "b")
	srv.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, a.AddRoles(ctx, "x"), rolebus.ErrNotConfirmed)
	done := make(chan error, 1)
	go func() { done <- a.AddRoles(context.Background(), "y") }()
	srv.Start()
	require.NoError(t, <-done)
	rolebustest.WaitRoles(t, b, "a", "x", "y")
	require.ErrorIs(t, a.Leave(ctx, "default"), context.DeadlineExceeded)
	require.Equal(t, []string{"default"}, a.Scopes(), "a context that is over leaves nothing")

	srv.Stop()
	require.ErrorIs(t, a.Leave(t.Context(), "default"), rolebus.ErrNotConfirmed)
	require.Empty(t, a.Scopes(), "left all the same")
	srv.Start()
	rolebustest.WaitRoles(t, b, "a")
}

func TestAFastTalkerDoesNotLoseASlowListener(t *testing.T) {
	// A client that drops announcements finds out and reads what it missed.
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a", rolebus.WithTTL(time.Minute))
	o := srv.Bus(rolebus.WithObserver(), rolebus.WithSyncInterval(time.Hour))
	nc := srv.Conn()
	flood := make([]byte, 0)
	for range 200_000 {
		require.NoError(t, nc.Publish("rolebus.changes.default.noise", flood))
	}
	require.NoError(t, a.AddRoles(t.Context(), "x"))
	require.NoError(t, nc.FlushTimeout(time.Minute), "so many messages take their time on a busy machine")
	rolebustest.WaitRoles(t, o, "a", "x")
}

func TestOpenJoinAndCloseAtOnce(t *testing.T) {
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				b, err := rolebus.New(context.Background(), nc, rolebus.WithNode(string(rune('a'+i))), rolebus.WithRoles("x"))
				if err != nil {
					t.Error(err)
					return
				}
				var calls sync.WaitGroup
				for _, scope := range []string{"s", "t", "s"} {
					calls.Go(func() { _, _ = b.Join(context.Background(), scope) })
					calls.Go(func() { _ = b.In(scope).AddRoles(context.Background(), "y") })
					calls.Go(func() { _ = b.Leave(context.Background(), scope) })
				}
				for range j % 3 {
					calls.Go(func() { _ = b.Close() })
				}
				calls.Go(func() {
					for range b.Watch(context.Background()) {
					}
				})
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				calls.Wait()
			}
		})
	}
	wg.Wait()
	js := jetStream(t, nc)
	for _, scope := range []string{"default", "s", "t"} {
		require.Empty(t, stored(t, js, "rolebus", scope))
	}
}

// A server that hangs, or to which the path is broken unnoticed, is left for another one before the lease ends.
func TestASilentServerIsLeft(t *testing.T) {
	t.Parallel()
	for name, probes := range map[string]time.Duration{"quiet": 0, "with traffic": 50 * time.Millisecond, "full of what was sent": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := rolebustest.NewServer(t)
			link := srv.Link()
			provision(t, srv)
			o := bus(srv, "o", rolebus.WithObserver(), rolebus.WithTTL(5*time.Second))
			bus(srv, "c", rolebus.WithRoles("z"), rolebus.WithTTL(5*time.Second), rolebus.WithProbeInterval(probes))
			seen := watch(t, o.Scope)
			b, err := rolebus.Connect(t.Context(), link.URL()+","+srv.URL(), rolebus.WithNode("b"), rolebus.WithRoles("x"),
				rolebus.WithTTL(5*time.Second), rolebus.WithProbeInterval(probes), rolebus.WithNATS(nats.DontRandomize()))
			require.NoError(t, err)
			defer func() { require.NoError(t, b.Close()) }()
			eventually(t, "b", func() bool { return o.Nodes("x").Len() == 1 })
			link.Stall()
			if name == "full of what was sent" { // and so nats.go waits, and keeps its lock
				for range 100 {
					if b.Conn().Publish("large", make([]byte, 1_000_000)) != nil {
						break
					}
				}
			}
			require.NoError(t, b.AddRoles(t.Context(), "y"), "by another way")
			eventually(t, "b's new role", func() bool { return o.Nodes("y").Len() == 1 })
			require.NotContains(t, seen.lines("b"), "NodeLeft expired")
		})
	}
}

// nats.go keeps its lock while it dials, and so keeps everybody waiting who asks it anything. Connected does not ask it.
func TestConnectedNeverWaits(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	b := bus(link, "b", rolebus.WithNATS(nats.Timeout(time.Hour), nats.ReconnectWait(0)))
	require.True(t, b.Connected())
	link.Stall()
	link.Reset() // it can connect again, and no server says anything
	eventually(t, "it to know", func() bool { return !b.Connected() })
	asked := make(chan bool)
	eventually(t, "nats.go to dial", func() bool {
		go func() { asked <- b.Conn().IsConnected() }()
		select {
		case <-asked:
			return false
		case <-time.After(100 * time.Millisecond):
			return true
		}
	})
	require.False(t, b.Connected())
	link.Mend()
	eventually(t, "it to know", b.Connected)
	<-asked // true, or false if it was before that
}
