package nats_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// fleetOf connects two members and an observer for each TTL, without probes: what they see of each other is what the bucket says.
func fleetOf(srv interface {
	Bus(...rolebus.Option) *rolebus.Bus
}, ttls ...time.Duration) (fleet []*rolebus.Bus) {
	for _, ttl := range ttls {
		for _, name := range []string{"a", "b", "observer"} {
			opts := []rolebus.Option{
				rolebus.WithNode(fmt.Sprintf("%s-%v", name, ttl)), rolebus.WithTTL(ttl), rolebus.WithSyncInterval(500 * time.Millisecond),
				rolebus.WithProbeInterval(0),
			}
			if name == "observer" {
				opts = append(opts, rolebus.WithObserver())
			} else {
				opts = append(opts, rolebus.WithRoles("x"))
			}
			fleet = append(fleet, srv.Bus(opts...))
		}
	}
	return fleet
}

// Everybody waits for a node as long as that node's own TTL asks for, whatever the own one is.
func TestPromise3TwoTTLsInOneScope(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(t *testing.T, srv *rolebustest.Server){
		"a purge": func(t *testing.T, srv *rolebustest.Server) {
			stream, err := jetStream(t, srv.Conn()).Stream(t.Context(), "KV_rolebus")
			require.NoError(t, err)
			require.NoError(t, stream.Purge(t.Context()))
		},
		"a restart": func(_ *testing.T, srv *rolebustest.Server) { srv.Restart() },
		"a restart that takes longer than the shorter one": func(t *testing.T, srv *rolebustest.Server) {
			srv.Stop()
			down := time.Now()
			eventually(t, "the outage to be long enough", func() bool { return time.Since(down) > 5*ttl/2 })
			srv.Start()
		},
		"a deleted bucket": func(t *testing.T, srv *rolebustest.Server) {
			require.NoError(t, jetStream(t, srv.Conn()).DeleteStream(t.Context(), "KV_rolebus"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := rolebustest.NewServer(t)
			fleet := fleetOf(srv, ttl, time.Minute)
			var seen []*events
			whole := func() {
				for _, b := range fleet {
					eventually(t, b.Name()+" to see all", func() bool { return b.Nodes("x").Len() == 4 && b.Snapshot().Stale() == 0 })
				}
			}
			whole()
			for _, b := range fleet {
				seen = append(seen, watch(t, b.Scope))
			}
			js := jetStream(t, srv.Conn())
			fault(t, srv)
			// All is well again when the bucket holds everybody, and everybody has a lease that was taken since.
			eventually(t, "all to have written again", func() bool { return len(stored(t, js, "rolebus", "default")) == 4 })
			began := time.Now()
			eventually(t, "doubts to run out, if there are any that are counted wrongly", func() bool { return time.Since(began) > 3*ttl })
			whole()
			for i, b := range fleet {
				require.Zero(t, seen[i].count(rolebus.NodeLeft), "%s: %v", b.Name(), seen[i].gone())
				require.NoError(t, b.Err())
			}
		})
	}
}

// Who dies just when the bucket is purged has no switch any more: the others miss it as soon as one of them writes again.
func TestWhoDiesAroundAPurgeIsMissed(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	quiet := []rolebus.Option{rolebus.WithSyncInterval(time.Hour), rolebus.WithProbeInterval(0)} // nothing else tells them
	a, o := bus(srv, "a", quiet...), bus(srv, "o", append(quiet, rolebus.WithObserver())...)
	link := srv.Link()
	bus(link, "dead", append(quiet, rolebus.WithRoles("x"))...)
	for _, b := range []*rolebus.Bus{a, o} {
		rolebustest.WaitRoles(t, b, "dead", "x")
	}
	link.Cut()
	stream, err := jetStream(t, srv.Conn()).Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context()))
	for _, b := range []*rolebus.Bus{a, o} {
		rolebustest.WaitRoles(t, b, "dead")
	}
}

