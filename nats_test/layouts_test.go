package nats_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// layout starts a server from a configuration of docs/layouts as it stands there, but for where it listens and what it is linked to.
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
	a.t.Cleanup(func() {
		if b.Conn().IsConnected() {
			require.NoError(a.t, b.Close())
			return
		}
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_ = b.Shutdown(over) // there is nobody to say goodbye to
	})
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

// Without one of the imports it is said which one is missing, or what is slower.
func TestLayoutImportsAreNeeded(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "docs", "layouts", "import.conf"))
	require.NoError(t, err)
	const (
		refused  = iota // by an error of Connect, which names it
		warned          // by a line in the log, which names it
		unmade          // it cannot make the bucket
		unmended        // nor mend it
		served          // without replicas it is not even needed
	)
	for missing, outcome := range map[string]int{
		"$JS.API.STREAM.INFO.KV_rolebus":    refused,
		"$JS.API.STREAM.CREATE.KV_rolebus":  unmade,
		"$JS.API.STREAM.UPDATE.KV_rolebus":  unmended,
		"$JS.API.STREAM.MSG.GET.KV_rolebus": served,
		"$JS.API.DIRECT.GET.KV_rolebus":     refused,
		"$JS.API.DIRECT.GET.KV_rolebus.>":   refused,
		"$KV.rolebus.>":                     refused,
		"$KV.rolebus=lease.>":               refused,
		"rolebus.changes.>":                 warned,
	} {
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			lines := strings.Split(string(text), "\n")
			without := slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
				return strings.Contains(line, "account: STORE") && strings.Contains(line, `"`+missing+`"`)
			})
			require.Len(t, without, len(lines)-1)
			ns := configured(t, strings.Join(without, "\n"))
			log := &logged{}
			opts := []rolebus.Option{
				rolebus.WithAPIPrefix("JS.store.API"), rolebus.WithNode("a"), rolebus.WithTTL(ttl), rolebus.WithSyncInterval(time.Second),
				rolebus.WithRoles("x"), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))),
			}
			store := at{t, ns.ClientURL(), []rolebus.Option{rolebus.WithNATS(nats.UserInfo("store", "change me"))}}
			if outcome == unmade {
				_, err := rolebus.Connect(t.Context(), ns.ClientURL(), opts...)
				require.ErrorContains(t, err, `nobody answers at "JS.store.API.STREAM.CREATE.KV_rolebus"`)
			}
			s := bus(store, "s")
			if outcome == unmended {
				nc, err := nats.Connect(ns.ClientURL(), nats.UserInfo("store", "change me"))
				require.NoError(t, err)
				defer nc.Close()
				stream, err := jetStream(t, nc).Stream(t.Context(), "KV_rolebus")
				require.NoError(t, err)
				cfg := stream.CachedInfo().Config
				cfg.RePublish = nil
				_, err = jetStream(t, nc).UpdateStream(t.Context(), cfg)
				require.NoError(t, err)
				_, err = rolebus.Connect(t.Context(), ns.ClientURL(), opts...)
				require.ErrorIs(t, err, rolebus.ErrBucketMismatch)
				require.ErrorContains(t, err, "republish is none")
				return
			}
			if outcome == refused {
				_, err := rolebus.Connect(t.Context(), ns.ClientURL(), opts...)
				require.ErrorContains(t, err, fmt.Sprintf("nobody answers at %q", "JS.store.API."+strings.TrimPrefix(missing, "$JS.API.")))
				return
			}
			a := at{t, ns.ClientURL(), nil}.Bus(opts...)
			require.NoError(t, a.AddRoles(t.Context(), "y"))
			rolebustest.WaitNodes(t, s, "y", 1)
			require.NoError(t, s.AddRoles(t.Context(), "z"))
			rolebustest.WaitNodes(t, a, "z", 1)
			if outcome == warned {
				eventually(t, "a warning", func() bool { return log.count("is not announced here") > 0 })
				require.Equal(t, 1, log.count("rolebus.changes."), log.String())
				return
			}
			require.Zero(t, log.count("WARN"), log.String())
		})
	}
}

// die has a process join, answer all those who shall miss it, and die, as a killed one does: its connection is cut.
func die(t *testing.T, serverURL string, opts []rolebus.Option, seers []*rolebus.Bus, node string) {
	t.Helper()
	line := &cutLine{}
	// A lease that does not end as soon as it is missed, but whose grace, in which nobody suspects it, does.
	bus(at{t, serverURL, opts}, node, rolebus.WithTTL(20*time.Second), rolebus.WithNATS(nats.SetCustomDialer(line)))
	awaitAnswers(t, seers[0].Conn(), node, func(to map[string]int) bool {
		twice := 0
		for _, answers := range to {
			if answers > 1 {
				twice++
			}
		}
		return twice >= len(seers)
	})
	line.cut()
}

// cutLine dials until it is cut.
type cutLine struct {
	mu    sync.Mutex
	conns []net.Conn
	off   bool
}

func (l *cutLine) Dial(network, address string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.off {
		return nil, errors.New("cut")
	}
	conn, err := net.Dial(network, address)
	if err == nil {
		l.conns = append(l.conns, conn)
	}
	return conn, err
}

func (l *cutLine) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.off = true
	for _, conn := range l.conns {
		_ = conn.Close()
	}
}
