package nats_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// limited starts a server whose clients are in an account with these limits, by the number of replicas or "" for any.
func limited(t *testing.T, tiers map[string]server.JetStreamAccountLimits) *nats.Conn {
	t.Helper()
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, JetStreamMaxStore: 1 << 30,
	})
	require.NoError(t, err)
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	require.True(t, ns.ReadyForConnections(20*time.Second))
	account, err := ns.LookupAccount("$G")
	require.NoError(t, err)
	require.NoError(t, account.UpdateJetStreamLimits(tiers))
	nc, err := nats.Connect(ns.ClientURL())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// An account may demand a limit, and have room for some.
func TestAnAccountThatDemandsALimit(t *testing.T) {
	t.Parallel()
	free := server.JetStreamAccountLimits{MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1}
	with := func(alter func(*server.JetStreamAccountLimits)) map[string]server.JetStreamAccountLimits {
		l := free
		alter(&l)
		return map[string]server.JetStreamAccountLimits{"": l}
	}
	for name, tc := range map[string]struct {
		tiers map[string]server.JetStreamAccountLimits
		opts  []rolebus.Option
		want  int64
		says  string
	}{
		"none":                      {tiers: with(func(*server.JetStreamAccountLimits) {}), want: -1},
		"demanded":                  {tiers: with(func(l *server.JetStreamAccountLimits) { l.MaxBytesRequired = true }), want: 64 << 20},
		"with little room":          {tiers: with(func(l *server.JetStreamAccountLimits) { l.MaxBytesRequired, l.MaxStore = true, 20<<20 }), want: 16 << 20},
		"with a limit for a stream": {tiers: with(func(l *server.JetStreamAccountLimits) { l.MaxBytesRequired, l.StoreMaxStreamBytes = true, 3<<20 }), want: 2 << 20},
		"with no room": {
			tiers: with(func(l *server.JetStreamAccountLimits) { l.MaxBytesRequired, l.MaxStore = true, 1000 }),
			says:  "there is no room for max bytes of 1048576",
		},
		"as asked for": {
			tiers: with(func(l *server.JetStreamAccountLimits) { l.MaxBytesRequired = true }),
			opts:  []rolebus.Option{rolebus.WithMaxBytes(3 << 20)}, want: 3 << 20,
		},
		"more asked for than there is": {
			tiers: with(func(l *server.JetStreamAccountLimits) { l.MaxStore = 2 << 20 }),
			opts:  []rolebus.Option{rolebus.WithMaxBytes(3 << 20)}, says: "WithMaxBytes",
		},
		"in memory": {
			tiers: with(func(l *server.JetStreamAccountLimits) { l.MaxBytesRequired, l.MaxMemory = true, 5<<20 }),
			opts:  []rolebus.Option{rolebus.WithStorage(jetstream.MemoryStorage)}, want: 4 << 20,
		},
		"no limits for one replica": {
			tiers: map[string]server.JetStreamAccountLimits{"R3": free}, says: "no JetStream default or applicable tiered limit",
		},
		"no streams at all": {tiers: with(func(l *server.JetStreamAccountLimits) { l.MaxStreams = 1 }), says: "raise its limit (max_streams)"},
		"no files": {
			tiers: with(func(l *server.JetStreamAccountLimits) { l.MaxStore = 0 }), says: "keep the bucket in memory (WithStorage)",
		},
		"no files, and none are asked for": {
			tiers: with(func(l *server.JetStreamAccountLimits) { l.MaxStore = 0 }),
			opts:  []rolebus.Option{rolebus.WithStorage(jetstream.MemoryStorage)}, want: -1,
		},
		"no memory": {
			tiers: with(func(l *server.JetStreamAccountLimits) { l.MaxMemory = 0 }),
			opts:  []rolebus.Option{rolebus.WithStorage(jetstream.MemoryStorage)}, says: "keep the bucket in files (WithStorage)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc := limited(t, tc.tiers)
			if name == "no streams at all" {
				_, err := jetStream(t, nc).CreateStream(t.Context(), streamConfig{Name: "x"})
				require.NoError(t, err)
			}
			b, err := rolebus.New(t.Context(), nc, append(tc.opts, rolebus.WithNode("a"), rolebus.WithRoles("x"))...)
			if tc.says != "" {
				require.ErrorContains(t, err, tc.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, settings(t, jetStream(t, nc)).MaxBytes)
			require.NoError(t, b.Close())
		})
	}
}

