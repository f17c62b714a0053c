package nats_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
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

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// The promises of the design, by number.

func TestPromise1Convergence(t *testing.T) {
	srv := rolebustest.NewServer(t)
	const fleet, observers = 50, 3
	var all []*rolebus.Bus
	buses := make([]*rolebus.Bus, fleet)
	for i := range buses {
		buses[i] = bus(srv, fmt.Sprintf("node-%02d", i), rolebus.WithTTL(10*time.Second))
	}
	for i := range observers {
		all = append(all, bus(srv, fmt.Sprintf("observer-%d", i), rolebus.WithObserver()))
	}
	// Churn: every node changes its roles at random; every fifth leaves, every tenth comes back.
	var churn sync.WaitGroup
	for i, b := range buses {
		churn.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			for range 30 {
				role := rolebus.Role(fmt.Sprint("role-", rnd.IntN(10)))
				op := b.AddRoles
				if rnd.IntN(2) == 0 {
					op = b.RemoveRoles
				}
				if err := op(context.Background(), role); err != nil {
					t.Errorf("%s: %v", b.Name(), err)
				}
			}
			if i%5 == 0 {
				if err := b.Close(); err != nil {
					t.Errorf("%s: %v", b.Name(), err)
				}
			}
		})
	}
	churn.Wait()
	for i, b := range buses {
		switch {
		case i%10 == 0:
			all = append(all, bus(srv, b.Name(), rolebus.WithRoles("again"), rolebus.WithTTL(10*time.Second)))
		case i%5 != 0:
			all = append(all, b)
		}
	}
	js := jetStream(t, srv.Conn())
	for _, b := range all {
		eventually(t, b.Name()+" to show what the bucket says", func() bool {
			return agrees(b.Snapshot(), stored(t, js, "rolebus", "default"))
		})
	}
	require.Len(t, stored(t, js, "rolebus", "default"), 45)
}

// version reads the counter role that the node of this test moves on.
func version(roles []rolebus.Role) int {
	for _, role := range roles {
		if text, ok := strings.CutPrefix(string(role), "v"); ok {
			n, _ := strconv.Atoi(text)
			return n
		}
	}
	return 0
}

func TestPromise2NoGoingBack(t *testing.T) {
	t.Parallel()
	var dir string
	srv := rolebustest.NewServer(t, func(o *server.Options) { dir = o.StoreDir })
	a, b, o := bus(srv, "a", rolebus.WithRoles("v0")), bus(srv, "b"), bus(srv, "o", rolebus.WithObserver())
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for _, reader := range []*rolebus.Bus{a, b, o} {
		readers.Go(func() {
			last, often := 0, time.NewTicker(100*time.Microsecond)
			defer often.Stop()
			for {
				select {
				case <-stop:
					return
				case <-often.C:
				}
				v := version(reader.Roles("a").Slice())
				if v < last {
					t.Errorf("%s saw version %d after %d", reader.Name(), v, last)
					return
				}
				last = v
			}
		})
	}
	defer readers.Wait()
	defer close(stop)
	move := func(to int) {
		require.NoError(t, a.SetRoles(t.Context(), rolebus.Role(fmt.Sprint("v", to))))
		for _, reader := range []*rolebus.Bus{a, b, o} {
			eventually(t, fmt.Sprint(reader.Name(), " to see version ", to), func() bool {
				return version(reader.Roles("a").Slice()) == to
			})
		}
	}
	js := jetStream(t, srv.Conn())
	move(1)
	older := filepath.Join(t.TempDir(), "older")
	srv.Stop()
	require.NoError(t, os.CopyFS(older, os.DirFS(dir)))
	srv.Start()
	move(2)
	move(3)
	// The store goes back to version 1.
	srv.Stop()
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.CopyFS(dir, os.DirFS(older)))
	srv.Start()
	eventually(t, "the owner to write it again", func() bool {
		return version(stored(t, js, "rolebus", "default")["a"]) == 3
	})
	move(4)
	require.NoError(t, js.DeleteStream(t.Context(), "KV_rolebus"))
	move(5)
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context()))
	move(6)
}

