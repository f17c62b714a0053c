package nats_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
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

// A hub and a leaf node of it, each with a bucket of the same name, are two fleets: over the link they hear each other, and
// take no notice.

// leafSetups are the ways to set up two servers so that each has its own JetStream.
var leafSetups = map[string]func(*testing.T) func(*server.Options){
	"domains": func(*testing.T) func(*server.Options) {
		return func(o *server.Options) { o.JetStreamDomain = o.ServerName }
	},
	"no domains": func(*testing.T) func(*server.Options) { return func(*server.Options) {} },
	"one domain": func(*testing.T) func(*server.Options) {
		return func(o *server.Options) { o.JetStreamDomain = "same" }
	},
	"an account": inAccount,
}

// inAccount gives both servers domains and an account, in which clients are that say nothing, and which the link connects.
func inAccount(t *testing.T) func(*server.Options) {
	path := filepath.Join(t.TempDir(), "accounts.conf")
	require.NoError(t, os.WriteFile(path, []byte(
		`accounts: {APP: {jetstream: enabled, users: [{user: app, password: secret}]}, OTHER: {jetstream: enabled}}`), 0o600))
	return func(o *server.Options) {
		accounts, err := server.ProcessConfigFile(path)
		if err != nil {
			t.Error(err)
			return
		}
		o.Accounts, o.Users, o.NoAuthUser, o.JetStreamDomain = accounts.Accounts, accounts.Users, "app", o.ServerName
		for _, remote := range o.LeafNode.Remotes {
			remote.LocalAccount = "APP"
			remote.URLs[0].User = url.UserPassword("app", "secret")
		}
	}
}

func TestLeafAndHubAreTwoFleets(t *testing.T) {
	t.Parallel()
	for name, setup := range leafSetups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, leaf := rolebustest.NewLeaf(t, setup(t))
			awaitLink(t, hub, leaf)
			// The names are the same on both sides, but for one on each, and in both orders one side has the older life.
			h, l := newSide(t, hub, "a", "b", "hub-only"), newSide(t, leaf, "a", "b", "leaf-only")
			h.open("c", h.link)
			l.open("c", l.link, rolebus.WithTTL(2*ttl))
			l.open("d", l.srv, rolebus.WithTTL(3*ttl/2))
			h.open("d", h.srv)
			for _, s := range []*side{h, l} {
				s.settle()
				for i, b := range s.buses {
					require.NoError(t, b.SetRoles(t.Context(), "x", rolebus.Role(fmt.Sprint(s.name, i))))
				}
				s.settle()
			}
			for _, s := range []*side{h, l} {
				s.awaitTold(t)
				s.holds()
			}
			acknowledgedOnce(t, h, l)
			acknowledgedOnce(t, l, h)

			// What happens on one side is nothing to the other.
			for _, each := range [][2]*side{{h, l}, {l, h}} {
				here, there := each[0], each[1]
				before := there.seen()
				require.NoError(t, here.bus("a").AddRoles(t.Context(), "y"))
				here.settle()
				if here == h {
					here.link.Cut()
					here.without("c")
					rolebustest.Within(t, ttl+time.Second+slack, "the killed one to go", here.settled)
				}
				require.NoError(t, here.bus("b").Close())
				here.without("b")
				here.settle()
				here.open("b", here.srv)
				here.settle()
				there.settle()
				here.holds() // when the lease of the killed one has ended, too
				there.holds()
				require.Equal(t, before, there.seen(), "the other side is disturbed")
			}
			for _, s := range []*side{h, l} { // that those hear who have come since
				require.NoError(t, s.bus("a").AddRoles(t.Context(), "z"))
			}
			for _, s := range []*side{h, l} {
				require.Empty(t, s.falseLosses())
				s.awaitTold(t)
			}
		})
	}
}