// What somebody changes while it runs is mended by who may, and told by who may not, with the command.
func TestSettingsThatAreChangedWhileItRuns(t *testing.T) {
	t.Parallel()
	for name, alter := range map[string]func(*streamConfig){
		"max msg size": func(c *streamConfig) { c.MaxMsgSize = 100 },
		"max msgs":     func(c *streamConfig) { c.MaxMsgs = 2 },
		"max bytes":    func(c *streamConfig) { c.MaxBytes = 2048 },
		"max age":      func(c *streamConfig) { c.MaxAge, c.Duplicates = time.Second, 0 },
		"no ack":       func(c *streamConfig) { c.NoAck = true },
		"republish":    func(c *streamConfig) { c.RePublish = nil },
		"direct":       func(c *streamConfig) { c.AllowDirect = false },
		"subjects":     func(c *streamConfig) { c.Subjects = c.Subjects[:1] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := rolebustest.NewServer(t)
			nc := srv.Conn()
			js := jetStream(t, nc)
			provision(t, srv)
			log := &logged{}
			o := bus(srv, "o", rolebus.WithObserver())
			a := bus(srv, "a", rolebus.WithRoles("x"), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
			var fleet []*rolebus.Bus
			for i := range 4 {
				fleet = append(fleet, bus(srv, fmt.Sprint("n", i), rolebus.WithRoles("x"), rolebus.WithoutProvisioning()))
			}
			rolebustest.WaitNodes(t, o, "x", 5)
			edit(t, js, alter)
			began := time.Now()
			if name == "republish" { // no request fails by that, but a change is not announced: else it is found once a minute
				require.NoError(t, a.AddRoles(t.Context(), "z"))
			}
			rolebustest.Within(t, 3*time.Minute, "it to be mended", func() bool {
				plan, err := rolebus.PlanProvision(t.Context(), nc)
				return err == nil && len(plan.Mend) == 0
			})
			t.Logf("mended after %v\n%s", time.Since(began), log)
			eventually(t, "it to be known", func() bool { return a.AddRoles(t.Context(), "y") == nil })
			for _, b := range append(fleet, a, o) {
				rolebustest.WaitNodes(t, b, "y", 1)
				rolebustest.WaitNodes(t, b, "x", 5)
				require.NoError(t, b.Err())
			}
		})
	}
}

// Where nobody may mend it, it is told once, by everybody who looks.
func TestSettingsThatAreChangedAndNobodyMayMend(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	js := jetStream(t, nc)
	provision(t, srv)
	log, h := &logged{}, &told{}
	bus(srv, "o", rolebus.WithObserver(), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))), rolebus.WithHooks(h))
	edit(t, js, func(c *streamConfig) { c.MaxMsgsPerSubject = 5 })
	amiss := func() (found []error) {
		for _, info := range h.all() {
			if bucket, ok := info.(rolebus.BucketInfo); ok {
				found = append(found, bucket.Amiss)
			}
		}
		return found
	}
	eventually(t, "the hook to be told", func() bool { return len(amiss()) == 1 })
	require.ErrorIs(t, amiss()[0], rolebus.ErrBucketMismatch)
	require.True(t, strings.HasPrefix(amiss()[0].Error(), "rolebus: "))
	require.Equal(t, 1, log.count("settings are not as they must be"))
	follow(t, nc, amiss()[0].Error())
	eventually(t, "that it is mended to be told", func() bool { return log.count("as they must be again") == 1 })
	require.Len(t, amiss(), 1)
	require.EqualValues(t, 1, settings(t, js).MaxMsgsPerSubject)
}

// A bucket that is too small for the fleet forgets nodes, who write themselves again, for ever.
func TestABucketThatIsTooSmall(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	js := jetStream(t, srv.Conn())
	// Enough for some nodes, and so fine when it is made.
	require.NoError(t, rolebus.Provision(t.Context(), srv.Conn(), rolebus.WithMaxBytes(64<<10)))
	big := map[string]string{"note": strings.Repeat("n", 10<<10)}
	var fleet []*rolebus.Bus
	for i := range 10 {
		fleet = append(fleet, bus(srv, fmt.Sprint("n", i), rolebus.WithRoles("x"), rolebus.WithMeta(big)))
	}
	late := bus(srv, "late", rolebus.WithObserver())
	for _, b := range append(fleet, late) {
		rolebustest.WaitNodes(t, b, "x", 10)
	}
	cfg := settings(t, js)
	require.True(t, cfg.MaxBytes == -1 || cfg.MaxBytes >= 256<<10, "raised: %d", cfg.MaxBytes)
	eventually(t, "all records", func() bool { return len(stored(t, js, "rolebus", "default")) == 10 })
	before := lastSeq(t, js)
	eventually(t, "heartbeats", func() bool { return lastSeq(t, js) > before+20 })
	require.Len(t, stored(t, js, "rolebus", "default"), 10, "and they stay")
}