func TestAVeryDifferentTTLIsToldOnce(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	log := &logged{}
	a := bus(srv, "a", rolebus.WithTTL(2*time.Second), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	bus(srv, "about-the-same", rolebus.WithTTL(7*time.Second), rolebus.WithRoles("x"))
	for i := range 3 {
		bus(srv, fmt.Sprint("far-", i), rolebus.WithTTL(time.Minute), rolebus.WithRoles("x"))
	}
	eventually(t, "all", func() bool { return a.Nodes("x").Len() == 4 })
	require.Equal(t, 1, log.count("a node has a very different TTL"), log.lines)
	require.Equal(t, 1, log.count("ttl=1m0s own=2s"), log.lines)
}

// deafMember keeps a record and its lease as docs/PROTOCOL.md says, with a plain connection, and answers no probes.
type deafMember struct {
	js         jetstream.JetStream
	fleet      string
	ttl        time.Duration
	born       int64
	generation uint64
}

func (d *deafMember) message(subject, says string) *nats.Msg {
	life := fmt.Sprintf(`"incarnation":%d,%s}`, d.born, says)
	msg := nats.NewMsg(subject)
	msg.Header.Set("Nats-Expected-Last-Subject-Sequence", fmt.Sprint(d.generation))
	msg.Header.Set("Rolebus", fmt.Sprintf(`{"format":1,"fleet":%q,`, d.fleet)+life)
	msg.Data = []byte(`{"format":1,"scope":"default","node":"deaf",` + life)
	return msg
}

func (d *deafMember) heartbeat(ctx context.Context) error {
	stream, err := d.js.Stream(ctx, "KV_rolebus")
	if err != nil {
		return err
	}
	due := stream.CachedInfo().TimeStamp.Add(d.ttl).UTC()
	msg := d.message("$KV.rolebus=lease.default.deaf", fmt.Sprintf(`"version":1001,"gone":"expired","due":%d`, due.UnixMilli()))
	for name, value := range map[string]string{
		"KV-Operation": "DEL", "Nats-Schedule": "@at " + due.Format(time.RFC3339Nano), "Nats-Schedule-TTL": "1h",
		"Nats-Schedule-Target": "$KV.rolebus.default.deaf", "Nats-Expected-Last-Subject-Sequence-Subject": "$KV.rolebus.default.deaf",
	} {
		msg.Header.Set(name, value)
	}
	_, err = d.js.PublishMsg(ctx, msg)
	return err
}

// join joins with a role, and heartbeats until the test ends.
func (d *deafMember) join(t *testing.T) {
	stream, err := d.js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	d.fleet, d.born = stream.CachedInfo().Config.Metadata["rolebus.fleet"], time.Now().UnixMilli()
	require.NoError(t, d.heartbeat(t.Context()))
	ack, err := d.js.PublishMsg(t.Context(), d.message("$KV.rolebus.default.deaf", fmt.Sprintf(`"version":1,"ttl":%d,"roles":["x"]`, d.ttl.Milliseconds())))
	require.NoError(t, err)
	d.generation = ack.Sequence
	var beating sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { stop(); beating.Wait() })
	beating.Go(func() {
		for tick := time.NewTicker(d.ttl / 5); ; {
			select {
			case <-tick.C:
				_ = d.heartbeat(ctx) // if one is lost the next one will do
			case <-ctx.Done():
				return
			}
		}
	})
}

// A client that answers no probes and loses one connection is hidden for its TTL, and not for ever.
func TestASuspicionEndsWhenTheLeaseWouldHave(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := srv.Bus(suspicious("a")...)
	seen := watch(t, a.Scope)
	deaf := &deafMember{js: jetStream(t, srv.Conn()), ttl: 3 * time.Second}
	first := srv.Conn(nats.Name("rolebus deaf"))
	deaf.join(t)
	rolebustest.WaitRoles(t, a, "deaf", "x")
	first.Close() // of which the server tells, and nobody listens for the node
	rolebustest.WaitRoles(t, a, "deaf")
	require.Equal(t, []string{"deaf"}, names(a.Snapshot().Suspects().Slice()))
	eventually(t, "the watch to tell of it", func() bool { return last(seen.lines("deaf")) == "NodeLeft unreachable" })
	rolebustest.WaitRoles(t, a, "deaf", "x")
	require.Empty(t, a.Snapshot().Suspects().Slice())
	left := seen.count(rolebus.NodeLeft)
	again := srv.Conn(nats.Name("rolebus deaf"))
	again.Close() // once more: by now that says nothing of it
	mark := time.Now()
	eventually(t, "whoever heard of that to have asked", func() bool { return time.Since(mark) > time.Second })
	require.Equal(t, left, seen.count(rolebus.NodeLeft))
	require.Equal(t, []rolebus.Role{"x"}, a.Roles("deaf").Slice())
}

// Behind members that answer and ask nobody, a death is seen as soon as elsewhere.
func TestPassiveMembersHideNoDeath(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	a := srv.Bus(suspicious("a")...)
	for _, node := range []string{"b", "c", "d"} {
		srv.Bus(append(suspicious(node), rolebus.WithProbeInterval(0))...)
	}
	link := srv.Link()
	link.Bus(append(suspicious("e"), rolebus.WithProbeInterval(0))...)
	rolebustest.WaitRoles(t, a, "e", "x")
	awaitProbes(t, srv, "e", 2)
	link.Stall() // of which no server tells
	rolebustest.WaitRoles(t, a, "e")
	require.Equal(t, []string{"e"}, names(a.Snapshot().Suspects().Slice()))
}
