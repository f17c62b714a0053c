package rolebustest_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

func TestCutIsAProcessThatDied(t *testing.T) {
	t.Parallel()
	s := rolebustest.NewServer(t)
	l := s.Link()
	stays, dies := s.Bus(), l.Bus(rolebus.WithRoles("api"))
	nc := l.Conn()
	rolebustest.WaitRoles(t, stays, dies.Name(), "api")
	gone := reasonGone(t, stays, dies.Name())

	l.Cut()
	l.Cut()
	rolebustest.Eventually(t, "the connection to be lost", nc.IsReconnecting)
	_, err := nats.Connect(l.URL())
	require.ErrorIs(t, err, nats.ErrNoServers)
	logged(t, "gone", func() { require.NotEqual(t, rolebus.ReasonLeft, <-gone) })
	rolebustest.WaitRoles(t, stays, dies.Name())

	l.Mend()
	logged(t, "back", func() { rolebustest.WaitRoles(t, stays, dies.Name(), "api") })
	rolebustest.Eventually(t, "the connection to be back", nc.IsConnected)
}

func TestStallIsAProcessThatHangs(t *testing.T) {
	t.Parallel()
	s := rolebustest.NewServer(t)
	l := s.Link()
	stays, hangs := s.Bus(), l.Bus(rolebus.WithRoles("api"))
	nc, other := l.Conn(), s.Conn()
	sub, err := other.SubscribeSync("held")
	require.NoError(t, err)
	require.NoError(t, other.Flush())
	rolebustest.WaitRoles(t, stays, hangs.Name(), "api")
	gone := reasonGone(t, stays, hangs.Name())

	l.Stall()
	l.Stall()
	require.NoError(t, nc.Publish("held", []byte("late")))
	logged(t, "gone", func() { require.NotEqual(t, rolebus.ReasonLeft, <-gone) })
	rolebustest.WaitRoles(t, stays, hangs.Name())
	require.True(t, nc.IsConnected(), "the connection was closed")
	pending, _, err := sub.Pending()
	require.NoError(t, err)
	require.Zero(t, pending)

	l.Mend()
	logged(t, "back", func() { rolebustest.WaitRoles(t, stays, hangs.Name(), "api") })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	msg, err := sub.NextMsgWithContext(ctx)
	require.NoError(t, err)
	require.Equal(t, "late", string(msg.Data))
}

func TestLinkOutlivesItsServer(t *testing.T) {
	t.Parallel()
	s := rolebustest.NewServer(t)
	l := s.Link()
	nc := l.Conn()
	s.Stop()
	rolebustest.Eventually(t, "the connection to be lost", nc.IsReconnecting)
	s.Start()
	rolebustest.Eventually(t, "the connection to be back", nc.IsConnected)
}

func TestStalledLinkDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	var b *rolebus.Bus
	require.Empty(t, failure(func(t *standIn) {
		l := rolebustest.NewServer(t).Link()
		b = l.Bus()
		l.Conn()
		l.Stall()
	}))
	require.ErrorIs(t, b.Err(), rolebus.ErrClosed)
	require.NoError(t, b.Close(), "it could not say goodbye")
}

// reasonGone returns a channel that gets the reason why a node went. The test must see it go.
func reasonGone(t *testing.T, b *rolebus.Bus, node string) <-chan rolebus.Reason {
	t.Helper()
	reason := make(chan rolebus.Reason, 1)
	go func() {
		for ev := range b.Watch(context.Background()) { // until the bus is closed
			if ev.Kind == rolebus.NodeLeft && ev.Node.Name() == node {
				select {
				case reason <- ev.Reason:
				default:
				}
			}
		}
	}()
	return reason
}
