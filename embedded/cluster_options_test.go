package embedded_test

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

// refusedAtOnce says that Cluster returns an error with these words, and leaves nothing behind.
func refusedAtOnce(t *testing.T, words []string, opts ...embedded.Option) error {
	t.Helper()
	c, err := embedded.Cluster(t.Context(), show(), opts...)
	if err == nil {
		_ = c.Close()
	}
	require.Error(t, err)
	for _, word := range words {
		require.ErrorContains(t, err, word)
	}
	return err
}

func TestSizesThatGainNothingAreRefused(t *testing.T) {
	for _, size := range []int{-1, 0, 1, 2, 4, 6, 7} {
		refusedAtOnce(t, []string{"3 or 5"}, embedded.WithSize(size))
	}
	refusedAtOnce(t, []string{"WithSize(3) or WithSize(5)", "the same for all"})
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	_, err := embedded.Cluster(t.Context(), nil,
		embedded.WithSize(2), embedded.WithFleet("a b"), embedded.WithSecret("short"), embedded.WithSecretFile(""), embedded.WithClusterPort(0),
		embedded.WithRoutePort(70000), embedded.WithAdvertise("a b"), embedded.WithGrace(time.Second), embedded.WithPatience(time.Second),
		embedded.WithClusterTLS("", "", ""), embedded.WithTLS("", "", ""), embedded.WithTransport(nil), embedded.WithName("a/b"), embedded.WithPort(70000), nil)
	require.Error(t, err)
	for _, word := range []string{"strategy", "size 2", "fleet", "secret: ", "secret file", "cluster port 0", "route port 70000", "advertise", "grace 1s", "patience 1s",
		"cluster TLS", "TLS: ", "transport", `name "a/b"`, "port 70000", "option 15 is nil"} {
		require.ErrorContains(t, err, word)
	}
}

// A server that was removed and comes back has its process's name with ~ and a number: that is no other process's name, and fits.
func TestNamesOfServersToComeAreRefused(t *testing.T) {
	for _, name := range []string{"a~1", "~", strings.Repeat("a", 121)} {
		refusedAtOnce(t, []string{"name", "no longer than 120"}, embedded.WithSize(3), embedded.WithName(name))
	}
}

func TestOpenToOthersWithoutSecretIsRefused(t *testing.T) {
	for _, host := range []string{"0.0.0.0", "::", "192.0.2.1", "example.org"} {
		refusedAtOnce(t, []string{host, "WithSecret", "WithClusterTLS"}, embedded.WithSize(3), embedded.WithHost(host))
	}
	refusedAtOnce(t, []string{"not both"}, embedded.WithSize(3), embedded.WithSecret(secretOf('a')), embedded.WithSecretFile("x"))
	refusedAtOnce(t, []string{"port 4222", "WithPort", "WithClusterPort"}, embedded.WithSize(3), embedded.WithPort(4222), embedded.WithClusterPort(4222))
}

// secretOf is a secret that is not another letter's.
func secretOf(letter byte) string { return strings.Repeat(string(letter), 32) }

func TestServerOptionsThatAreTheClustersOwn(t *testing.T) {
	for name, each := range map[string]struct {
		set  func(*server.Options)
		word string
	}{
		"cluster name": {func(o *server.Options) { o.Cluster.Name = "mine" }, "Cluster"},
		"cluster port": {func(o *server.Options) { o.Cluster.Port = 6222 }, "Cluster"},
		"permissions": {func(o *server.Options) {
			o.Cluster.Permissions = &server.RoutePermissions{Export: &server.SubjectPermission{Deny: []string{"a"}}}
		}, "Cluster"},
		"cluster TLS":   {func(o *server.Options) { o.Cluster.TLSConfig = &tls.Config{} }, "Cluster"},
		"cluster user":  {func(o *server.Options) { o.Cluster.Username = "me" }, "Cluster"},
		"pool":          {func(o *server.Options) { o.Cluster.PoolSize = 3 }, "Cluster"},
		"routes":        {func(o *server.Options) { o.Routes = server.RoutesFromStr("nats-route://127.0.0.1:6222") }, "Routes"},
		"server name":   {func(o *server.Options) { o.ServerName = "mine" }, "WithName"},
		"no JetStream":  {func(o *server.Options) { o.JetStream = false }, "JetStream"},
		"no system":     {func(o *server.Options) { o.NoSystemAccount = true }, "system account"},
		"trusted keys":  {func(o *server.Options) { o.TrustedKeys = []string{"OAAA"} }, "operators"},
		"resolver":      {func(o *server.Options) { o.AccountResolver = &server.MemAccResolver{} }, "operators"},
		"token":         {func(o *server.Options) { o.Authorization = "token" }, "Authorization"},
		"store":         {func(o *server.Options) { o.StoreDir = os.TempDir() }, "WithStoreDir"},
		"port":          {func(o *server.Options) { o.Port = 4333 }, "WithPort"},
		"do not listen": {func(o *server.Options) { o.DontListen = true }, "DontListen"},
		"host":          {func(o *server.Options) { o.Host = "0.0.0.0" }, "WithHost"},
		"payload":       {func(o *server.Options) { o.MaxPayload, o.MaxPending = 2<<20, 1<<20 }, "max_payload"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			refusedAtOnce(t, []string{each.word}, embedded.WithSize(3), embedded.WithStoreDir(dir), embedded.WithClusterPort(freePorts(t, 1)[0]), embedded.WithServerOptions(each.set))
		})
	}
}