func TestPromise3NoFalseLossThroughARestartLongerThanTheTTL(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	fleet := []*rolebus.Bus{
		bus(srv, "a", rolebus.WithRoles("x")), bus(srv, "b", rolebus.WithRoles("x")),
		bus(srv, "c", rolebus.WithRoles("x")), bus(srv, "o", rolebus.WithObserver()),
	}
	var seen []*events
	for _, b := range fleet {
		seen = append(seen, watch(t, b.Scope))
		eventually(t, "the fleet", func() bool { return b.Nodes("x").Len() == 3 })
	}
	js := jetStream(t, srv.Conn())
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	lease, err := stream.GetLastMsgForSubject(t.Context(), "$KV.rolebus=lease.default.a")
	require.NoError(t, err)
	srv.Stop()
	eventually(t, "every lease to be long over", func() bool { return time.Since(lease.Time) > 3*ttl })
	for _, b := range fleet {
		require.Len(t, b.Nodes("x").Slice(), 3)
		require.Greater(t, b.Snapshot().Stale(), ttl)
	}
	srv.Start()
	for _, b := range fleet {
		eventually(t, "contact", func() bool { return b.Snapshot().Stale() == 0 })
	}
	// Until every switch of before has fired or been replaced, and every grace is over.
	eventually(t, "the bucket to be whole", func() bool { return len(stored(t, js, "rolebus", "default")) == 3 })
	again := time.Now()
	eventually(t, "the grace to be over", func() bool { return time.Since(again) > 2*ttl })
	for i, b := range fleet {
		require.Zero(t, seen[i].count(rolebus.NodeLeft), "%s: %v", b.Name(), seen[i].list())
		require.Zero(t, seen[i].count(rolebus.RoleRemoved))
		require.Len(t, b.Nodes("x").Slice(), 3)
		require.NoError(t, b.Err())
	}
}

// lastBeat reads a node's lease: when it was stored, and when it fires.
func lastBeat(t *testing.T, js jetstream.JetStream, node string) (stored, fires time.Time) {
	t.Helper()
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	lease, err := stream.GetLastMsgForSubject(t.Context(), "$KV.rolebus=lease.default."+node)
	require.NoError(t, err)
	fires, err = time.Parse("@at "+time.RFC3339Nano, lease.Header.Get("Nats-Schedule"))
	require.NoError(t, err)
	return lease.Time, fires
}

func TestPromise4BoundedLoss(t *testing.T) {
	t.Parallel()
	for fault, strike := range map[string]func(*rolebustest.Link){
		"killed": (*rolebustest.Link).Cut,
		"frozen": (*rolebustest.Link).Stall,
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			srv := rolebustest.NewServer(t)
			link := srv.Link()
			a := bus(link, "a", rolebus.WithRoles("x", "y"))
			alone := rolebus.WithProbeInterval(0) // the lease alone, without the quicker answer
			others := []*rolebus.Bus{bus(srv, "b", alone), bus(srv, "c", alone), bus(srv, "o", alone, rolebus.WithObserver())}
			var seen []*events
			for _, b := range others {
				seen = append(seen, watch(t, b.Scope))
				eventually(t, "a", func() bool { return len(seen[len(seen)-1].lines("a")) == 3 })
			}
			strike(link)
			js := jetStream(t, srv.Conn())
			beat, fires := lastBeat(t, js, "a")
			require.WithinRange(t, fires, beat.Add(-ttl), beat.Add(ttl+time.Second/2), "the switch is set to one TTL from the heartbeat")
			for i, b := range others {
				eventually(t, b.Name()+" to see it gone", func() bool { return b.AllNodes().Len() == 0 })
				eventually(t, "the events", func() bool { return len(seen[i].lines("a")) == 6 })
				require.Equal(t, []string{"RoleRemoved x expired", "RoleRemoved y expired", "NodeLeft expired"}, seen[i].lines("a")[3:])
			}
			stream, err := js.Stream(t.Context(), "KV_rolebus")
			require.NoError(t, err)
			tombstone, err := stream.GetLastMsgForSubject(t.Context(), "$KV.rolebus.default.a")
			require.NoError(t, err)
			t.Logf("switch fired %v after its time", tombstone.Time.Sub(fires))

			// Thawed, it takes its place again, with all its roles.
			link.Mend()
			for _, b := range others {
				rolebustest.WaitRoles(t, b, "a", "x", "y")
			}
			require.NoError(t, a.Err())
		})
	}
}

func TestPromise5LeavingIsOneMessage(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := srv.Bus(rolebus.WithNode("a"), rolebus.WithTTL(time.Minute), rolebus.WithRoles("x"))
	o := bus(srv, "o", rolebus.WithObserver())
	js := jetStream(t, srv.Conn())
	before := lastSeq(t, js)
	require.NoError(t, a.Close())
	require.Equal(t, before+1, lastSeq(t, js))
	rolebustest.WaitRoles(t, o, "a")
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	_, err = stream.GetLastMsgForSubject(t.Context(), "$KV.rolebus=lease.default.a")
	require.ErrorIs(t, err, jetstream.ErrMsgNotFound, "the lease went with it")
}

