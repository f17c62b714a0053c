package sysevents_test

import (
	"encoding/json"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolebus/rolebus/internal/sysevents"
)

const deadline = 10 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAccountHearsOfItsOwnConnectionsOnly(t *testing.T) {
	ns := run(t, func(o *server.Options) {
		a, b := server.NewAccount("A"), server.NewAccount("B")
		o.Accounts = []*server.Account{a, b}
		o.Users = []*server.User{
			{Username: "a", Password: "a", Account: a}, {Username: "b", Password: "b", Account: b}, {Username: "g", Password: "g"},
		}
	})
	heard := map[string]*nats.Subscription{}
	for _, user := range []string{"a", "b", "g"} {
		heard[user] = listen(t, connect(t, ns, nats.UserInfo(user, user)), sysevents.Subject)
	}
	for _, user := range []string{"a", "b", "g"} {
		die(t, ns, "of "+user, nats.UserInfo(user, user))
		require.Equal(t, "of "+user, name(t, heard[user]), "the first that it hears of is its own")
	}
}

func TestOptionsMeanWhatTheyMeantBefore(t *testing.T) {
	for what, set := range map[string]func(*server.Options){
		"user and password": func(o *server.Options) { o.Username, o.Password = "u", "p" },
		"users":             func(o *server.Options) { o.Users = []*server.User{{Username: "u", Password: "p"}} },
		"no JetStream": func(o *server.Options) {
			o.JetStream = false
			o.Username, o.Password = "u", "p"
		},
		"no system account": func(o *server.Options) {
			o.NoSystemAccount, o.JetStream = true, false
			o.Username, o.Password = "u", "p"
		},
		"accounts": func(o *server.Options) {
			a := server.NewAccount("A")
			o.Accounts = []*server.Account{a}
			o.Users = []*server.User{{Username: "u", Password: "p", Account: a}}
		},
		"the default system account": func(o *server.Options) {
			s := server.NewAccount(server.DEFAULT_SYSTEM_ACCOUNT)
			o.Accounts = []*server.Account{s}
			o.Users = []*server.User{{Username: "s", Password: "s", Account: s}, {Username: "u", Password: "p"}}
		},
		"a system account": func(o *server.Options) {
			s := server.NewAccount("S")
			o.Accounts, o.SystemAccount = []*server.Account{s}, "S"
			o.Users = []*server.User{{Username: "s", Password: "s", Account: s}, {Username: "u", Password: "p"}}
		},
	} {
		t.Run(what, func(t *testing.T) {
			var o *server.Options
			ns := run(t, func(opts *server.Options) { set(opts); o = opts })
			heard := listen(t, connect(t, ns, nats.UserInfo("u", "p")), sysevents.Subject)
			defer func() { // last: this one is heard of, too
				_, err := nats.Connect(ns.ClientURL(), nats.UserInfo("nobody", "p"))
				require.ErrorIs(t, err, nats.ErrAuthorization)
			}()
			require.Equal(t, o.JetStream, ns.JetStreamEnabled())
			if o.NoSystemAccount {
				require.Nil(t, ns.SystemAccount())
				return
			}
			die(t, ns, "x", nats.UserInfo("u", "p"))
			require.Equal(t, "x", name(t, heard))
			if len(o.Users) > 1 {
				system := listen(t, connect(t, ns, nats.UserInfo("s", "s")), "$SYS.ACCOUNT.*.DISCONNECT")
				die(t, ns, "y", nats.UserInfo("u", "p"))
				require.Equal(t, "y", name(t, system))
			}
		})
	}
}

func TestWithoutUsersAnybodyMayConnectByAnyName(t *testing.T) {
	ns := run(t, func(*server.Options) {})
	heard := listen(t, connect(t, ns, nats.UserInfo("who", "ever")), sysevents.Subject)
	die(t, ns, "x")
	require.Equal(t, "x", name(t, heard))
}

