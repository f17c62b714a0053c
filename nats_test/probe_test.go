package nats_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// probe asks for so long as a server may take to notice that a connection was cut.
func probe(t *testing.T, b *rolebus.Bus, n *rolebus.Node) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	return b.Probe(ctx, n)
}

func TestAProbeTellsWhoIsThereInThisVeryLife(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	never := rolebus.WithProbeInterval(0) // the bus itself asks nobody
	a, o := bus(srv, "a", rolebus.WithScopes("s"), never), bus(srv, "o", rolebus.WithObserver(), never)
	link := srv.Link()
	b := bus(link, "b", rolebus.WithRoles("x"), rolebus.WithTTL(longTTL), never)
	rolebustest.WaitRoles(t, a, "b", "x")
	rolebustest.WaitRoles(t, o, "b", "x")
	there, mine := a.Snapshot().Node("b"), a.Snapshot().Node("a")
	for _, asker := range []*rolebus.Bus{a, o} {
		require.NoError(t, asker.Probe(t.Context(), there))
		require.NoError(t, asker.Probe(t.Context(), mine))
		require.ErrorIs(t, asker.In("s").Probe(t.Context(), there), rolebus.ErrNodeGone, "it is not in that scope, joined or not")
		require.ErrorIs(t, asker.Probe(t.Context(), nil), rolebus.ErrNodeGone)
	}
	require.ErrorIs(t, o.In("").Probe(t.Context(), there), rolebus.ErrBadName)

	link.Stall()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("mine"))
	defer cancel()
	err := o.Probe(ctx, there)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "mine")
	require.ErrorContains(t, err, `rolebus: probe b in scope "default"`)
	require.NotErrorIs(t, err, rolebus.ErrNodeGone)
	require.ErrorIs(t, o.Probe(ctx, there), context.DeadlineExceeded, "it is over already")

	link.Cut()
	for _, asker := range []*rolebus.Bus{a, o} {
		eventually(t, "the server to have noticed", func() bool {
			err = probe(t, asker, there)
			return errors.Is(err, rolebus.ErrNodeGone)
		})
		require.ErrorIs(t, err, nats.ErrNoResponders)
	}

	// Another process of its name.
	bus(srv, "b", never)
	err = probe(t, a, there)
	require.ErrorIs(t, err, rolebus.ErrNodeGone)
	require.NotErrorIs(t, err, nats.ErrNoResponders)
	link.Mend()
	eventually(t, "the older one to end", func() bool { return b.Err() != nil })
	require.ErrorIs(t, probe(t, b, there), rolebus.ErrClosed)

	// Another life of one's own.
	require.NoError(t, a.Leave(t.Context(), "default"))
	err = a.Probe(t.Context(), mine)
	require.ErrorIs(t, err, rolebus.ErrNodeGone)
	require.ErrorIs(t, err, rolebus.ErrNotJoined)
	eventually(t, "nobody to listen", func() bool { return errors.Is(probe(t, o, mine), rolebus.ErrNodeGone) })
	require.NoError(t, a.AddRoles(t.Context(), "y"))
	require.ErrorIs(t, a.Probe(t.Context(), mine), rolebus.ErrNodeGone)
	require.NoError(t, a.Probe(t.Context(), a.Snapshot().Node("a")))
}

func TestAProbeOverAConnectionWithoutEchoOrWithout(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a", rolebus.WithNATS(nats.NoEcho()))
	b := bus(srv, "b", rolebus.WithRoles("x"))
	rolebustest.WaitRoles(t, a, "b", "x")
	there := a.Snapshot().Node("b")
	require.NoError(t, a.Probe(t.Context(), a.Snapshot().Node("a")))
	require.NoError(t, a.Probe(t.Context(), there))
	require.NoError(t, b.Probe(t.Context(), b.Snapshot().Node("a")))
	srv.Stop()
	eventually(t, "the connection to be lost", func() bool { return !a.Conn().IsConnected() })
	err := a.Probe(t.Context(), there)
	require.ErrorIs(t, err, nats.ErrDisconnected)
	require.NotErrorIs(t, err, rolebus.ErrNodeGone)
}

// Who finds that nobody listens has the node left out, and who finds that it answers has it listed again, though it asks nobody by
// itself, and no server tells of it.
func TestAProbeCounts(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t, func(o *server.Options) { o.NoSystemAccount = true })
	seldom := []rolebus.Option{rolebus.WithTTL(longTTL), rolebus.WithProbeInterval(time.Hour)}
	link := srv.Link()
	bus(link, "b", rolebus.WithRoles("x"), rolebus.WithTTL(longTTL), rolebus.WithProbeInterval(0))
	for name, opts := range map[string][]rolebus.Option{"a": nil, "o": {rolebus.WithObserver()}} {
		a := bus(srv, name, append(opts, seldom...)...)
		rolebustest.WaitRoles(t, a, "b", "x")
		there := a.Snapshot().Node("b")
		require.NoError(t, a.Probe(t.Context(), there))
		link.Cut()
		eventually(t, "it to be left out", func() bool {
			return errors.Is(probe(t, a, there), rolebus.ErrNodeGone) && a.Nodes("x").Len() == 0
		})
		require.Equal(t, []string{"b"}, names(a.Snapshot().Suspects().Slice()))
		link.Mend()
		eventually(t, "it to be listed", func() bool {
			return probe(t, a, there) == nil && a.Nodes("x").Len() == 1
		})
	}
}