// Where nobody may raise it, the error of who joins names it.
func TestABucketThatIsTooSmallAndMayNotBeRaised(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	require.NoError(t, rolebus.Provision(t.Context(), nc, rolebus.WithMaxBytes(64<<10)))
	log := &logged{}
	big := map[string]string{"note": strings.Repeat("n", 10<<10)}
	opts := []rolebus.Option{
		rolebus.WithRoles("x"), rolebus.WithMeta(big), rolebus.WithoutProvisioning(), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))),
	}
	var full error
	for i := range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		b, err := rolebus.Connect(ctx, srv.URL(), append(opts, rolebus.WithNode(fmt.Sprint("n", i)))...)
		cancel()
		if err != nil {
			full = err
			break
		}
		defer func() { _ = b.Close() }()
	}
	require.ErrorIs(t, full, rolebus.ErrBucketMismatch)
	require.ErrorContains(t, full, "max bytes is 65536")
	follow(t, nc, full.Error())
	b, err := rolebus.Connect(t.Context(), srv.URL(), append(opts, rolebus.WithNode("last"))...)
	require.NoError(t, err)
	require.NoError(t, b.Close())
}

// clusterOf returns how to start the servers of a cluster, one by one. So many know of each other from the start: until those
// are there nobody is elected.
func clusterOf(t *testing.T, known int) (start func(i int) *server.Server) {
	t.Helper()
	var routes []string
	var ports []int
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		routes = append(routes, "nats://"+l.Addr().String())
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return func(i int) *server.Server {
		ns, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("s", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: ports[i]}, Routes: server.RoutesFromStr(strings.Join(routes[:known], ",")),
		})
		require.NoError(t, err)
		ns.Start()
		t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
		require.True(t, ns.ReadyForConnections(20*time.Second))
		return ns
	}
}

// A cluster that is not whole: three replicas, or one; never two, which need both.
func TestABucketMadeWithoutOneOfTheServers(t *testing.T) {
	t.Parallel()
	start := clusterOf(t, 2)
	first := start(0)
	start(1)
	log := &logged{}
	b, err := rolebus.Connect(t.Context(), first.ClientURL(), rolebus.WithNode("a"), rolebus.WithRequestTimeout(2*time.Second),
		rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	require.NoError(t, err)
	js := jetStream(t, b.Conn())
	require.Equal(t, 1, settings(t, js).Replicas)
	require.Equal(t, 1, log.count("made with one replica"), log)
	require.NoError(t, js.DeleteStream(t.Context(), "KV_rolebus"))
	require.NoError(t, b.Close())

	// Who wants three waits for the third, and says so.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	three := []rolebus.Option{rolebus.WithReplicas(3), rolebus.WithRequestTimeout(time.Second), rolebus.WithNode("b")}
	_, err = rolebus.Connect(ctx, first.ClientURL(), three...)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "waiting for servers")
	start(2)
	b, err = rolebus.Connect(t.Context(), first.ClientURL(), three...)
	require.NoError(t, err)
	require.Equal(t, 3, settings(t, jetStream(t, b.Conn())).Replicas)
	require.NoError(t, b.Close())
}

// An account may have limits for one replica only.
func TestAnAccountWithLimitsForOneReplica(t *testing.T) {
	t.Parallel()
	start := clusterOf(t, 3)
	var url string
	for i := range 3 {
		ns := start(i)
		account, err := ns.LookupAccount("$G")
		require.NoError(t, err)
		require.NoError(t, account.UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{
			"R1": {MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1, MaxBytesRequired: true},
		}))
		url = ns.ClientURL()
	}
	b, err := rolebus.Connect(t.Context(), url)
	require.NoError(t, err)
	cfg := settings(t, jetStream(t, b.Conn()))
	require.Equal(t, 1, cfg.Replicas)
	require.EqualValues(t, 64<<20, cfg.MaxBytes)
	require.NoError(t, b.Close())
}

func TestPlacement(t *testing.T) {
	t.Parallel()
	c := rolebustest.NewCluster(t, func(o *server.Options) {
		if o.ServerName != "server-2" {
			o.Tags = []string{"disk:fast"}
		}
	})
	js := jetStream(t, c.Conn())
	b := bus(c, "a", rolebus.WithPlacement("", "disk:fast"), rolebus.WithReplicas(1))
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	require.NotEqual(t, "server-2", stream.CachedInfo().Cluster.Leader)
	require.Equal(t, []string{"disk:fast"}, stream.CachedInfo().Config.Placement.Tags)
	require.NoError(t, b.Close())
	before := settings(t, js)
	b = bus(c, "a", rolebus.WithPlacement("rolebustest", "disk:slow"))
	require.Equal(t, before, settings(t, js), "a bucket that there is stays where it is")
	require.NoError(t, b.Close())
	require.NoError(t, js.DeleteStream(t.Context(), "KV_rolebus"))
	eventually(t, "the servers to have time to say why not", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err = rolebus.Connect(ctx, c.URL(), rolebus.WithPlacement("elsewhere"), rolebus.WithRequestTimeout(500*time.Millisecond))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		return strings.Contains(err.Error(), "no suitable peers for placement")
	})
}
