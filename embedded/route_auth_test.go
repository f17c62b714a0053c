package embedded

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

// comer is a server that wants to be of the cluster.
type comer struct {
	server.ClientAuthentication
	user, password string
}

func (c comer) GetOpts() *server.ClientOpts {
	return &server.ClientOpts{Username: c.user, Password: c.password}
}

func TestPasswordsOfRoutesFollowTheSecrets(t *testing.T) {
	secrets := []string{"an old secret of old"}
	a := &routeAuth{secrets: func() []string { return secrets }, cluster: "one"}
	other := &routeAuth{secrets: func() []string { return secrets }, cluster: "two"}
	first, second := route{host: "a", port: 1}, route{host: "b", port: 1}
	a.keep([]route{first, second})
	old := a.password()
	require.NotEqual(t, old, other.password(), "of another cluster")
	require.True(t, a.Check(comer{user: routeUser, password: old}))
	require.False(t, a.Check(comer{user: routeUser, password: other.password()}))
	require.False(t, a.Check(comer{user: routeUser}))
	require.False(t, a.Check(comer{user: "another", password: old}))
	marks := a.marks()

	secrets = []string{"the new secret of new", "an old secret of old"}
	require.Len(t, a.marks(), 2)
	a.agree([][]string{a.marks(), marks})
	require.Equal(t, old, a.password(), "one does not accept the new one")
	a.agree(nil)
	require.Equal(t, old, a.password(), "nobody is there")
	a.agree([][]string{a.marks(), a.marks()})
	require.NotEqual(t, old, a.password())

	for range 2 { // one after another
		r, any := a.old()
		require.True(t, any)
		shown, _ := a.url(r).User.Password()
		require.Equal(t, old, shown)
		a.routes[r] = ""
		shown, _ = a.url(r).User.Password()
		require.Equal(t, a.password(), shown)
	}
	_, any := a.old()
	require.False(t, any)
	a.keep([]route{first, second, {host: "c", port: 1}})
	_, any = a.old()
	require.False(t, any, "a new route begins with the new one")

	require.True(t, a.Check(comer{user: routeUser, password: old}))
	secrets = secrets[:1]
	require.False(t, a.Check(comer{user: routeUser, password: old}))
	require.True(t, a.Check(comer{user: routeUser, password: a.password()}))
}

func TestRoutesWithoutSecret(t *testing.T) {
	a := &routeAuth{secrets: func() []string { return nil }, cluster: "one"}
	a.keep([]route{{host: "a", port: 1}})
	a.agree([][]string{nil})
	_, any := a.old()
	require.False(t, any)
	require.Nil(t, a.url(route{host: "a", port: 1}).User)
	require.Empty(t, a.marks())
}
