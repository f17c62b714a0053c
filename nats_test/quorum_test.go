package nats_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// A leader that is left alone refuses, until it notices, what comes after a write that it could not store. That is no other record
// in this node's place: the log stays calm, the errors say what is so, and nobody who lives is told lost.
func TestALeaderThatIsLeftAlone(t *testing.T) {
	t.Parallel()
	c := rolebustest.NewCluster(t)
	log := &logged{}
	a := bus(c, "a", rolebus.WithRoles("x"), rolebus.WithScopes("s2"), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	b := bus(c, "b", rolebus.WithRoles("x"))
	o := bus(c, "o", rolebus.WithObserver())
	seen := watch(t, o.Scope)
	stream, err := jetStream(t, c.Conn()).Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	var down []*rolebustest.Server
	for _, s := range c.Servers() {
		if s.Name() != stream.CachedInfo().Cluster.Leader {
			s.Stop()
			down = append(down, s)
		}
	}
	eventually(t, "a heartbeat to fail", func() bool { return log.count("does not take the heartbeat") >= 2 })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	err = a.AddRoles(ctx, "y")
	require.ErrorIs(t, err, rolebus.ErrNotConfirmed)
	t.Log(err, log)
	require.NotContains(t, err.Error(), "is not what it was")
	require.Zero(t, log.count("writing it again"), log)
	require.Equal(t, 2, log.count("does not take the heartbeat"), "once for each scope: %s", log)
	for _, s := range down {
		s.Start()
	}
	c.WaitReady()
	rolebustest.WaitRoles(t, o, "a", "x", "y")
	eventually(t, "all to be well", func() bool { return a.Check() == nil && b.Check() == nil })
	for _, e := range seen.list() {
		require.NotEqual(t, rolebus.NodeLeft, e.Kind, "%v", e)
	}
}
