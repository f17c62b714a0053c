package nats_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// bulky are roles that fill a record.
func bulky(size int) (roles []rolebus.Role) {
	for i := range size / 1000 {
		roles = append(roles, rolebus.Role(fmt.Sprint(i, strings.Repeat("x", 1000))))
	}
	return roles
}

// believesADeath waits until a process without probes reports one that dies: by its lease alone.
func believesADeath(t *testing.T, srv *rolebustest.Server, b *rolebus.Bus, opts ...rolebus.Option) {
	t.Helper()
	link := srv.Link()
	bus(link, "dead", append(opts, rolebus.WithRoles("dies"))...)
	rolebustest.WaitRoles(t, b, "dead", "dies")
	link.Cut()
	rolebustest.WaitRoles(t, b, "dead")
}

// A stream whose limit is lowered below a record that is being written.
func TestARecordThatIsTooLargeByNowIsNoOutage(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	quiet := rolebus.WithProbeInterval(0)
	a, b := bus(link, "a", quiet, rolebus.WithRoles("x"), rolebus.WithTTL(time.Minute)), bus(srv, "b", quiet)
	lease := a.LeaseContext()

	link.Stall()
	refused := make(chan error, 1)
	go func() { refused <- a.AddRoles(t.Context(), bulky(8000)...) }()
	js := jetStream(t, srv.Conn())
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	cfg := stream.CachedInfo().Config
	cfg.MaxMsgSize = 4000
	_, err = js.UpdateStream(t.Context(), cfg)
	require.NoError(t, err)
	link.Mend()
	err = <-refused
	require.ErrorIs(t, err, rolebus.ErrTooLarge)
	require.NotErrorIs(t, err, rolebus.ErrNotConfirmed)
	require.ErrorContains(t, err, "rolebus: add roles")
	require.Equal(t, []rolebus.Role{"x"}, a.MyRoles().Slice())

	require.NoError(t, a.AddRoles(t.Context(), "y"), "what fits is taken")
	rolebustest.WaitRoles(t, b, "a", "x", "y")
	believesADeath(t, srv, a, quiet)
	require.NoError(t, context.Cause(lease))
	require.Zero(t, a.Snapshot().Stale())
}

// The permission for one's own record is taken away, that for the lease is not.
func TestAForbiddenRecordIsNoOutage(t *testing.T) {
	t.Parallel()
	var forbidden atomic.Bool
	srv := rolebustest.NewServer(t, func(o *server.Options) {
		deny := &server.SubjectPermission{}
		if forbidden.Load() {
			deny.Deny = []string{"$KV.rolebus.default.a"}
		}
		o.Users = []*server.User{
			{Username: "a", Password: "a", Permissions: &server.Permissions{Publish: deny}}, {Username: "any", Password: "any"},
		}
		o.NoAuthUser = "any"
	})
	quiet := rolebus.WithProbeInterval(0)
	a := bus(srv, "a", quiet, rolebus.WithRoles("x"), rolebus.WithNATS(nats.UserInfo("a", "a")))
	b := bus(srv, "b", quiet)
	rolebustest.WaitRoles(t, b, "a", "x")

	forbidden.Store(true)
	srv.Restart()
	eventually(t, "contact", func() bool { return a.Snapshot().Stale() == 0 && a.LeaseLeft() > 0 })
	lease := a.LeaseContext()
	ctx, cancel := context.WithTimeout(t.Context(), 2*ttl)
	defer cancel()
	err := a.AddRoles(ctx, "y")
	require.ErrorIs(t, err, rolebus.ErrNotConfirmed)
	require.ErrorIs(t, err, nats.ErrPermissionViolation, "why is told")
	believesADeath(t, srv, a, quiet)
	require.Zero(t, a.Snapshot().Stale())
	require.NoError(t, context.Cause(lease), "the heartbeats go on")
	require.Equal(t, []rolebus.Role{"x"}, b.Roles("a").Slice())
}
