//go:build long

package embedded_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/embedded"
)

// Who may connect to members is as a program's own server options say, and every account hears of its own connections that ended: also after a reload, which
// is what a member's routes change by.

// own is a program's own authentication: whoever says this.
type own struct{ password string }

func (o own) Check(c server.ClientAuthentication) bool {
	if c.GetOpts().Password != o.password {
		return false
	}
	c.RegisterUser(&server.User{Username: c.GetOpts().Username})
	return true
}

func TestClientsOfMembersAreAsServerOptionsSay(t *testing.T) {
	t.Parallel()
	key, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := key.PublicKey()
	require.NoError(t, err)
	for name, each := range map[string]struct {
		set func(*server.Options)
		in  nats.Option
	}{
		"none": {func(*server.Options) {}, nats.Name("any")},
		"user": {func(o *server.Options) { o.Username, o.Password = "me", "my password" }, nats.UserInfo("me", "my password")},
		"users": {func(o *server.Options) {
			o.Users = []*server.User{{Username: "you", Password: "yours"}, {Username: "me", Password: "mine"}}
		}, nats.UserInfo("me", "mine")},
		"nkey": {func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} }, nats.Nkey(public, key.Sign)},
		"account": {func(o *server.Options) {
			mine := server.NewAccount("MINE")
			o.Accounts = []*server.Account{mine, server.NewAccount("ANOTHER")}
			o.Users = []*server.User{{Username: "me", Password: "mine", Account: mine}}
		}, nats.UserInfo("me", "mine")},
		"custom": {func(o *server.Options) { o.CustomClientAuthentication = own{"mine"} }, nats.UserInfo("me", "mine")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			town := newTown(t)
			with := embedded.WithServerOptions(each.set)
			all := town.form(t, 3, with)
			hearsOfEnds(t, all, each.in)
			_, err := nats.Connect(all[0].URL(), nats.UserInfo("rolebus", "guess"))
			require.ErrorIs(t, err, nats.ErrAuthorization)

			town.begin(t, "p3", with)
			require.NoError(t, all[2].Leave(t.Context())) // so the others' routes change
			for _, p := range all[:2] {
				await(t, p, "another member", func(s embedded.ClusterState) bool {
					return whole(3)(s) && s.Members[2].Name == "p3"
				})
			}
			hearsOfEnds(t, all[:2], each.in)
			_, err = nats.Connect(all[0].URL(), nats.UserInfo("rolebus", "guess"))
			require.ErrorIs(t, err, nats.ErrAuthorization)
		})
	}
}

// hearsOfEnds says that a client of one member hears of a client of another whose connection ends.
func hearsOfEnds(t *testing.T, all []*process, in nats.Option) {
	t.Helper()
	nc := connect(t, strings.Split(all[0].URL(), ",")[0], in)
	ends, err := nc.SubscribeSync("rolebus.sys.disconnect")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	until(t, func() bool { // servers tell each other who listens
		other, err := nats.Connect(strings.Split(all[1].URL(), ",")[0], in, nats.Name("ends"), nats.NoReconnect())
		require.NoError(t, err)
		other.Close()
		m, err := ends.NextMsg(deadline / 10)
		return err == nil && strings.Contains(string(m.Data), `"name":"ends"`)
	}, func() string { return "news of an end" })
}
