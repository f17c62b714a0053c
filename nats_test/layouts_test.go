package nats_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// layout starts a server from a configuration of docs/layouts as it stands there, but for where it listens and what it is linked to:
// leafs are the URLs of those that its remotes name.
func layout(t *testing.T, file string, change ...func(*server.Options)) *server.Server {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "layouts", file))
	require.NoError(t, err)
	return configured(t, string(text), change...)
}

// configured starts a server from the text of a configuration.
func configured(t *testing.T, text string, change ...func(*server.Options)) *server.Server {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats.conf")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	o, err := server.ProcessConfigFile(path)
	require.NoError(t, err)
	o.Host, o.Port, o.StoreDir, o.NoSigs, o.DisableJetStreamBanner = "127.0.0.1", -1, t.TempDir(), true, true
	if o.LeafNode.Port != 0 {
		o.LeafNode.Host, o.LeafNode.Port = "127.0.0.1", -1
	}
	if o.ServerName == "" {
		o.ServerName = fmt.Sprint(filepath.Base(t.TempDir()), "-server")
	}
	for _, f := range change {
		f(o)
	}
	ns, err := server.NewServer(o)
	require.NoError(t, err)
	if testing.Verbose() && os.Getenv("NATS_LOG") != "" {
		ns.ConfigureLogger()
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	require.True(t, ns.ReadyForConnections(20*time.Second))
	return ns
}

// linkedTo has a leaf node's remotes be where a hub listens.
func linkedTo(t *testing.T, hub *server.Server) func(*server.Options) {
	v, err := hub.Varz(nil)
	require.NoError(t, err)
	return func(o *server.Options) {
		for _, remote := range o.LeafNode.Remotes {
			user := remote.URLs[0].User
			remote.URLs = []*url.URL{{Scheme: "nats-leaf", Host: fmt.Sprint("127.0.0.1:", v.LeafNode.Port), User: user}}
		}
		o.LeafNode.ReconnectInterval = 100 * time.Millisecond
	}
}

// at is where a test opens buses.
type at struct {
	t    *testing.T
	url  string
	opts []rolebus.Option
}

func (a at) Bus(opts ...rolebus.Option) *rolebus.Bus {
	a.t.Helper()
	b, err := rolebus.Connect(a.t.Context(), a.url, append(append([]rolebus.Option{}, a.opts...), opts...)...)
	require.NoError(a.t, err)
	a.t.Cleanup(func() { require.NoError(a.t, b.Close()) })
	return b
}

func TestLayoutsStandInThePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "LAYOUTS.md"))
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join("..", "docs", "layouts", "*.conf"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(page), "```conf\n"+string(text)+"```\n", file)
	}
	require.Equal(t, len(files), strings.Count(string(page), "```conf\n"), "a configuration of the page is in no file, and so in no test")
}

func TestLayoutImport(t *testing.T) {
	t.Parallel()
	ns := layout(t, "import.conf")
	app := at{t, ns.ClientURL(), []rolebus.Option{rolebus.WithAPIPrefix("JS.store.API")}}
	store := at{t, ns.ClientURL(), []rolebus.Option{rolebus.WithNATS(nats.UserInfo("store", "change me"))}}
	a, b, c := bus(app, "a", rolebus.WithRoles("x")), bus(app, "b", rolebus.WithRoles("x")), bus(store, "c", rolebus.WithRoles("x"))
	for _, each := range []*rolebus.Bus{a, b, c} {
		rolebustest.WaitNodes(t, each, "x", 3)
	}
	require.NoError(t, a.AddRoles(t.Context(), "y"))
	rolebustest.WaitNodes(t, c, "y", 1)
	require.NoError(t, c.AddRoles(t.Context(), "z"))
	rolebustest.WaitNodes(t, a, "z", 1)
}
