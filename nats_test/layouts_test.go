package nats_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
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

// A leaf node may come up before its link is; who starts there waits for it, if the option says that there is one to wait for.
func TestLayoutLeaf(t *testing.T) {
	t.Parallel()
	inHub := []rolebus.Option{rolebus.WithDomain("hub")}
	for file, opts := range map[string][]rolebus.Option{"leaf.conf": inHub, "leaf-jetstream.conf": inHub, "leaf-default.conf": nil} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			hub := layout(t, "hub.conf")
			leaf := layout(t, file, linkedTo(t, hub))
			if opts == nil {
				awaitLinks(t, hub, 1)
			}
			a := bus(at{t, leaf.ClientURL(), opts}, "a", rolebus.WithRoles("x"))
			b := bus(at{t, hub.ClientURL(), nil}, "b", rolebus.WithRoles("x"))
			c := bus(at{t, hub.ClientURL(), inHub}, "c", rolebus.WithRoles("x")) // where the domain is, the option does no harm
			o := bus(at{t, leaf.ClientURL(), opts}, "o", rolebus.WithObserver())
			all := []*rolebus.Bus{a, b, c, o}
			for _, each := range all {
				rolebustest.WaitNodes(t, each, "x", 3)
			}
			require.NoError(t, a.AddRoles(t.Context(), "y"))
			require.NoError(t, b.RemoveRoles(t.Context(), "x"))
			for _, each := range all {
				rolebustest.WaitNodes(t, each, "x", 2)
				rolebustest.WaitNodes(t, each, "y", 1)
			}
			if file == "leaf-jetstream.conf" { // who says nothing is of another fleet
				d := bus(at{t, leaf.ClientURL(), nil}, "d", rolebus.WithRoles("x"))
				require.Equal(t, []string{"d"}, names(d.Nodes("x").Slice()))
			}
			// Suspicion crosses the link: a process that dies is gone long before its lease ends.
			seen := watch(t, b.Scope)
			die(t, leaf.ClientURL(), opts, b, "e")
			eventually(t, "the dead one to be missed", func() bool { return slices.Contains(seen.lines("e"), "NodeLeft unreachable") })
			for _, each := range all {
				rolebustest.WaitNodes(t, each, "x", 2)
			}
		})
	}
}

// Where nobody answers in a domain, the bus waits, as the link may come up, and tells why.
func TestLayoutWithoutTheDomain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ config, says string }{
		"no link":        {"server_name: alone", "no leaf node's link of the account is up that may lead to the domain \"hub\""},
		"another domain": {"server_name: alone\njetstream: {domain: east}", "this server is of the domain \"east\", and no leaf node's link"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := configured(t, tc.config)
			waitsBecause(t, ns.ClientURL(), "hub", tc.says)
		})
	}
	hub := layout(t, "hub.conf")
	leaf := layout(t, "leaf.conf", linkedTo(t, hub))
	awaitLinks(t, hub, 1)
	waitsBecause(t, leaf.ClientURL(), "hubb", `no server has the domain "hubb"`)
}

