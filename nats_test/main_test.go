// Package nats_test is the integration suite: buses on real servers in the process, one and three.
package nats_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/atonce"
	"github.com/rolebus/rolebus/rolebustest"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleOfProcess); role != "" {
		if err := runProcess(role); err != nil {
			fmt.Fprintln(os.Stderr, role, "process:", err)
			os.Exit(1)
		}
		return
	}
	// A test mostly waits, for a lease to end, for a leader to be elected. Those that keep the cores busy are not parallel: they run alone,
	// before the others.
	atonce.Tests(32, 4)
	goleak.VerifyTestMain(m)
}

const ttl = 2 * time.Second

// bus connects a bus with a name, the suite's TTL and a short sync interval.
func bus(srv interface {
	Bus(...rolebus.Option) *rolebus.Bus
}, name string, opts ...rolebus.Option) *rolebus.Bus {
	return srv.Bus(append([]rolebus.Option{
		rolebus.WithNode(name), rolebus.WithTTL(ttl), rolebus.WithSyncInterval(time.Second),
	}, opts...)...)
}

// provision makes the bucket, for an observer that comes before any member.
func provision(t *testing.T, srv *rolebustest.Server) {
	t.Helper()
	require.NoError(t, rolebus.Provision(t.Context(), srv.Conn()))
}

func jetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return js
}

func names(nodes []*rolebus.Node) []string {
	out := []string{}
	for _, n := range nodes {
		out = append(out, n.Name())
	}
	return out
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	rolebustest.Within(t, 60*time.Second, what, cond)
}

// events collects what a watcher of a scope sees.
type events struct {
	mu  sync.Mutex
	all []rolebus.Event
	end chan struct{}
}

func watch(t *testing.T, s *rolebus.Scope) *events {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e := &events{end: make(chan struct{})}
	go func() {
		defer close(e.end)
		for ev := range s.Watch(ctx) {
			e.mu.Lock()
			e.all = append(e.all, ev)
			e.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-e.end
	})
	return e
}

func (e *events) list() []rolebus.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.all)
}

// over says whether nothing follows any more.
func (e *events) over() bool {
	select {
	case <-e.end:
		return true
	default:
		return false
	}
}

// lines returns the events as text, without those that are not about the node.
func (e *events) lines(node string) []string {
	out := []string{}
	for _, ev := range e.list() {
		if ev.Node.Name() == node {
			out = append(out, strings.Join(strings.Fields(fmt.Sprint(ev.Kind, " ", ev.Role, " ", ev.Reason)), " "))
		}
	}
	return out
}

func (e *events) count(kind rolebus.EventKind) int {
	n := 0
	for _, ev := range e.list() {
		if ev.Kind == kind {
			n++
		}
	}
	return n
}

// stored reads a scope's live records from the bucket as any KV client would: roles by node. It returns nil if there is
// no bucket, or garbage in it.
func stored(t *testing.T, js jetstream.JetStream, bucket, scope string) map[string][]rolebus.Role {
	t.Helper()
	out := map[string][]rolebus.Role{}
	kv, err := js.KeyValue(t.Context(), bucket)
	if err != nil {
		return nil
	}
	w, err := kv.Watch(t.Context(), scope+".*", jetstream.IgnoreDeletes())
	if err != nil {
		return nil
	}
	defer func() { _ = w.Stop() }()
	for entry := range w.Updates() {
		if entry == nil {
			return out
		}
		var record struct {
			Node  string
			Roles []rolebus.Role
		}
		if json.Unmarshal(entry.Value(), &record) != nil {
			return nil // garbage, for a moment
		}
		out[record.Node] = record.Roles
	}
	return nil
}

// agrees says whether a snapshot shows just what the bucket says.
func agrees(snap *rolebus.Snapshot, bucket map[string][]rolebus.Role) bool {
	withRoles := 0
	for node, roles := range bucket {
		if len(roles) > 0 {
			withRoles++
		}
		if !slices.Equal(snap.Roles(node).Slice(), roles) {
			return false
		}
	}
	return snap.AllNodes().Len() == withRoles
}

func lastSeq(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	stream, err := js.Stream(t.Context(), "KV_rolebus")
	require.NoError(t, err)
	return stream.CachedInfo().State.LastSeq
}

// makeStream makes a stream, perhaps in the place of one that was deleted a moment ago.
func makeStream(t *testing.T, js jetstream.JetStream, cfg streamConfig) {
	t.Helper()
	inPlace(t, func() error {
		_, err := js.CreateStream(t.Context(), cfg)
		return err
	})
}

// inPlace makes a stream in the place of one that was deleted a moment ago: the server may not be done with that.
func inPlace(t *testing.T, make func() error) {
	t.Helper()
	eventually(t, "the stream to be made", func() bool {
		err := make()
		var api *jetstream.APIError
		if errors.As(err, &api) && api.ErrorCode == 10049 { // error creating store for stream
			return false
		}
		require.NoError(t, err)
		return true
	})
}
