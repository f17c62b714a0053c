package nats_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// borrowing is a bus on a connection that it does not own.
func borrowing(t *testing.T, nc *nats.Conn, name string, opts ...rolebus.Option) *rolebus.Bus {
	t.Helper()
	b, err := rolebus.New(t.Context(), nc, append([]rolebus.Option{rolebus.WithNode(name), rolebus.WithTTL(ttl)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// What was subscribed is subscribed on the connection that takes the place of one that nats.go gives up; and so is what is subscribed
// meanwhile.
func TestSubscriptionsOutliveAConnection(t *testing.T) {
	t.Parallel()
	url, _ := reloadable(t, func(o *server.Options) { o.MaxControlLine = 1024 })
	a := connect(t, url, rolebus.WithNode("a"))
	other, err := nats.Connect(url)
	require.NoError(t, err)
	defer other.Close()
	_, err = a.Subscribe("x", echo)
	require.NoError(t, err)
	_, err = a.Listen("call", "m", echo)
	require.NoError(t, err)
	stopped, err := a.Subscribe("stopped", echo)
	require.NoError(t, err)
	mine := a.Address("call", a.Snapshot().Node("a"), "m")
	for round := range 5 {
		stopping, err := a.Subscribe("stopping", echo)
		require.NoError(t, err)
		before := a.Conn()
		asked := uint64(0)
		eventually(t, "the connection to be given up", func() bool {
			// The server ends the connection for it. Its error, for which the client does not come back, can be lost with the connection.
			if lives := before.Stats().Reconnects + 1; lives > asked && before.IsConnected() {
				asked = lives
				_ = before.Publish(strings.Repeat("x", 2000), nil)
			}
			return before.IsClosed()
		})
		stopping.Stop()
		late := fmt.Sprint("late.", round)
		_, err = a.Subscribe(late, echo)
		require.NoError(t, err, "there is soon another connection")
		_, err = a.Listen("call", late, echo)
		require.NoError(t, err)
		eventually(t, "another connection", func() bool { return a.Conn() != before && a.Conn().IsConnected() })
		eventually(t, "all to be subscribed", func() bool { return answered(t, other, late, "hello") == "hello" })
		for _, subject := range []string{"x", mine, a.Address("call", a.Snapshot().Node("a"), late)} {
			require.Equal(t, "you", answered(t, other, subject, "you"))
		}
		require.Equal(t, "nobody", answered(t, other, "stopping", "you"))
	}
	stopped.Stop()
	eventually(t, "its end", func() bool { return answered(t, other, "stopped", "you") == "nobody" })
}

// The message of a connection that was given up is handed on to its end before one of the next connection is.
func TestASubscriptionIsCalledByOneAtATime(t *testing.T) {
	t.Parallel()
	url, _ := reloadable(t, func(o *server.Options) { o.MaxControlLine = 1024 })
	a := connect(t, url, rolebus.WithNode("a"))
	other, err := nats.Connect(url)
	require.NoError(t, err)
	defer other.Close()
	var running atomic.Int64
	entered, release := make(chan string, 9), make(chan struct{})
	_, err = a.Subscribe("x", func(msg *nats.Msg) {
		if running.Add(1) > 1 {
			t.Error("two at a time")
		}
		entered <- string(msg.Data)
		<-release
		running.Add(-1)
	})
	require.NoError(t, err)
	for range 5 {
		before := a.Conn()
		require.NoError(t, before.Flush())
		require.NoError(t, other.Publish("x", []byte("first")))
		require.Equal(t, "first", <-entered)
		require.NoError(t, before.Publish(strings.Repeat("x", 2000), nil))
		eventually(t, "another connection", func() bool { return a.Conn() != before && a.Conn().IsConnected() })
		again, err := a.Subscribe("again", echo) // when it is heard, so is all that was subscribed before
		require.NoError(t, err)
		eventually(t, "all to be subscribed", func() bool { return answered(t, other, "again", "you") == "you" })
		again.Stop()
		require.NoError(t, other.Publish("x", []byte("second")))
		require.NoError(t, other.Flush())
		require.NoError(t, a.Conn().Flush(), "it has come")
		time.Sleep(time.Millisecond) // gives it the time to be handed on too early
		require.Empty(t, entered)
		release <- struct{}{}
		require.Equal(t, "second", <-entered)
		release <- struct{}{}
	}
}

// What came before the servers knew of the end is handed on.
func TestStopLosesNothing(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc, other := srv.Conn(), srv.Conn()
	b := borrowing(t, nc, "a")
	for range 20 {
		came, entered, release := 0, make(chan struct{}, 1), make(chan struct{})
		last := make(chan struct{})
		sub, err := b.Subscribe("x", func(msg *nats.Msg) {
			if came++; came == 1 {
				close(entered)
				<-release
			}
			if string(msg.Data) == "last" {
				close(last)
			}
		})
		require.NoError(t, err)
		require.NoError(t, nc.Flush())
		for range 100 {
			require.NoError(t, other.Publish("x", nil))
		}
		require.NoError(t, other.Publish("x", []byte("last")))
		require.NoError(t, other.Flush())
		<-entered
		sub.Stop()
		close(release)
		select {
		case <-last:
		case <-time.After(30 * time.Second):
			t.Fatalf("only %d", came)
		}
		require.Equal(t, 101, came)
	}
	require.NoError(t, b.Close())
	require.Equal(t, 1, nc.NumSubscriptions(), "nats.go's own, for answers")
}

func TestAFunctionMayStopItsSubscription(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	b := borrowing(t, nc, "a")
	for _, subscribe := range []func(handle func(*nats.Msg)) (*rolebus.Subscription, string){
		func(handle func(*nats.Msg)) (*rolebus.Subscription, string) {
			sub, err := b.Subscribe("x", handle)
			require.NoError(t, err)
			return sub, "x"
		},
		func(handle func(*nats.Msg)) (*rolebus.Subscription, string) {
			sub, err := b.Listen("call", "m", handle)
			require.NoError(t, err)
			return sub, b.Address("call", b.Snapshot().Node("a"), "m")
		},
	} {
		subs := make(chan *rolebus.Subscription, 1)
		sub, subject := subscribe(func(msg *nats.Msg) {
			sub := <-subs
			sub.Stop()
			sub.Stop()
			echo(msg)
		})
		subs <- sub
		require.Equal(t, "you", answered(t, nc, subject, "you"))
		eventually(t, "its end", func() bool { return answered(t, nc, subject, "you") == "nobody" })
	}
}

// A function that does not return holds up Close for no longer than a handler does, and is told; one that calls Close waits for itself.
func TestCloseDoesNotWaitForEverForASubscription(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	for name, wait := range map[string]func(b *rolebus.Bus, release <-chan struct{}) error{
		"it blocks":      func(_ *rolebus.Bus, release <-chan struct{}) error { <-release; return nil },
		"it calls Close": func(b *rolebus.Bus, _ <-chan struct{}) error { return b.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			b := borrowing(t, nc, "a", rolebus.WithRequestTimeout(300*time.Millisecond))
			release, entered, returned := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			_, err := b.Subscribe("x", func(*nats.Msg) {
				close(entered)
				returned <- wait(b, release)
			})
			require.NoError(t, err)
			require.NoError(t, nc.Publish("x", nil))
			<-entered
			require.NoError(t, nc.Publish("x", nil), "nobody is called with it any more")
			require.NoError(t, nc.Flush())
			err = b.Close()
			require.ErrorContains(t, err, "rolebus: close: functions of Subscribe or Listen that are still running: 1")
			close(release)
			<-returned
			require.Equal(t, 1, nc.NumSubscriptions(), "nats.go's own, for answers")
		})
	}
}

// When Close has returned nothing is handed on any more.
func TestNothingIsHandedOnAfterClose(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc, other := srv.Conn(), srv.Conn()
	stop := make(chan struct{})
	var flood sync.WaitGroup
	for range 20 {
		b := borrowing(t, nc, "a", rolebus.WithScopes("s"))
		var closed atomic.Bool
		handle := func(*nats.Msg) {
			if closed.Load() {
				t.Error("after Close")
			}
		}
		stopped, err := b.Subscribe("y", handle)
		require.NoError(t, err)
		_, err = b.Subscribe("y", handle)
		require.NoError(t, err)
		_, err = b.In("s").Listen("call", "m", handle)
		require.NoError(t, err)
		require.NoError(t, nc.Flush())
		mine := b.In("s").Address("call", b.In("s").Snapshot().Node("a"), "m")
		stop = make(chan struct{})
		flood.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_ = other.Publish("y", nil)
				_ = other.Publish(mine, nil)
				_ = other.Flush()
			}
		})
		stopped.Stop()
		require.NoError(t, b.Close())
		closed.Store(true)
		require.Equal(t, 1, nc.NumSubscriptions(), "nats.go's own, for answers")
		require.NoError(t, nc.Flush())
		close(stop)
		flood.Wait()
	}
}