// The bucket of one side is made anew while the other side goes on.
func TestLeafGoesOnWhenTheHubsBucketIsMadeAnew(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"domains", "no domains"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, leaf := rolebustest.NewLeaf(t, leafSetups[name](t))
			awaitLink(t, hub, leaf)
			h, l := newSide(t, hub, "a", "b", "c"), newSide(t, leaf, "a", "b", "c")
			h.settle()
			l.settle()
			for _, each := range [][2]*side{{h, l}, {l, h}} {
				here, there := each[0], each[1]
				fleet, before := here.fleet(), there.seen()
				require.NoError(t, here.js.DeleteStream(t.Context(), "KV_rolebus"))
				eventually(t, "the bucket to be made anew, with all that was in it", func() bool {
					id := here.fleet()
					return id != "" && id != fleet && len(stored(t, here.js, "rolebus", "default")) == 3
				})
				here.holds()
				require.NoError(t, here.bus("a").AddRoles(t.Context(), "after"))
				eventually(t, "the change to be seen", func() bool {
					return !slices.ContainsFunc(here.buses, func(b *rolebus.Bus) bool { return b.Nodes("after").Len() != 1 })
				})
				here.settle()
				there.settle()
				require.Equal(t, before, there.seen(), "the other side is disturbed")
			}
			require.Empty(t, h.falseLosses())
			require.Empty(t, l.falseLosses())
		})
	}
}

// A process that may go to either server is of the fleet of the one that it is connected to.
func TestLeafOrHubIsWhereABusIsConnected(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"domains", "no domains"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, leaf := rolebustest.NewLeaf(t, leafSetups[name](t))
			awaitLink(t, hub, leaf)
			short := rolebus.WithTTL(3 * ttl / 4)
			h, l := newSide(t, hub), newSide(t, leaf)
			h.open("h", hub, short)
			l.open("l", leaf, short)
			// On each side there is a name whose life is older than that of the other side's.
			h.open("b", hub, short)
			l.open("b", leaf, short)
			l.open("c", leaf, short)
			h.open("c", hub, short)
			// And one that has gone.
			l.open("d", leaf, short)
			h.open("d", hub, short)
			h.settle()
			l.settle()

			toLeaf := leaf.Link()
			toLeaf.Cut()
			m := &side{t: t}
			m.open("mover", movable{t, hub.URL() + "," + toLeaf.URL()}, short)
			mover := m.bus("mover")
			h.buses = append(h.buses, mover)
			h.settle()
			require.NoError(t, h.bus("d").Close())
			h.without("d")
			h.settle()

			// The server that it is on stops, and with it all the others there stand still.
			toLeaf.Mend()
			hub.Stop()
			h.without("mover")
			l.buses = append(l.buses, mover)
			l.settle()
			require.NoError(t, mover.AddRoles(t.Context(), "moved"))
			eventually(t, "its change", func() bool { return l.bus("l").Nodes("moved").Len() == 1 })
			hub.Start()
			awaitLink(t, hub, leaf)
			h.settle()
			l.settle()
			l.holds()
			h.holds()

			// And back, while everybody else goes on.
			toLeaf.Cut()
			l.without("mover")
			h.buses = append(h.buses, mover)
			h.settle()
			l.settle()
			l.holds()
			h.holds()
			require.Equal(t, []string{"mover"}, names(h.bus("h").Nodes("moved").Slice()))
			require.Empty(t, h.falseLosses("mover"))
			require.Empty(t, l.falseLosses("mover"))
			require.NoError(t, mover.Err())
		})
	}
}

// movable connects a bus to whichever of several servers can be reached, in their order.
type movable struct {
	t    *testing.T
	urls string
}

func (m movable) Bus(opts ...rolebus.Option) *rolebus.Bus {
	b, err := rolebus.Connect(m.t.Context(), m.urls, append(opts, rolebus.WithNATS(nats.DontRandomize()))...)
	require.NoError(m.t, err)
	m.t.Cleanup(func() { require.NoError(m.t, b.Close()) })
	return b
}

func TestLeafWithoutJetStream(t *testing.T) {
	t.Parallel()
	_, leaf := rolebustest.NewLeaf(t, func(o *server.Options) { o.JetStream = o.ServerName == "hub" })
	_, err := rolebus.Connect(t.Context(), leaf.URL())
	require.ErrorIs(t, err, jetstream.ErrJetStreamNotEnabled)
	require.ErrorContains(t, err, "JetStream is off on this server, or for this account, which a leaf node's link connects")
	require.ErrorContains(t, err, "WithDomain")
}