// waitsBecause demands that Connect waits for a domain, and logs why.
func waitsBecause(t *testing.T, url, domain, says string) {
	t.Helper()
	log := &logged{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	go func() {
		_, err := rolebus.Connect(ctx, url, rolebus.WithDomain(domain), rolebus.WithLogger(slog.New(slog.NewJSONHandler(log, nil))))
		ended <- err
	}()
	says = strings.ReplaceAll(says, `"`, `\"`) // as JSON has it
	eventually(t, "the log to tell why it waits", func() bool { return log.count(says) > 0 })
	require.Positive(t, log.count("$JS."+domain+".API.STREAM.INFO.KV_rolebus"), log.String())
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

// die has a process join, answer those who ask whether it is there, and die, as a killed one does: its connection is cut.
func die(t *testing.T, serverURL string, opts []rolebus.Option, seer *rolebus.Bus, node string) {
	t.Helper()
	line := &cutLine{}
	// A long lease: what is seen within the test's patience is not its end.
	bus(at{t, serverURL, opts}, node, rolebus.WithTTL(5*time.Minute), rolebus.WithNATS(nats.SetCustomDialer(line)))
	probes := make(chan *nats.Msg, 1000)
	sub, err := seer.Conn().ChanSubscribe("rolebus.probe.default."+node, probes)
	require.NoError(t, err)
	eventually(t, node+" to be asked", func() bool { return len(probes) > 3 })
	require.NoError(t, sub.Unsubscribe()) // else somebody listens there
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

// awaitLinks waits until so many leaf nodes are linked to a hub.
func awaitLinks(t *testing.T, hub *server.Server, n int) {
	t.Helper()
	eventually(t, "the leaf nodes to be linked", func() bool { return hub.NumLeafNodes() >= n })
}

// Two JetStreams that both get what is meant for one are told apart before anything is written, or as soon as they are linked.
func TestTwoBucketsAreRefused(t *testing.T) {
	t.Parallel()
	js := `default_js_domain: {"$G": ""}`
	for name, tc := range map[string]struct {
		hub, spokes string
		n           int // of spokes
		opts        []rolebus.Option
		at          string // where the bus is
	}{
		// A default domain of "" on both ends takes the denials off the link.
		"no domains, from the leaf": {"jetstream: {}\n" + js, "jetstream: {}\n" + js, 1, nil, "leaf"},
		"no domains, from the hub":  {"jetstream: {}\n" + js, "jetstream: {}\n" + js, 1, nil, "hub"},
		// The hub guards against a leaf of its own domain, not against two leaves of one.
		"two leaves of one domain": {"jetstream: {domain: hub}", "jetstream: {domain: spoke}", 2, []rolebus.Option{rolebus.WithDomain("spoke")}, "hub"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := configured(t, "server_name: hub\nleafnodes: {port: -1}\n"+tc.hub)
			at := hub
			for i := range tc.n {
				at = configured(t, fmt.Sprintf("server_name: leaf-%d\nleafnodes: {remotes: [{url: \"nats-leaf://x:1\"}]}\n%s", i, tc.spokes), linkedTo(t, hub))
			}
			if tc.at == "hub" {
				at = hub
			}
			awaitLinks(t, hub, tc.n)
			nc, err := nats.Connect(at.ClientURL())
			require.NoError(t, err)
			defer nc.Close()
			eventually(t, "two answers", func() bool { return answers(t, nc, tc.opts) == 2 })
			// Connect waits for a second answer, but not for long: where the other one is slow it is noticed later.
			eventually(t, "to be refused", func() bool {
				b, err := rolebus.Connect(t.Context(), at.ClientURL(), tc.opts...)
				if err == nil {
					_ = b.Close()
					return false
				}
				require.ErrorIs(t, err, rolebus.ErrTwoBuckets)
				require.ErrorContains(t, err, "WithDomain")
				return true
			})
		})
	}
}

// The link comes up, or is changed, while processes on both sides run.
func TestTwoBucketsAreNoticedLater(t *testing.T) {
	t.Parallel()
	const each = "jetstream: {}\ndefault_js_domain: {\"$G\": \"\"}\n"
	hub := configured(t, "server_name: hub\nleafnodes: {port: -1}\n"+each)
	line := newLeafLine(t, hub)
	leaf := configured(t, "server_name: leaf\nleafnodes: {remotes: [{url: \"nats-leaf://x:1\"}]}\n"+each, func(o *server.Options) {
		o.LeafNode.Remotes[0].URLs = []*url.URL{{Scheme: "nats-leaf", Host: line.listener.Addr().String()}}
		o.LeafNode.Remotes[0].IgnoreDiscoveredServers = true // else it goes past the line
		o.LeafNode.ReconnectInterval = 100 * time.Millisecond
	})
	log := &logged{}
	a := bus(at{t, leaf.ClientURL(), nil}, "a", rolebus.WithRoles("x"), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	require.NoError(t, a.AddRoles(t.Context(), "y"))
	b := bus(at{t, hub.ClientURL(), nil}, "b", rolebus.WithRoles("x"))
	line.open(t)
	nc, err := nats.Connect(hub.ClientURL())
	require.NoError(t, err)
	defer nc.Close()
	eventually(t, "two answers", func() bool { return answers(t, nc, nil) == 2 })
	// What the other bucket announces has everybody look, and then no change is confirmed.
	_ = b.SetMeta(t.Context(), map[string]string{"some": "change"})
	eventually(t, "a change not to be confirmed", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		err := a.ChangeRoles(ctx, []rolebus.Role{"z"}, nil)
		if err == nil {
			err = a.ChangeRoles(ctx, nil, []rolebus.Role{"z"})
		}
		return errors.Is(err, rolebus.ErrNotConfirmed) && errors.Is(err, rolebus.ErrTwoBuckets)
	})
	require.Positive(t, log.count("what is written is stored in two buckets"), log.String())
	eventually(t, "the lease not to be certain any more", func() bool { return a.LeaseLeft() == 0 })

	// And it is all right again when the link is gone.
	line.cut()
	eventually(t, "a change to be confirmed", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return a.AddRoles(ctx, "z") == nil
	})
	eventually(t, "the lease to be certain again", func() bool { return a.LeaseLeft() > 0 })
	require.Equal(t, 1, log.count("one bucket answers again"), log.String())
}

// leafLine is the way of a leaf node to its hub. Until it is open nothing passes.
type leafLine struct {
	cutLine
	listener net.Listener
	hub      string
}

func newLeafLine(t *testing.T, hub *server.Server) *leafLine {
	t.Helper()
	v, err := hub.Varz(nil)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return &leafLine{listener: listener, hub: fmt.Sprint("127.0.0.1:", v.LeafNode.Port)}
}

func (l *leafLine) open(t *testing.T) {
	var all sync.WaitGroup
	all.Go(func() {
		for {
			from, err := l.listener.Accept()
			if err != nil {
				return
			}
			to, err := l.Dial("tcp", l.hub)
			if err != nil {
				_ = from.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
				all.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_, _ = way[0].Close(), way[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = l.listener.Close()
		l.cut()
		all.Wait()
	})
}

// answers is how many JetStreams answer to a question for the bucket.
func answers(t *testing.T, nc *nats.Conn, opts []rolebus.Option) int {
	t.Helper()
	came := make(chan *nats.Msg, 10)
	inbox := nc.NewInbox()
	sub, err := nc.ChanSubscribe(inbox, came)
	require.NoError(t, err)
	defer func() { _ = sub.Unsubscribe() }()
	subject := "$JS.API.STREAM.INFO.KV_rolebus"
	if opts != nil {
		subject = "$JS.spoke.API.STREAM.INFO.KV_rolebus"
	}
	require.NoError(t, nc.PublishRequest(subject, inbox, nil))
	time.Sleep(20 * time.Millisecond) // how many come is only known afterwards; if these are too few, it is asked again
	return len(came)
}