func TestPortsThatAreTakenAreTold(t *testing.T) {
	taken := portOf(listenOn(t, "127.0.0.1:0"))
	for _, opts := range [][]embedded.Option{
		{embedded.WithClusterPort(taken)},
		{embedded.WithClusterPort(freePorts(t, 1)[0]), embedded.WithPort(taken)},
		{embedded.WithClusterPort(freePorts(t, 1)[0]), embedded.WithRoutePort(taken)},
	} {
		err := refusedAtOnce(t, []string{"free it"}, append(opts, embedded.WithSize(3))...)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
	}
}

func TestStoreThatCannotBeUsedIsRefused(t *testing.T) {
	begin := func(dir string, opts ...embedded.Option) error {
		c, err := embedded.Cluster(t.Context(), show(), append([]embedded.Option{embedded.WithSize(3), embedded.WithClusterPort(freePorts(t, 1)[0]), embedded.WithStoreDir(dir)}, opts...)...)
		if err == nil {
			require.NoError(t, c.Close())
		}
		return err
	}
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorIs(t, begin(file), syscall.ENOTDIR)
	require.Error(t, begin("/proc/rolebus")) // where nobody can write

	mine := t.TempDir()
	require.NoError(t, begin(mine, embedded.WithName("me")))
	require.NoError(t, begin(mine, embedded.WithName("me")))
	require.NoError(t, begin(mine)) // its name is kept there
	require.ErrorContains(t, begin(mine, embedded.WithName("another")), `it belongs to "me"`)
	require.ErrorContains(t, begin(mine, embedded.WithFleet("another")), `it belongs to the fleet "rolebus"`)
	require.NoError(t, begin(mine, embedded.WithSize(5)), "no cluster was founded")

	require.NoError(t, os.WriteFile(filepath.Join(mine, "rolebus-cluster.json"), []byte(`{"version":1,"fl`), 0o600))
	require.ErrorContains(t, begin(mine), "damaged")
	require.NoError(t, os.WriteFile(filepath.Join(mine, "rolebus-cluster.json"), []byte(`{"version":7}`), 0o600))
	require.ErrorContains(t, begin(mine), "version 7")
}

func TestStoreIsOneProcessesAtATime(t *testing.T) {
	town := newTown(t)
	first := town.begin(t, "p0")
	_, err := embedded.Cluster(t.Context(), town.strategy(), embedded.WithSize(3), embedded.WithStoreDir(town.store("p0")))
	require.ErrorContains(t, err, "in use by another")
	_, err = embedded.Start(embedded.WithStoreDir(town.store("p0")))
	require.ErrorContains(t, err, "in use by another")
	require.NoError(t, first.Close())
	town.begin(t, "p0")
}

func TestStoreOfAServerAloneIsNotAClusters(t *testing.T) {
	dir := t.TempDir()
	s := start(t, embedded.WithStoreDir(dir))
	refusal := []string{"that of a server alone", "nats account backup"}
	bucket(t, connect(t, s.URL()))
	require.NoError(t, s.Close())
	refusedAtOnce(t, refusal, embedded.WithSize(3), embedded.WithStoreDir(dir))
	again := start(t, embedded.WithStoreDir(dir))
	require.Equal(t, []string{"KV_rolebus"}, streams(t, connect(t, again.URL())), "nothing was touched")
	require.NoError(t, again.Close())

	empty := t.TempDir()
	require.NoError(t, start(t, embedded.WithStoreDir(empty)).Close())
	c, err := embedded.Cluster(t.Context(), newTown(t).strategy(), embedded.WithSize(3), embedded.WithStoreDir(empty))
	require.NoError(t, err, "there is nothing in it that could be lost")
	require.NoError(t, c.Close())
}

func TestStartRefusesWhatIsForAClusterOnly(t *testing.T) {
	_, err := embedded.Start(embedded.WithSize(3), embedded.WithSecret(secretOf('a')))
	require.ErrorContains(t, err, "for Cluster only: WithSize, WithSecret")
}

func TestContextThatIsOverStartsNothing(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err := embedded.Cluster(ctx, show(), embedded.WithSize(3))
	require.ErrorIs(t, err, why)
}

var _ rolebus.Strategy = (*embedded.ClusterServer)(nil)