// A leaf without JetStream that is set up to use the hub's is a part of the hub's fleet.
func TestLeafThatUsesTheHubsJetStreamIsOfItsFleet(t *testing.T) {
	t.Parallel()
	for name, domain := range map[string]string{"domain": "hub", "no domain": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, leaf := rolebustest.NewLeaf(t, func(o *server.Options) {
				if o.ServerName == "hub" {
					o.JetStreamDomain = domain
				} else {
					o.JetStream = false
				}
				if o.ServerName == "leaf" || domain == "" {
					o.JsAccDefaultDomain = map[string]string{"$G": domain}
				}
			})
			awaitLink(t, hub, leaf)
			h := newSide(t, hub, "a", "b")
			h.open("c", leaf)
			h.open("d", leaf)
			link := leaf.Link()
			h.open("e", link)
			h.settle()
			require.NoError(t, h.bus("c").AddRoles(t.Context(), "y"))
			h.settle()
			link.Cut()
			h.without("e")
			h.settle()
			require.NoError(t, h.bus("d").Close())
			h.without("d")
			h.settle()
			h.holds()
			require.Empty(t, h.falseLosses())
			for _, w := range h.watched {
				require.Zero(t, w.log.count("another bucket"), w.log.String())
			}
		})
	}
}

const slack = 15 * time.Second // of a machine that has much else to do

// side is one of the two servers, with the buses on it.
type side struct {
	t     *testing.T
	name  string
	srv   *rolebustest.Server
	link  *rolebustest.Link
	js    jetstream.JetStream
	buses []*rolebus.Bus

	watched []*watched
}

// watched is a bus that is or was on a side, with what it saw and logged.
type watched struct {
	bus    *rolebus.Bus
	events *events
	log    *logged

	lease      context.Context // while it is certain to be listed
	unanswered bool            // it lost its lease because no heartbeat was answered in time
}

// look follows the lease: once it is certain again, the next one.
func (w *watched) look() {
	if w.lease.Err() == nil {
		return
	}
	if cause := context.Cause(w.lease); errors.Is(cause, rolebus.ErrLeaseLost) && strings.Contains(cause.Error(), "no heartbeat got through") {
		w.unanswered = true
	}
	w.lease = w.bus.LeaseContext()
}

// caughtUp says whether the events lead to what the bus lists: who watches sees it later.
func (w *watched) caughtUp() bool {
	roles := map[string][]rolebus.Role{}
	for _, ev := range w.events.list() {
		switch node := ev.Node.Name(); ev.Kind {
		case rolebus.NodeJoined:
			roles[node] = nil
		case rolebus.RoleAdded:
			roles[node] = append(roles[node], ev.Role)
		case rolebus.RoleRemoved:
			roles[node] = slices.DeleteFunc(roles[node], func(r rolebus.Role) bool { return r == ev.Role })
		case rolebus.NodeLeft:
			delete(roles, node)
		}
	}
	listed := w.bus.AllNodes().Slice()
	return len(listed) == len(roles) && !slices.ContainsFunc(listed, func(n *rolebus.Node) bool {
		slices.Sort(roles[n.Name()])
		return !slices.Equal(roles[n.Name()], n.Roles().Slice())
	})
}

// newSide opens buses on a server.
func newSide(t *testing.T, srv *rolebustest.Server, nodes ...string) *side {
	s := &side{t: t, name: srv.Name(), srv: srv, link: srv.Link(), js: jetStream(t, srv.Conn())}
	for _, node := range nodes {
		s.open(node, srv)
	}
	return s
}

// open opens a bus on the side.
func (s *side) open(node string, way interface {
	Bus(...rolebus.Option) *rolebus.Bus
}, opts ...rolebus.Option) {
	s.t.Helper()
	log := &logged{}
	b := bus(way, node, append(opts, rolebus.WithRoles("x"), rolebus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))...)
	s.buses = append(s.buses, b)
	s.watched = append(s.watched, &watched{bus: b, events: watch(s.t, b.Scope), log: log, lease: b.LeaseContext()})
}

