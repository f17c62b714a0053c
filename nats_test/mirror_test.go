package nats_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// mirrored makes a mirror of the bucket that answers direct gets for it, and waits until it does, and has all.
func mirrored(t *testing.T, srv *rolebustest.Server) {
	t.Helper()
	js, nc := jetStream(t, srv.Conn()), srv.Conn()
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "copy", Mirror: &jetstream.StreamSource{Name: "KV_rolebus"}, AllowDirect: true, MirrorDirect: true,
	})
	require.NoError(t, err)
	eventually(t, "the mirror to answer for the bucket", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		answer, err := nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET.KV_rolebus.$KV.rolebus.default.a", nil)
		return err == nil && answer.Header.Get("Nats-Stream") == "copy"
	})
}

// A mirror still answers reads when the bucket is deleted. It is made anew all the same, nobody is lost, and who joins sees those who
// are there, not those of whom the mirror knows.
func TestABucketThatIsDeletedBesideItsMirrorIsMadeAnew(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	quiet := rolebus.WithProbeInterval(0)
	a, b := bus(srv, "a", quiet, rolebus.WithRoles("x")), bus(srv, "b", quiet, rolebus.WithRoles("x"))
	mirrored(t, srv)
	for _, each := range []*rolebus.Bus{a, b} {
		eventually(t, "both", func() bool { return each.Nodes("x").Len() == 2 })
	}
	gone := bus(srv, "gone", quiet, rolebus.WithRoles("x"))
	rolebustest.WaitRoles(t, a, "gone", "x")
	js := jetStream(t, srv.Conn())
	eventually(t, "the mirror to have all", func() bool {
		stream, err := js.Stream(t.Context(), "copy")
		return err == nil && stream.CachedInfo().State.LastSeq >= lastSeq(t, js)-1
	})
	seen := []*events{watch(t, a.Scope), watch(t, b.Scope)}
	require.NoError(t, js.DeleteStream(t.Context(), "KV_rolebus"))
	require.NoError(t, gone.Close(), "the mirror still has it")

	eventually(t, "both to have written again", func() bool {
		_, err := js.Stream(t.Context(), "KV_rolebus")
		return err == nil && len(stored(t, js, "rolebus", "default")) == 2
	})
	for _, node := range []string{"c", "d", "e"} { // of whom some are answered by the mirror
		c := bus(srv, node, quiet, rolebus.WithRoles("y"))
		eventually(t, node+" to see those who are there", func() bool { return c.Nodes("x").Len() == 2 && c.Snapshot().Stale() == 0 })
		require.Empty(t, c.Roles("gone").Slice())
	}
	for i, each := range []*rolebus.Bus{a, b} {
		eventually(t, "all", func() bool { return each.Nodes("y").Len() == 3 && each.Nodes("x").Len() == 2 })
		require.Empty(t, seen[i].gone("a", "b"))
		require.NoError(t, each.Err())
	}
}

// The subject of the leases is taken away, by "nats stream edit" for instance.
func TestALeaseSubjectThatIsTakenAwayIsMended(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	quiet := rolebus.WithProbeInterval(0)
	a, b := bus(srv, "a", quiet, rolebus.WithRoles("x")), bus(srv, "b", quiet)
	rolebustest.WaitRoles(t, b, "a", "x")
	seen := watch(t, b.Scope)
	js := jetStream(t, srv.Conn())
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	cfg := stream.CachedInfo().Config
	subjects := cfg.Subjects
	cfg.Subjects = cfg.Subjects[:1]
	lease := a.LeaseContext()
	_, err = js.UpdateStream(t.Context(), cfg)
	require.NoError(t, err)
	eventually(t, "the subject to be back", func() bool {
		stream, err := js.Stream(t.Context(), "KV_rolebus")
		return err == nil && len(stream.CachedInfo().Config.Subjects) == len(subjects)
	})
	began := time.Now()
	eventually(t, "heartbeats to be taken again", func() bool { return time.Since(began) > 2*ttl && a.LeaseLeft() > 0 })
	require.NoError(t, context.Cause(lease))
	require.Zero(t, seen.count(rolebus.NodeLeft), "%v", seen.list())
}
