package nats_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

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

// awaitLinks waits until so many leaf nodes are linked to a hub.
func awaitLinks(t *testing.T, hub *server.Server, n int) {
	t.Helper()
	eventually(t, "the leaf nodes to be linked", func() bool { return hub.NumLeafNodes() >= n })
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
			if opts == nil { // so the link must be up, and know where to
				nc, err := nats.Connect(leaf.ClientURL())
				require.NoError(t, err)
				defer nc.Close()
				js := jetStream(t, nc)
				eventually(t, "the hub's JetStream to answer at the leaf node", func() bool {
					_, err := js.AccountInfo(t.Context())
					return err == nil
				})
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
			answers(t, "called", a, c)
			for _, each := range all {
				canCall(t, each, "called", "a", "c")
			}
			if file == "leaf-jetstream.conf" { // who says nothing is of another fleet
				d := bus(at{t, leaf.ClientURL(), nil}, "d", rolebus.WithRoles("x"))
				require.Equal(t, []string{"d"}, names(d.Nodes("x").Slice()))
			}
			// Suspicion crosses the link: a process that dies is gone long before its lease ends.
			seen := watch(t, b.Scope)
			die(t, leaf.ClientURL(), opts, all, "e")
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