func (s *side) bus(node string) *rolebus.Bus {
	return s.buses[slices.IndexFunc(s.buses, func(b *rolebus.Bus) bool { return b.Name() == node })]
}

// without forgets a bus that was closed or cut off.
func (s *side) without(node string) {
	s.buses = slices.DeleteFunc(s.buses, func(b *rolebus.Bus) bool { return b.Name() == node })
}

// settled says whether each bus of the side lists just the buses of the side, its watcher too, and none is in trouble.
func (s *side) settled() bool {
	for _, b := range s.buses {
		if b.Snapshot().Stale() != 0 || b.AllNodes().Len() != len(s.buses) {
			return false
		}
		for _, other := range s.buses {
			if !slices.Equal(b.Roles(other.Name()).Slice(), other.MyRoles().Slice()) {
				return false
			}
		}
	}
	return !slices.ContainsFunc(s.watched, func(w *watched) bool { return slices.Contains(s.buses, w.bus) && !w.caughtUp() })
}

func (s *side) settle() {
	s.t.Helper()
	start := time.Now()
	for !s.settled() {
		if time.Since(start) > time.Minute {
			for _, b := range s.buses {
				s.t.Logf("%s %s: stale %v, %v, suspects %v", s.name, b.Name(), b.Snapshot().Stale(), names(b.AllNodes().Slice()), names(b.Snapshot().Suspects().Slice()))
			}
			for _, w := range s.watched {
				s.t.Logf("%s %s:\n%s", s.name, w.bus.Name(), w.log)
			}
			s.t.Fatalf("the buses of the %s do not agree", s.name)
		}
		time.Sleep(2 * time.Millisecond) // and look again, until the deadline above
	}
}

// seen is how many events each bus of the side saw.
func (s *side) seen() []string {
	var counts []string
	for _, w := range s.watched {
		counts = append(counts, fmt.Sprint(w.bus.Name(), w.events.list()))
	}
	return counts
}

// falseLosses returns what the buses of a side saw of nodes leaving that are there, but for some that did leave for a while, and
// for those that the server did not answer in time: a machine that has too much else to do breaks no promise.
func (s *side) falseLosses(but ...string) (lost []string) {
	for _, w := range s.watched {
		for _, ev := range w.events.list() {
			if ev.Kind == rolebus.NodeLeft && !slices.Contains(but, ev.Node.Name()) && slices.ContainsFunc(s.buses, func(b *rolebus.Bus) bool {
				return b.Name() == ev.Node.Name() && incarnation(b) == ev.Node.Incarnation()
			}) && !s.unanswered(ev.Node) {
				lost = append(lost, fmt.Sprintf("%s %s saw %s leave: %s", s.name, w.bus.Name(), ev.Node.Name(), ev.Reason))
			}
		}
	}
	return lost
}

// unanswered says whether a node's heartbeats were not answered for so long that it was not certain any more to be listed: not
// whether it was buried, which it may have been wrongly.
func (s *side) unanswered(n *rolebus.Node) bool {
	return slices.ContainsFunc(s.watched, func(w *watched) bool {
		w.look()
		return w.bus.IsLocal(n.Name()) && incarnation(w.bus) == n.Incarnation() && w.unanswered
	})
}

// incarnation is that of a bus's own node.
func incarnation(b *rolebus.Bus) uint64 {
	for n := range b.AllNodes().All() {
		if b.IsLocal(n.Name()) {
			return n.Incarnation()
		}
	}
	return 0
}

// awaitTold waits until each bus has told of the other bucket, and demands that it did so once, and told what to do.
func (s *side) awaitTold(t *testing.T) {
	t.Helper()
	const line = "another bucket of the same name is heard here"
	for _, w := range s.watched {
		if !slices.Contains(s.buses, w.bus) {
			continue
		}
		eventually(t, w.bus.Name()+" to tell of the other bucket", func() bool { return w.log.count(line) > 0 })
		require.Equal(t, 1, w.log.count(line), w.log.String())
		require.Equal(t, 1, w.log.count("WithBucket"))
	}
}

