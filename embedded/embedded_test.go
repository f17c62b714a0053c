package embedded_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolebus/rolebus/embedded"
	"github.com/rolebus/rolebus/internal/atonce"
)

const deadline = 10 * time.Second

func TestMain(m *testing.M) {
	atonce.Tests(24, 6)
	goleak.VerifyTestMain(m)
}

func TestClientsConnectAndJetStreamAnswers(t *testing.T) {
	s := start(t)
	kv := bucket(t, connect(t, s.URL()))

	_, err := kv.PutString(t.Context(), "api-1", "gateway")
	require.NoError(t, err)
	require.Equal(t, "gateway", get(t, kv, "api-1"))
}

func TestListensOnLoopbackOnly(t *testing.T) {
	s := start(t)
	require.Regexp(t, `^nats://127\.0\.0\.1:[1-9][0-9]*$`, s.URL())

	// A server on every address would answer on this one too.
	nc, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.2", strconv.Itoa(port(t, s))), time.Second)
	if err == nil {
		nc.Close()
	}
	require.Error(t, err)
}

func TestURLCanBeDialledWhenTheServerIsOnEveryAddress(t *testing.T) {
	s := start(t, embedded.WithHost("0.0.0.0"))
	require.Regexp(t, `^nats://127\.0\.0\.1:[1-9][0-9]*$`, s.URL())
	bucket(t, connect(t, s.URL()))
}

func TestServersOnFreePortsRunSideBySide(t *testing.T) {
	a, b := start(t), start(t)
	require.NotEqual(t, a.URL(), b.URL())
	bucket(t, connect(t, a.URL()))
	bucket(t, connect(t, b.URL()))
}

func TestRestartOnTheSamePortKeepsDataAndClients(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "the", "way")
	s := start(t, embedded.WithStoreDir(dir))
	again := []embedded.Option{embedded.WithPort(port(t, s)), embedded.WithStoreDir(dir)}

	nc := connect(t, s.URL())
	kv := bucket(t, nc)
	for life := range 5 {
		was := strconv.Itoa(life)
		_, err := kv.PutString(t.Context(), "life", was)
		require.NoError(t, err)

		require.NoError(t, s.Close())
		require.DirExists(t, dir)
		require.Eventually(t, func() bool { return !nc.IsConnected() }, deadline, time.Millisecond)

		s = start(t, again...)
		require.Eventually(t, nc.IsConnected, deadline, time.Millisecond)
		require.Equal(t, was, get(t, kv, "life"))
	}
}

func TestTemporaryStoreIsRemoved(t *testing.T) {
	tmp := tempRoot(t)
	s := start(t)
	kv := bucket(t, connect(t, s.URL()))
	_, err := kv.PutString(t.Context(), "api-1", "gateway")
	require.NoError(t, err)
	require.Len(t, entries(t, tmp), 1)

	require.NoError(t, s.Close())
	require.Empty(t, entries(t, tmp))
}

func TestCloseTwiceAndAtOnce(t *testing.T) {
	s := start(t)
	bucket(t, connect(t, s.URL()))

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if _, err := nats.Connect(s.URL()); err == nil {
				t.Error("a client connected after close")
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.Close())
}

func TestCloseLeavesNothing(t *testing.T) {
	for range 10 {
		s := start(t)
		nc := connect(t, s.URL())
		kv := bucket(t, nc)
		w, err := kv.WatchAll(t.Context())
		require.NoError(t, err)
		_, err = kv.PutString(t.Context(), "api-1", "gateway")
		require.NoError(t, err)
		require.NoError(t, w.Stop())
		nc.Close()
		require.NoError(t, s.Close())
		goleak.VerifyNone(t)
	}
}

func TestPortTaken(t *testing.T) {
	tmp := tempRoot(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	p := ln.Addr().(*net.TCPAddr).Port

	_, err = embedded.Start(embedded.WithPort(p))
	require.ErrorContains(t, err, ln.Addr().String())
	require.ErrorContains(t, err, "choose another by WithHost or WithPort")
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	require.Empty(t, entries(t, tmp))
	goleak.VerifyNone(t)

	require.NoError(t, ln.Close())
	start(t, embedded.WithPort(p))
}

func TestPortTakenByAnotherEmbeddedServer(t *testing.T) {
	s := start(t)
	_, err := embedded.Start(embedded.WithPort(port(t, s)))
	require.ErrorContains(t, err, strconv.Itoa(port(t, s)))
	bucket(t, connect(t, s.URL())) // and the first one is none the worse
}

func TestStoreDirInUse(t *testing.T) {
	dir := t.TempDir()
	s := start(t, embedded.WithStoreDir(dir))

	_, err := embedded.Start(embedded.WithStoreDir(dir))
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, "in use by another embedded server")
	bucket(t, connect(t, s.URL()))

	require.NoError(t, s.Close())
	start(t, embedded.WithStoreDir(dir))
}

func TestStoreDirUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	inside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(inside, "jetstream"), nil, 0o600))

	for name, tc := range map[string]struct{ dir, want string }{
		"a file":                      {file, file},
		"below a file":                {filepath.Join(file, "dir"), file},
		"JetStream's part a file":     {inside, "storage directory is not a directory"},
		"a name no file system takes": {"\x00", "store directory"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := embedded.Start(embedded.WithStoreDir(tc.dir))
			require.ErrorContains(t, err, tc.want)
			goleak.VerifyNone(t)
		})
	}
}

