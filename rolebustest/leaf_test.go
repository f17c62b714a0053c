package rolebustest_test

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

func TestLeafHasABucketOfItsOwn(t *testing.T) {
	t.Parallel()
	var started []string
	hub, leaf := rolebustest.NewLeaf(t, func(o *server.Options) { started = append(started, o.ServerName) })
	require.Equal(t, []string{"hub", "leaf"}, started)
	require.Equal(t, []string{"hub", "leaf"}, []string{hub.Name(), leaf.Name()})
	a, b := hub.Bus(rolebus.WithRoles("api")), leaf.Bus(rolebus.WithRoles("api"))
	require.NotEqual(t, a.Name(), b.Name())
	require.NotEqual(t, streamInfo(t, hub.Conn()).Config.Metadata, streamInfo(t, leaf.Conn()).Config.Metadata)
	require.Len(t, a.Nodes("api").Slice(), 1)
	require.Len(t, b.Nodes("api").Slice(), 1)
}

func TestLeafIsLinkedAgainAfterARestart(t *testing.T) {
	t.Parallel()
	hub, leaf := rolebustest.NewLeaf(t)
	here, there := hub.Conn(), leaf.Conn()
	heard := make(chan *nats.Msg, 10_000)
	_, err := there.ChanSubscribe("news", heard)
	require.NoError(t, err)
	for _, restarted := range []*rolebustest.Server{nil, hub, leaf} {
		if restarted != nil {
			restarted.Restart()
		}
		for len(heard) > 0 {
			<-heard
		}
		rolebustest.Eventually(t, "a message to cross the link", func() bool {
			_ = here.Publish("news", nil) // refused while it reconnects
			return len(heard) > 0
		})
	}
}

func TestLeafThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	require.Contains(t, failure(func(t *standIn) {
		rolebustest.NewLeaf(t, func(o *server.Options) { o.ServerName = "a b" })
	}), "rolebustest: hub and leaf: ")
}