// fleet is the identity of the side's bucket, "" while there is none.
func (s *side) fleet() string {
	stream, err := s.js.Stream(s.t.Context(), "KV_rolebus")
	if err != nil {
		return ""
	}
	return stream.CachedInfo().Config.Metadata["rolebus.fleet"]
}

// subjects are those that a side's stream must have: records and leases.
func (s *side) subjects() (all []string) {
	for _, b := range s.buses {
		all = append(all, "$KV.rolebus.default."+b.Name(), "$KV.rolebus=lease.default."+b.Name())
	}
	return all
}

// holds waits until the bucket of the side holds a record and a lease for each of its buses, and nothing else.
func (s *side) holds() {
	s.t.Helper()
	want := s.subjects()
	slices.Sort(want)
	eventually(s.t, "each record and lease to stand on its own side, and no other", func() bool {
		have := s.stored()
		slices.Sort(have)
		return slices.Equal(have, want)
	})
}

// stored are those that it has, without tombstones.
func (s *side) stored() (all []string) {
	s.t.Helper()
	stream, err := s.js.Stream(s.t.Context(), "KV_rolebus")
	require.NoError(s.t, err)
	info, err := stream.Info(s.t.Context(), jetstream.WithSubjectFilter(">"))
	require.NoError(s.t, err)
	for subject, n := range info.State.Subjects {
		require.Equal(s.t, uint64(1), n, subject)
		msg, err := stream.GetLastMsgForSubject(s.t.Context(), subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // by now
		}
		require.NoError(s.t, err)
		if !strings.Contains(msg.Header.Get("Rolebus"), `"fleet":"`+info.Config.Metadata["rolebus.fleet"]+`"`) {
			subject += " under another identity"
		}
		if strings.HasPrefix(subject, "$KV.rolebus=") || msg.Header.Get("KV-Operation") == "" {
			all = append(all, subject)
		}
	}
	return all
}

// acknowledgedOnce writes a record on one side, and demands that only that side stores and acknowledges it.
func acknowledgedOnce(t *testing.T, here, there *side) {
	t.Helper()
	const subject = "$KV.rolebus.elsewhere.raw"
	nc := here.srv.Conn()
	acks, marks := make(chan *nats.Msg, 10), make(chan *nats.Msg, 10)
	inbox := nc.NewInbox()
	_, err := nc.ChanSubscribe(inbox, acks)
	require.NoError(t, err)
	_, err = there.srv.Conn().ChanSubscribe("mark", marks)
	require.NoError(t, err)
	require.NoError(t, nc.PublishRequest(subject, inbox, []byte("{}")))
	// What crosses the link after it has come: by then it would have come, too.
	eventually(t, "a mark to cross the link", func() bool {
		require.NoError(t, nc.Publish("mark", nil))
		require.NoError(t, nc.Flush())
		return len(marks) > 0
	})
	stream, err := there.js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	_, err = stream.GetLastMsgForSubject(t.Context(), subject)
	require.ErrorIs(t, err, jetstream.ErrMsgNotFound)
	eventually(t, "the acknowledgement", func() bool { return len(acks) > 0 })
	var ack struct{ Stream, Domain string }
	require.NoError(t, json.Unmarshal((<-acks).Data, &ack))
	require.Equal(t, "KV_rolebus", ack.Stream)
	stream, err = here.js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeSubject(subject)))
	require.Empty(t, acks, "acknowledged twice")
}

// awaitLink waits until messages cross the link, both ways.
func awaitLink(t *testing.T, hub, leaf *rolebustest.Server) {
	t.Helper()
	for from, to := range map[*rolebustest.Server]*rolebustest.Server{hub: leaf, leaf: hub} {
		here, there := from.Conn(), to.Conn()
		heard := make(chan *nats.Msg, 10_000)
		_, err := there.ChanSubscribe("awaited", heard)
		require.NoError(t, err)
		eventually(t, "a message to cross the link", func() bool {
			require.NoError(t, here.Publish("awaited", nil))
			return len(heard) > 0
		})
		here.Close()
		there.Close()
	}
}