func TestPromise6OneLife(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	old := bus(srv, "a", rolebus.WithRoles("x"))
	o := bus(srv, "o", rolebus.WithObserver())
	seen := watch(t, o.Scope)
	young := bus(srv, "a", rolebus.WithRoles("y"))
	<-old.Done()
	require.ErrorIs(t, old.Err(), rolebus.ErrSuperseded)
	require.ErrorIs(t, old.AddRoles(t.Context(), "z"), rolebus.ErrSuperseded)
	rolebustest.WaitRoles(t, o, "a", "y")
	// Some heartbeats later the newer life stands, and nothing of the older has come back.
	js := jetStream(t, srv.Conn())
	seq := lastSeq(t, js)
	eventually(t, "heartbeats", func() bool { return lastSeq(t, js) > seq+4 })
	require.Equal(t, []string{
		"NodeJoined", "RoleAdded x", "RoleRemoved x superseded", "NodeLeft superseded", "NodeJoined", "RoleAdded y",
	}, seen.lines("a"))
	require.NoError(t, young.Err())
	require.NoError(t, old.Close())
	rolebustest.WaitRoles(t, o, "a", "y")
}

func TestPromise7Isolation(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := bus(srv, "a", rolebus.WithScopes("red", "blue"))
	b := bus(srv, "b", rolebus.WithScopes("blue"))
	other := bus(srv, "a", rolebus.WithBucket("other"), rolebus.WithScopes("red", "blue"), rolebus.WithRoles("x"))
	blue, elsewhere := watch(t, b.In("blue")), watch(t, other.In("blue"))
	require.NoError(t, a.In("red").AddRoles(t.Context(), "secret"))
	require.NoError(t, a.In("blue").AddRoles(t.Context(), "known"))
	rolebustest.WaitRoles(t, b.In("blue"), "a", "known")
	eventually(t, "the event", func() bool { return len(blue.lines("a")) == 2 })
	require.Equal(t, []string{"NodeJoined", "RoleAdded known"}, blue.lines("a"))
	require.Empty(t, b.In("red").AllNodes().Slice())
	require.Empty(t, b.AllNodes().Slice())
	require.Empty(t, a.Roles("b").Slice())
	require.Equal(t, []string{"NodeJoined"}, elsewhere.lines("a"), "another bucket is another fleet")
	require.Empty(t, a.Nodes("x").Slice())
	require.NoError(t, other.Err(), "and the same name there is another node")
	require.NoError(t, a.Err())
	require.NoError(t, other.Close())
	require.Equal(t, []string{"a"}, names(b.In("blue").Nodes("known").Slice()))
}

func TestPromise8NothingLost(t *testing.T) {
	t.Parallel()
	for forget, act := range map[string]func(context.Context, jetstream.Stream, jetstream.JetStream) error{
		"purge": func(ctx context.Context, s jetstream.Stream, _ jetstream.JetStream) error { return s.Purge(ctx) },
		"delete": func(ctx context.Context, _ jetstream.Stream, js jetstream.JetStream) error {
			return js.DeleteStream(ctx, "KV_rolebus")
		},
		"delete one key": func(ctx context.Context, _ jetstream.Stream, js jetstream.JetStream) error {
			kv, err := js.KeyValue(ctx, "rolebus")
			if err != nil {
				return err
			}
			return kv.Delete(ctx, "default.a")
		},
		"purge one key": func(ctx context.Context, _ jetstream.Stream, js jetstream.JetStream) error {
			kv, err := js.KeyValue(ctx, "rolebus")
			if err != nil {
				return err
			}
			return kv.Purge(ctx, "default.a")
		},
		"overwrite one key": func(ctx context.Context, _ jetstream.Stream, js jetstream.JetStream) error {
			kv, err := js.KeyValue(ctx, "rolebus")
			if err != nil {
				return err
			}
			_, err = kv.Put(ctx, "default.a", []byte("garbage"))
			return err
		},
		"roll everything up": func(ctx context.Context, _ jetstream.Stream, js jetstream.JetStream) error {
			msg := nats.NewMsg("$KV.rolebus.default.rollup")
			msg.Header.Set("Nats-Rollup", "all")
			_, err := js.PublishMsg(ctx, msg)
			return err
		},
	} {
		t.Run(forget, func(t *testing.T) {
			t.Parallel()
			srv := rolebustest.NewServer(t)
			a := bus(srv, "a", rolebus.WithRoles("x"), rolebus.WithMeta(map[string]string{"zone": "1"}))
			b := bus(srv, "b", rolebus.WithRoles("x"))
			o := bus(srv, "o", rolebus.WithObserver())
			require.NoError(t, a.AddRoles(t.Context(), "accepted"))
			seen, observed := watch(t, b.Scope), watch(t, o.Scope)
			js := jetStream(t, srv.Conn())
			stream, err := js.Stream(t.Context(), "KV_rolebus")
			require.NoError(t, err)
			require.NoError(t, act(t.Context(), stream, js))
			if forget == "roll everything up" {
				require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.rolebus.default.rollup")))
			}
			eventually(t, "everybody to write again what is so", func() bool {
				now := stored(t, js, "rolebus", "default")
				return len(now) == 2 && len(now["a"]) == 2 && len(now["b"]) == 1
			})
			require.NoError(t, a.AddRoles(t.Context(), "after"))
			for _, s := range []*rolebus.Bus{a, b, o} {
				rolebustest.WaitRoles(t, s, "a", "accepted", "after", "x")
				require.Equal(t, "1", s.Nodes("after").At(0).Meta("zone"))
			}
			require.Zero(t, seen.count(rolebus.NodeLeft)+observed.count(rolebus.NodeLeft), "%v %v", seen.list(), observed.list())
			require.Zero(t, seen.count(rolebus.RoleRemoved)+observed.count(rolebus.RoleRemoved))
		})
	}
}