// An account that imports the events by its own configuration hears them where that says.
func TestImportOfTheConfigurationIsKept(t *testing.T) {
	for to, public := range map[string]bool{"mine": true, "elsewhere": false} {
		ns := run(t, func(o *server.Options) {
			s, a := server.NewAccount("S"), server.NewAccount("A")
			var who []*server.Account
			if !public {
				who = []*server.Account{a}
			}
			require.NoError(t, s.AddStreamExport("$SYS.ACCOUNT.*.DISCONNECT", who))
			require.NoError(t, a.AddMappedStreamImport(s, "$SYS.ACCOUNT.A.DISCONNECT", to))
			o.Accounts, o.SystemAccount = []*server.Account{s, a}, "S"
			o.Users, o.NoAuthUser = []*server.User{{Username: "a", Password: "a", Account: a}}, "a"
		})
		nc := connect(t, ns)
		mine, heard := listen(t, nc, to), listen(t, nc, ">")
		die(t, ns, "x")
		require.Equal(t, "x", name(t, mine))
		msg, err := heard.NextMsg(deadline)
		require.NoError(t, err)
		require.Equal(t, to, msg.Subject, "and nowhere else")
	}
}

// What was stored before the server knew the import is found again.
func TestStoredDataStaysWhereItWas(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	before, err := server.NewServer(o)
	require.NoError(t, err)
	before.Start()
	require.True(t, before.ReadyForConnections(deadline))
	nc, err := nats.Connect(before.ClientURL())
	require.NoError(t, err)
	kv, err := jetStream(t, nc).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
	require.NoError(t, err)
	_, err = kv.PutString(t.Context(), "k", "v")
	require.NoError(t, err)
	nc.Close()
	before.Shutdown()
	before.WaitForShutdown()

	ns := run(t, func(o *server.Options) { o.StoreDir = dir })
	kv, err = jetStream(t, connect(t, ns)).KeyValue(t.Context(), "b")
	require.NoError(t, err)
	entry, err := kv.Get(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, "v", string(entry.Value()))
}

// The configuration that the documents give for a server of one's own.
func TestDocumentedConfiguration(t *testing.T) {
	o, err := server.ProcessConfigFile(filepath.Join("..", "..", "docs", "accounts.conf"))
	require.NoError(t, err)
	o.Host, o.Port, o.StoreDir, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, t.TempDir(), true, true
	ns, err := server.NewServer(o)
	require.NoError(t, err)
	start(t, ns)
	nc := connect(t, ns)
	heard := listen(t, nc, sysevents.Subject)
	_, err = jetStream(t, nc).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
	require.NoError(t, err)
	die(t, ns, "x")
	require.Equal(t, "x", name(t, heard))
}

func options(dir string) *server.Options {
	return &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	}
}

func run(t *testing.T, change func(*server.Options)) *server.Server {
	t.Helper()
	o := options(t.TempDir())
	change(o)
	ns, err := server.NewServer(o)
	require.NoError(t, err)
	sysevents.Import(ns, o)
	start(t, ns)
	return ns
}

func start(t *testing.T, ns *server.Server) {
	t.Helper()
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	require.True(t, ns.ReadyForConnections(deadline))
}

func connect(t *testing.T, ns *server.Server, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(ns.ClientURL(), opts...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func jetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return js
}

// listen returns when the server has the subscription.
func listen(t *testing.T, nc *nats.Conn, subject string) *nats.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	require.NoError(t, err)
	require.NoError(t, nc.FlushTimeout(deadline))
	return sub
}

// die connects a client whose system then closes its connection, as it does when it ends a process.
func die(t *testing.T, ns *server.Server, name string, opts ...nats.Option) {
	t.Helper()
	var socket net.Conn
	dial := dialFunc(func(network, address string) (_ net.Conn, err error) {
		socket, err = net.Dial(network, address)
		return socket, err
	})
	connect(t, ns, append(opts, nats.Name(name), nats.NoReconnect(), nats.SetCustomDialer(dial))...)
	// Only its side: with something of the server's unread, such as its PING, the whole would be a reset, and another reason.
	require.NoError(t, socket.(*net.TCPConn).CloseWrite())
}

type dialFunc func(network, address string) (net.Conn, error)

func (f dialFunc) Dial(network, address string) (net.Conn, error) { return f(network, address) }

// name waits for the next event and returns the name of the connection that it tells of.
func name(t *testing.T, heard *nats.Subscription) string {
	t.Helper()
	msg, err := heard.NextMsg(deadline)
	require.NoError(t, err)
	var event server.DisconnectEventMsg
	require.NoError(t, json.Unmarshal(msg.Data, &event))
	require.Equal(t, server.DisconnectEventMsgType, event.Type)
	require.Equal(t, server.ClientClosed.String(), event.Reason)
	require.NotZero(t, event.Client.ID)
	require.NotEmpty(t, event.Server.ID)
	return event.Client.Name
}