// Where a connection does not hear itself, it does not hear what is sent over it to its own node either.
func TestASubscriptionOverAConnectionWithoutEcho(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn(nats.NoEcho())
	b := borrowing(t, nc, "a")
	_, err := b.Listen("call", "m", echo)
	require.NoError(t, err)
	mine := b.Address("call", b.Snapshot().Node("a"), "m")
	require.Equal(t, "nobody", answered(t, nc, mine, "you"))
	require.Equal(t, "you", answered(t, srv.Conn(), mine, "you"))
	require.NoError(t, b.Probe(t.Context(), b.Snapshot().Node("a")))
}

func TestADrainedConnectionTakesItsSubscriptionsWithIt(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc, other := srv.Conn(), srv.Conn()
	b := borrowing(t, nc, "a")
	_, err := b.Subscribe("x", echo)
	require.NoError(t, err)
	_, err = b.Listen("call", "m", echo)
	require.NoError(t, err)
	require.NoError(t, nc.Drain())
	<-b.Done()
	require.ErrorIs(t, context.Cause(b.Context()), nats.ErrConnectionDraining)
	_, err = b.Subscribe("x", echo)
	require.ErrorIs(t, err, rolebus.ErrClosed)
	require.Equal(t, "nobody", answered(t, other, "x", "you"))
}

// A subscription that is stopped while the connection breaks is not there afterwards.
func TestStopWhileTheConnectionBreaks(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	b, other := bus(link, "a"), srv.Conn()
	for round := range 20 {
		release, entered := make(chan struct{}), make(chan struct{})
		first := true
		sub, err := b.Subscribe("x", func(msg *nats.Msg) {
			if first {
				first = false
				close(entered)
				<-release
			}
			echo(msg)
		})
		require.NoError(t, err)
		require.NoError(t, b.Conn().Flush())
		require.NoError(t, other.Publish("x", nil))
		require.NoError(t, other.Publish("x", nil), "this one waits")
		<-entered
		before := b.Conn().Stats().Reconnects
		if round%2 == 0 {
			sub.Stop()
			link.Reset()
		} else {
			link.Reset()
			sub.Stop()
		}
		eventually(t, "the connection to be back", func() bool { return b.Conn().Stats().Reconnects > before && b.Conn().IsConnected() })
		close(release)
		eventually(t, "nobody to listen", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := other.RequestWithContext(ctx, "x", nil)
			return err == nats.ErrNoResponders
		})
	}
}