func TestPromise10ReadsNeverFail(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a, b := bus(srv, "a", rolebus.WithRoles("x")), bus(srv, "b")
	eventually(t, "a", func() bool { return b.Nodes("x").Len() == 1 })
	check := func(when string) {
		t.Helper()
		for _, s := range []*rolebus.Bus{a, b} {
			require.Equal(t, []string{"a"}, names(s.Nodes("x").Slice()), when)
			require.Equal(t, []rolebus.Role{"x"}, s.Roles("a").Slice(), when)
			require.Equal(t, []string{"a"}, names(s.AllNodes().Slice()), when)
		}
	}
	js := jetStream(t, srv.Conn())
	require.NoError(t, js.DeleteStream(t.Context(), "KV_rolebus"))
	check("the bucket is gone")
	srv.Stop()
	eventually(t, "the loss to be noticed", func() bool { return b.Snapshot().Stale() > 0 })
	check("the server is gone")
	require.NoError(t, errors.Join(closeAnyway(a), closeAnyway(b)))
	check("the bus is closed")
}

// closeAnyway closes a bus whose goodbye cannot get through.
func closeAnyway(b *rolebus.Bus) error {
	if err := b.Close(); !errors.Is(err, rolebus.ErrNotConfirmed) {
		return fmt.Errorf("close without a server: %w", err)
	}
	return nil
}

func TestPromise11NothingLeaks(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	nc := srv.Conn()
	js := jetStream(t, nc)
	keep := bus(srv, "keep")
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	subs := nc.NumSubscriptions()
	for i := range 10 {
		b, err := rolebus.New(t.Context(), nc, rolebus.WithNode("passing"), rolebus.WithRoles("x"),
			rolebus.WithScopes("s"), rolebus.WithHandler(rolebus.Handler{OnNodeJoined: func(rolebus.Event) {}}))
		require.NoError(t, err)
		_, err = b.Join(t.Context(), "t")
		require.NoError(t, err)
		if i%2 == 0 {
			require.NoError(t, b.Leave(t.Context(), "s"))
		}
		require.NoError(t, b.Close())
		// nats.go ends the subscription of a fetch a moment after the fetch.
		eventually(t, "the subscriptions to go", func() bool { return nc.NumSubscriptions() == subs })
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("$KV.rolebus=lease.>"))
	require.NoError(t, err)
	require.Len(t, info.State.Subjects, 1, "only the lease of who is still there")
	require.Zero(t, info.State.Consumers)
	require.NoError(t, keep.Close())
	// TestMain looks for goroutines.
}

func TestPromise12UserCodeStopsNothing(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	block, entered := make(chan struct{}), make(chan struct{}, 100)
	log := &logged{} // else the panics go to standard error
	slow := bus(srv, "slow", rolebus.WithScopes("s"), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))), rolebus.WithHandler(rolebus.Handler{
		OnNodeJoined: func(rolebus.Event) { panic("of the user's code") },
		OnRoleAdded: func(rolebus.Event) {
			entered <- struct{}{}
			<-block
		},
	}))
	a := bus(srv, "a", rolebus.WithRoles("x"))
	<-entered
	for i := range 20 {
		require.NoError(t, a.SetRoles(t.Context(), rolebus.Role(fmt.Sprint("r", i))))
	}
	rolebustest.WaitRoles(t, slow, "a", "r19")
	require.NoError(t, slow.AddRoles(t.Context(), "mine"), "writing goes on")
	require.NoError(t, slow.In("s").AddRoles(t.Context(), "mine"), "and so do other scopes")
	for range slow.Watch(t.Context()) {
		break // another watcher is not held up
	}
	close(block)
	eventually(t, "the handler to catch up", func() bool { return len(entered) > 0 })
	require.Positive(t, log.count("a handler panicked"), "and never in silence")
}
