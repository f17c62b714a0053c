package nats_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// operated is a server that takes users by the JWTs of one account.
type operated struct {
	*server.Server
	t        *testing.T
	operator nkeys.KeyPair
	account  nkeys.KeyPair
	claims   *jwt.AccountClaims
}

func newOperated(t *testing.T) *operated {
	t.Helper()
	o := &operated{t: t}
	o.operator, _ = keys(t, nkeys.CreateOperator)
	_, systemID := keys(t, nkeys.CreateAccount)
	account, id := keys(t, nkeys.CreateAccount)
	o.account, o.claims = account, jwt.NewAccountClaims(id)
	o.claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	operatorID, err := o.operator.PublicKey()
	require.NoError(t, err)
	trusted := jwt.NewOperatorClaims(operatorID)
	trusted.SystemAccount = systemID
	resolver := &server.MemAccResolver{}
	require.NoError(t, resolver.Store(systemID, signed(t, jwt.NewAccountClaims(systemID), o.operator)))
	require.NoError(t, resolver.Store(id, signed(t, o.claims, o.operator)))
	o.Server = started(t, &server.Options{
		ServerName: "operated", Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true,
		TrustedOperators: []*jwt.OperatorClaims{trusted}, SystemAccount: systemID, AccountResolver: resolver,
	})
	return o
}

func keys(t *testing.T, create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
	t.Helper()
	pair, err := create()
	require.NoError(t, err)
	id, err := pair.PublicKey()
	require.NoError(t, err)
	return pair, id
}

func signed(t *testing.T, claims jwt.Claims, by nkeys.KeyPair) string {
	t.Helper()
	token, err := claims.Encode(by)
	require.NoError(t, err)
	return token
}

// credentials writes a file of a user, for so long, in the place of what stood there.
func (o *operated) credentials(path string, life time.Duration) {
	o.t.Helper()
	user, id := keys(o.t, nkeys.CreateUser)
	claims := jwt.NewUserClaims(id)
	if life > 0 {
		claims.Expires = time.Now().Add(life).Unix()
	}
	seed, err := user.Seed()
	require.NoError(o.t, err)
	file, err := jwt.FormatUserConfig(signed(o.t, claims, o.account), seed)
	require.NoError(o.t, err)
	require.NoError(o.t, os.WriteFile(path+".new", file, 0o600))
	require.NoError(o.t, os.Rename(path+".new", path))
}

// change has the server take other claims of the account.
func (o *operated) change(change func(*jwt.AccountClaims)) {
	o.t.Helper()
	change(o.claims)
	account, err := o.LookupAccount(o.claims.Subject)
	require.NoError(o.t, err)
	o.UpdateAccountClaims(account, o.claims)
}

// bus connects with a file of credentials.
func (o *operated) bus(node string, life time.Duration, opts ...rolebus.Option) (b *rolebus.Bus, file string) {
	o.t.Helper()
	file = filepath.Join(o.t.TempDir(), node+".creds")
	o.credentials(file, life)
	return connect(o.t, o.ClientURL(), append(opts, rolebus.WithNode(node), rolebus.WithRoles("x"), rolebus.WithNATS(nats.UserCredentials(file)))...), file
}

// connections is how many connections a hook was told of.
func connections(h *told) (n int) {
	for _, info := range h.all() {
		if _, up := info.(rolebus.ConnectedInfo); up {
			n++
		}
	}
	return n
}

// A server ends the connection of a user whose time is over. The file is read again each time.
func TestCredentialsThatExpire(t *testing.T) {
	t.Parallel()
	t.Run("renewed in time", func(t *testing.T) {
		t.Parallel()
		o := newOperated(t)
		b, _ := o.bus("b", 0)
		seen := watch(t, b.Scope)
		h := &told{}
		a, file := o.bus("a", 4*time.Second, rolebus.WithHooks(h))
		o.credentials(file, 0)
		eventually(t, "the server to end the connection, and to take it again", func() bool { return connections(h) == 2 })
		require.NoError(t, a.AddRoles(t.Context(), "y"))
		rolebustest.WaitRoles(t, b, "a", "x", "y")
		require.NotContains(t, seen.lines("a"), "NodeLeft expired")
	})
	t.Run("renewed too late", func(t *testing.T) {
		t.Parallel()
		o := newOperated(t)
		b, _ := o.bus("b", 0)
		log := &lines{}
		a, file := o.bus("a", 2*time.Second, rolebus.WithLogger(log.logger()))
		rolebustest.WaitRoles(t, b, "a", "x")
		rolebustest.WaitRoles(t, b, "a")
		eventually(t, "the reason", func() bool { return log.count("the connection cannot be made again now") > 0 })
		eventually(t, "it to know that it is cut off", func() bool { return a.Check() != nil })
		require.NoError(t, a.Err(), "it is not over")
		o.credentials(file, 0)
		rolebustest.WaitRoles(t, b, "a", "x")
	})
	t.Run("of the account", func(t *testing.T) {
		t.Parallel()
		o := newOperated(t)
		a, _ := o.bus("a", 0)
		b, _ := o.bus("b", 0)
		rolebustest.WaitRoles(t, a, "b", "x")
		o.change(func(c *jwt.AccountClaims) { c.Expires = time.Now().Add(2 * time.Second).Unix() })
		eventually(t, "both to be out", func() bool { return !a.Conn().IsConnected() && !b.Conn().IsConnected() })
		o.change(func(c *jwt.AccountClaims) { c.Expires = 0 })
		require.NoError(t, a.AddRoles(t.Context(), "y"))
		rolebustest.WaitRoles(t, b, "a", "x", "y")
		require.NoError(t, a.Err())
		require.NoError(t, b.Err())
	})
}

// An account that may have fewer connections than there are: some are ended, and wait for a place.
func TestAnAccountThatMayHaveFewerConnections(t *testing.T) {
	t.Parallel()
	o := newOperated(t)
	a, _ := o.bus("a", 0)
	b, _ := o.bus("b", 0)
	rolebustest.WaitRoles(t, a, "b", "x")
	o.change(func(c *jwt.AccountClaims) { c.Limits.Conn = 1 })
	eventually(t, "one to be out", func() bool { return a.Conn().IsConnected() != b.Conn().IsConnected() })
	in, out := a, b
	if b.Conn().IsConnected() {
		in, out = b, a
	}
	rolebustest.WaitRoles(t, in, out.Name())
	o.change(func(c *jwt.AccountClaims) { c.Limits.Conn = -1 })
	rolebustest.WaitRoles(t, in, out.Name(), "x")
	require.NoError(t, out.Err())
}

// A password that is changed while the server runs.
func TestAPasswordThatIsChanged(t *testing.T) {
	t.Parallel()
	user := func(password string) func(*server.Options) {
		return func(o *server.Options) {
			o.Users = []*server.User{{Username: "a", Password: password}, {Username: "b", Password: "b"}}
		}
	}
	url, reload := reloadable(t, user("one"))
	password := "one"
	log := &lines{}
	a := connect(t, url, rolebus.WithNode("a"), rolebus.WithRoles("x"), rolebus.WithLogger(log.logger()), rolebus.WithNATS(nats.UserInfo("a", password)))
	b := connect(t, url, rolebus.WithNode("b"), rolebus.WithNATS(nats.UserInfo("b", "b")))
	rolebustest.WaitRoles(t, b, "a", "x")
	reload(user("two"))
	rolebustest.WaitRoles(t, b, "a")
	eventually(t, "the reason", func() bool { return log.count("uthorization") > 0 })
	require.NoError(t, a.Err())
	reload(user("one"))
	rolebustest.WaitRoles(t, b, "a", "x")
}
