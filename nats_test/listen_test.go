package nats_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// answered asks on a subject, and returns what was answered, or "nobody" if nobody listens.
func answered(t *testing.T, nc *nats.Conn, subject, say string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	msg, err := nc.RequestWithContext(ctx, subject, []byte(say))
	if errors.Is(err, nats.ErrNoResponders) {
		return "nobody"
	}
	require.NoError(t, err)
	return string(msg.Data)
}

// echo answers what was said.
func echo(msg *nats.Msg) { _ = msg.Respond(msg.Data) }

func TestAPackageThatBuildsOnTheBusHasItsBucketItsLogAndItsEnd(t *testing.T) {
	srv := rolebustest.NewServer(t)
	var mu sync.Mutex
	var logged strings.Builder
	log := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logged.Write(p)
	}), nil))
	b := bus(srv, "a", rolebus.WithBucket("mine"), rolebus.WithLogger(log))
	require.Equal(t, "mine", b.Bucket())
	require.Same(t, b, b.In("s").Bus())
	b.Logger().Info("said by a package")
	mu.Lock()
	require.Regexp(t, `said by a package.* node=a`, logged.String())
	mu.Unlock()
	bus(srv, "b").Logger().Info("nobody hears it")

	require.NoError(t, b.Context().Err())
	began, ended := make(chan struct{}), atomic.Bool{}
	require.NoError(t, b.Go(func(ctx context.Context) {
		close(began)
		<-ctx.Done()
		ended.Store(errors.Is(context.Cause(ctx), rolebus.ErrClosed))
	}))
	<-began
	require.NoError(t, b.Close())
	require.True(t, ended.Load(), "Close waits for it")
	require.ErrorIs(t, context.Cause(b.Context()), rolebus.ErrClosed)
	require.ErrorIs(t, b.Go(func(context.Context) { t.Error("called") }), rolebus.ErrClosed)
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestAScopeKeepsOneOfEachThing(t *testing.T) {
	b := bus(rolebustest.NewServer(t), "a")
	type key struct{ of string }
	var made atomic.Int64
	var got [8]any
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			got[i] = b.In("s").Keep(key{"x"}, func() any {
				made.Add(1)
				return b.In("s").Keep(key{"inner"}, func() any { return new(int) })
			})
		})
	}
	all.Wait()
	require.Equal(t, int64(1), made.Load())
	for _, thing := range got {
		require.Same(t, got[0], thing)
	}
	require.Same(t, got[0], b.In("s").Keep(key{"inner"}, nil2))
	require.NotSame(t, got[0], b.Keep(key{"x"}, func() any { return new(int) }), "another scope's")
	for range 2 {
		require.PanicsWithValue(t, "of make", func() { b.Keep(key{"bad"}, func() any { panic("of make") }) })
	}
	require.Panics(t, func() { b.Keep(nil, nil2) })
	require.Panics(t, func() { b.Keep(key{}, nil) })
}

func nil2() any { return nil }

func TestASubscriptionLastsAsLongAsTheBus(t *testing.T) {
	srv := rolebustest.NewServer(t)
	nc, other := srv.Conn(), srv.Conn()
	b, err := rolebus.New(t.Context(), nc, rolebus.WithNode("a"), rolebus.WithTTL(ttl))
	require.NoError(t, err)
	before := nc.NumSubscriptions()
	first, err := b.Subscribe("x.*", echo)
	require.NoError(t, err)
	second, err := b.Subscribe("y", echo)
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	require.Equal(t, "hello", answered(t, other, "x.1", "hello"))
	first.Stop()
	first.Stop()
	eventually(t, "its end", func() bool { return answered(t, other, "x.1", "hello") == "nobody" })
	require.Equal(t, "you", answered(t, other, "y", "you"))
	eventually(t, "only the other to be left", func() bool { return nc.NumSubscriptions() == before+1 })
	require.NoError(t, b.Close())
	require.Equal(t, 1, nc.NumSubscriptions(), "nats.go's own, for answers")
	require.NoError(t, nc.Flush(), "until the server knows of it")
	require.Equal(t, "nobody", answered(t, other, "y", "you"))
	second.Stop()
	_, err = b.Subscribe("y", echo)
	require.ErrorIs(t, err, rolebus.ErrClosed)
	require.ErrorContains(t, err, `rolebus: subscribe "y"`)
}

func TestASubscriptionThatCannotBe(t *testing.T) {
	b := bus(rolebustest.NewServer(t), "a")
	_, err := b.Subscribe("a b", echo)
	require.ErrorIs(t, err, nats.ErrBadSubject)
	require.Panics(t, func() { _, _ = b.Subscribe("a", nil) })
}

// The messages of one subscription come one after another, and in order, however many wait: more than nats.go keeps by itself.
func TestASubscriptionDropsNothing(t *testing.T) {
	srv := rolebustest.NewServer(t)
	b, other := bus(srv, "a"), srv.Conn()
	large := make([]byte, 1<<20-100)
	n := nats.DefaultSubPendingBytesLimit/len(large) + 10
	release, all := make(chan struct{}), make(chan struct{})
	next := 0
	_, err := b.Subscribe("x", func(msg *nats.Msg) {
		<-release
		if int(msg.Data[0]) != next {
			t.Errorf("%d, not %d", msg.Data[0], next)
		}
		if next++; next == n {
			close(all)
		}
	})
	require.NoError(t, err)
	require.NoError(t, b.Conn().Flush())
	for i := range n {
		large[0] = byte(i)
		require.NoError(t, other.Publish("x", large))
		require.NoError(t, other.Flush()) // the server does not keep so much for a slow client
	}
	require.NoError(t, b.Conn().Flush(), "all has come")
	close(release)
	select {
	case <-all:
	case <-time.After(time.Minute):
		t.Fatal("something was dropped")
	}
}

