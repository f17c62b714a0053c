package nats_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// What a server said of a connection stands beside the timeout to which it led.
func TestATimeoutTellsItsCause(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*server.Options)
		want   error
		text   string
	}{
		"an inbox that is refused": {func(o *server.Options) {
			o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
				Subscribe: &server.SubjectPermission{Deny: []string{"_INBOX.>"}},
			}}}
			o.NoAuthUser = "u"
		}, nats.ErrPermissionViolation, `Subscription to "_INBOX.`},
		"too many subscriptions": {func(o *server.Options) { o.MaxSubs = 1 }, nats.ErrMaxSubscriptionsExceeded, "maximum subscriptions exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := rolebustest.NewServer(t, c.change)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := rolebus.Connect(ctx, srv.URL(), rolebus.WithRequestTimeout(time.Second))
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.text)
		})
	}
}

// A refused reconnect is told with its reason, once.
func TestARefusedReconnectIsToldOnce(t *testing.T) {
	t.Parallel()
	password := "one"
	srv := rolebustest.NewServer(t, func(o *server.Options) { o.Username, o.Password = "u", password })
	d, log := &dialer{}, &lines{}
	b := srv.Bus(rolebus.WithLogger(log.logger()), rolebus.WithNATS(nats.SetCustomDialer(d), nats.UserInfo("u", "one")))
	password = "two"
	srv.Restart()
	before := len(d.all())
	eventually(t, "some more tries", func() bool { return len(d.all()) >= before+5 })
	require.Equal(t, 1, log.count("uthorization")) // whatever else it says
	password = "one"
	srv.Restart()
	require.NoError(t, b.AddRoles(t.Context(), "x"))
}
