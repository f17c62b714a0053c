package nats_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
)

// info is where the bucket is asked for.
const info = "$JS.API.STREAM.INFO.KV_rolebus"

// Two JetStreams that both get what is meant for one are told apart before anything is written, or as soon as they are linked.
func TestTwoBucketsAreRefused(t *testing.T) {
	t.Parallel()
	js := `default_js_domain: {"$G": ""}`
	for name, tc := range map[string]struct {
		hub, spokes string
		n           int // of spokes
		opts        []rolebus.Option
		at          string // where the bus is
		api         string // where it asks for the bucket
	}{
		// A default domain of "" on both ends takes the denials off the link.
		"no domains, from the leaf": {"jetstream: {}\n" + js, "jetstream: {}\n" + js, 1, nil, "leaf", info},
		"no domains, from the hub":  {"jetstream: {}\n" + js, "jetstream: {}\n" + js, 1, nil, "hub", info},
		// The hub guards against a leaf of its own domain, not against two leaves of one.
		"two leaves of one domain": {"jetstream: {domain: hub}", "jetstream: {domain: spoke}", 2, []rolebus.Option{rolebus.WithDomain("spoke")}, "hub", "$JS.spoke.API.STREAM.INFO.KV_rolebus"},
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
			awaitTwo(t, at, tc.api)
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
	awaitTwo(t, hub, info)
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
	for _, each := range []*rolebus.Bus{a, b} {
		eventually(t, "a change to be confirmed", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return each.AddRoles(ctx, "z") == nil
		})
	}
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

// awaitTwo waits until two JetStreams answer to one question for the bucket.
func awaitTwo(t *testing.T, ns *server.Server, subject string) {
	t.Helper()
	nc, err := nats.Connect(ns.ClientURL())
	require.NoError(t, err)
	defer nc.Close()
	answers, asked := make(chan *nats.Msg, 10_000), 0
	inbox := nc.NewInbox()
	_, err = nc.ChanSubscribe(inbox, answers)
	require.NoError(t, err)
	eventually(t, "two answers", func() bool {
		asked++
		require.NoError(t, nc.PublishRequest(subject, inbox, nil))
		return len(answers) > asked // more than one for each question, however late they are
	})
}