func TestAnAddressIsOfOneLife(t *testing.T) {
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a.1", rolebus.WithRoles("x"), rolebus.WithScopes("s t"))
	n := a.In("s t").Snapshot().Node("a.1")
	require.Equal(t, fmt.Sprintf("rolebus.call.s=20t.a=2E1.%d.my=2Emethod", n.Incarnation()), a.In("s t").Address("call", n, "my.method"))
	for _, kind := range []string{"", "a.b", "a b", "changes", "lease", "probe", "suspect", "witness", strings.Repeat("a", 201)} {
		require.Panics(t, func() { a.Address(kind, n, "m") }, kind)
		_, err := a.Listen(kind, "m", echo)
		require.ErrorIs(t, err, rolebus.ErrBadName, kind)
	}
	for _, name := range []string{"", "\xff", strings.Repeat("a", 201), strings.Repeat(".", 67)} {
		require.Panics(t, func() { a.Address("call", n, name) }, name)
		_, err := a.Listen("call", name, echo)
		require.ErrorIs(t, err, rolebus.ErrBadName, name)
	}
	require.Panics(t, func() { a.Address("call", nil, "m") })
	require.Panics(t, func() { a.In("").Address("call", n, "m") })
	_, err := a.In("").Listen("call", "m", echo)
	require.ErrorIs(t, err, rolebus.ErrBadName)
	require.Panics(t, func() { _, _ = a.Listen("call", "m", nil) })
	o := bus(srv, "o", rolebus.WithObserver())
	_, err = o.Listen("call", "m", echo)
	require.ErrorIs(t, err, rolebus.ErrReadOnly)
	require.Equal(t, a.Address("call", n, "m"), o.Address("call", n, "m"))
	require.NoError(t, a.Close())
	_, err = a.Listen("call", "m", echo)
	require.ErrorIs(t, err, rolebus.ErrClosed)
}

func TestALifeIsListenedForFromItsFirstAnnouncementOn(t *testing.T) {
	srv := rolebustest.NewServer(t)
	a, b := bus(srv, "a"), bus(srv, "b")
	s := a.In("s")
	_, err := s.Listen("call", "m", echo)
	require.NoError(t, err, "before it is joined")
	watcher, err := b.Join(t.Context(), "s")
	require.NoError(t, err)
	// Whoever hears of a life asks it at once.
	var mu sync.Mutex
	var lives []uint64
	asking, stop := context.WithCancel(t.Context())
	defer stop()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for ev := range watcher.Watch(asking) {
			if ev.Node.Name() != "a" || ev.Kind != rolebus.NodeJoined {
				continue
			}
			said := answered(t, b.Conn(), watcher.Address("call", ev.Node, "m"), "you")
			if said != "you" {
				t.Errorf("life %d: %s", ev.Node.Incarnation(), said)
			}
			mu.Lock()
			lives = append(lives, ev.Node.Incarnation())
			mu.Unlock()
		}
	}()
	const rounds = 20
	var last *rolebus.Node
	for i := range rounds {
		require.NoError(t, s.AddRoles(t.Context(), "x"))
		eventually(t, "this life to be asked", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(lives) == i+1
		})
		if last != nil {
			require.Equal(t, "nobody", answered(t, b.Conn(), s.Address("call", last, "m"), "you"), "the life before")
		}
		last = s.Snapshot().Node("a")
		require.NoError(t, a.Leave(t.Context(), "s"))
		eventually(t, "nobody to listen", func() bool {
			return answered(t, b.Conn(), watcher.Address("call", last, "m"), "you") == "nobody"
		})
	}
	stop()
	<-asked
	require.True(t, slices.IsSorted(lives))
	require.Len(t, slices.Compact(lives), rounds)
}

func TestListenInAScopeThatIsJoinedIsInForceAtOnce(t *testing.T) {
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	a, err := rolebus.New(t.Context(), nc, rolebus.WithNode("a"), rolebus.WithTTL(ttl))
	require.NoError(t, err)
	sub, err := a.Listen("call", "m", echo)
	require.NoError(t, err)
	mine := a.Address("call", a.Snapshot().Node("a"), "m")
	require.Equal(t, "you", answered(t, nc, mine, "you"))
	sub.Stop()
	sub.Stop()
	eventually(t, "its end", func() bool { return answered(t, nc, mine, "you") == "nobody" })
	_, err = a.Listen("call", "m", func(msg *nats.Msg) { _ = msg.Respond([]byte("another")) })
	require.NoError(t, err)
	require.Equal(t, "another", answered(t, nc, mine, "you"))
	require.NoError(t, a.Close())
	require.Equal(t, 1, nc.NumSubscriptions(), "nats.go's own, for answers")
	require.NoError(t, nc.Flush(), "until the server knows of it")
	require.Equal(t, "nobody", answered(t, nc, mine, "you"))
}