func TestBadOptionsComplainAtOnce(t *testing.T) {
	tmp := tempRoot(t)
	_, err := embedded.Start(
		embedded.WithPort(-1),
		embedded.WithPort(65536),
		embedded.WithHost(""),
		embedded.WithStoreDir(""),
		embedded.WithName(""),
		embedded.WithLogger(nil),
		embedded.WithServerOptions(nil),
	)
	for _, want := range []string{"port -1", "port 65536", "host", "store directory", "name", "logger", "server options"} {
		require.ErrorContains(t, err, want)
	}
	require.Empty(t, entries(t, tmp))
}

func TestServerOptionsHaveTheLastWord(t *testing.T) {
	s := start(t, embedded.WithName("bus"), embedded.WithServerOptions(func(o *server.Options) {
		require.Equal(t, "bus", o.ServerName)
		require.True(t, o.NoSigs, "signals belong to the program")
		o.Username, o.Password = "ada", "secret"
	}), embedded.WithServerOptions(func(o *server.Options) {
		require.Equal(t, "ada", o.Username)
		o.ServerName = "renamed"
	}))

	_, err := nats.Connect(s.URL())
	require.ErrorIs(t, err, nats.ErrAuthorization)
	nc := connect(t, s.URL(), nats.UserInfo("ada", "secret"))
	require.Equal(t, "renamed", nc.ConnectedServerName())
}

func TestFleetHearsOfAConnectionThatEnded(t *testing.T) {
	s := start(t)
	nc := connect(t, s.URL())
	heard, err := nc.SubscribeSync(">")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())

	dieOn(t, s, "api-1")
	msg, err := heard.NextMsg(deadline)
	require.NoError(t, err)
	require.Equal(t, "rolebus.sys.disconnect", msg.Subject)
	var event server.DisconnectEventMsg
	require.NoError(t, json.Unmarshal(msg.Data, &event))
	require.Equal(t, "api-1", event.Client.Name)
}

// A store that is older than the events, or was written by another nats-server, is found again.
func TestStoreOfAnotherServer(t *testing.T) {
	dir := t.TempDir()
	plain, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	})
	require.NoError(t, err)
	plain.Start()
	t.Cleanup(func() { plain.Shutdown(); plain.WaitForShutdown() })
	require.True(t, plain.ReadyForConnections(deadline))
	nc := connect(t, plain.ClientURL())
	_, err = bucket(t, nc).PutString(t.Context(), "api-1", "gateway")
	require.NoError(t, err)
	nc.Close()
	plain.Shutdown()
	plain.WaitForShutdown()

	s := start(t, embedded.WithStoreDir(dir))
	require.Equal(t, "gateway", get(t, bucket(t, connect(t, s.URL())), "api-1"))
}

func TestServerThatCannotStart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	taken := ln.Addr().(*net.TCPAddr).Port

	for name, tc := range map[string]struct {
		set  func(*server.Options)
		want string
	}{
		"refused before it runs": {func(o *server.Options) { o.ServerName = "a b" }, "spaces"},
		"no JetStream":           {func(o *server.Options) { o.JetStream = false }, "JetStream is off"},
		"route port taken": {func(o *server.Options) { // found out in the background
			o.ServerName = "one"
			o.Cluster = server.ClusterOpts{Name: "bus", Host: "127.0.0.1", Port: taken}
			o.Routes = server.RoutesFromStr("nats://" + ln.Addr().String())
		}, ln.Addr().String()},
		"monitoring port taken": {func(o *server.Options) {
			o.HTTPHost, o.HTTPPort = "127.0.0.1", taken
		}, ln.Addr().String()},
	} {
		t.Run(name, func(t *testing.T) {
			tmp := tempRoot(t)
			_, err := embedded.Start(embedded.WithServerOptions(tc.set))
			require.ErrorContains(t, err, tc.want)
			require.Empty(t, entries(t, tmp))
			goleak.VerifyNone(t)
		})
	}
}

func TestLogger(t *testing.T) {
	var out lockedBuffer
	l := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := start(t, embedded.WithLogger(l))
	bucket(t, connect(t, s.URL()))
	require.NoError(t, s.Close())

	require.Contains(t, out.String(), `level=INFO msg="Server is ready"`)
	require.Contains(t, out.String(), "level=DEBUG")
}

// start runs a server until the test ends.
func start(t *testing.T, opts ...embedded.Option) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func connect(t *testing.T, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func bucket(t *testing.T, nc *nats.Conn) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "rolebus"})
	require.NoError(t, err)
	return kv
}

func get(t *testing.T, kv jetstream.KeyValue, key string) string {
	t.Helper()
	entry, err := kv.Get(t.Context(), key)
	require.NoError(t, err)
	return string(entry.Value())
}

func port(t *testing.T, s *embedded.Server) int {
	t.Helper()
	u, err := url.Parse(s.URL())
	require.NoError(t, err)
	p, err := strconv.Atoi(u.Port())
	require.NoError(t, err)
	return p
}

// dieOn connects a client whose system then closes its connection, as it does when it ends a process.
func dieOn(t *testing.T, s *embedded.Server, name string) {
	t.Helper()
	var d dialer
	connect(t, s.URL(), nats.Name(name), nats.NoReconnect(), nats.SetCustomDialer(&d))
	require.NoError(t, d.socket.Close())
}

// dialer keeps what it dialled last.
type dialer struct{ socket net.Conn }

func (d *dialer) Dial(network, address string) (_ net.Conn, err error) {
	d.socket, err = net.Dial(network, address)
	return d.socket, err
}

// tempRoot is where temporary stores are made from now on, so that what is left of them can be seen.
func tempRoot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir) // the same on Windows
	return dir
}

func entries(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	found, err := os.ReadDir(dir)
	require.NoError(t, err)
	return found
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
