package rolebustest

import (
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// leafRetry is how soon a leaf node tries again to reach a hub that was stopped.
const leafRetry = 100 * time.Millisecond

// NewLeaf starts two nats-servers, named hub and leaf, of which the second is a leaf node of the first, and returns when
// they are linked. Each has JetStream, and streams, of its own; they are stopped when the test ends, after everything that
// was made of them.
//
// Each function may change the options that a server starts with, as in [NewServer]; ServerName says which one it is. There
// the leaf may get another domain, or no JetStream, and its link (LeafNode.Remotes) an account.
//
// A bucket of one is not that of the other. A bus on the leaf has the hub's only if the leaf has no JetStream at all, and its
// options send JetStream's requests there (JsAccDefaultDomain).
func NewLeaf(tb testing.TB, change ...func(*server.Options)) (hub, leaf *Server) {
	tb.Helper()
	hubDir, leafDir, names := tb.TempDir(), tb.TempDir(), &names{}
	err := onFreePorts(tb, 3, func(ports []int) error {
		hub = &Server{tb: tb, name: "hub", names: names}
		hub.options = func() *server.Options {
			o := lone(hub.name, ports[0], hubDir)
			o.LeafNode.Host, o.LeafNode.Port = loopback, ports[2]
			return changed(o, change)
		}
		leaf = &Server{tb: tb, name: "leaf", names: names}
		leaf.options = func() *server.Options {
			o := lone(leaf.name, ports[1], leafDir)
			o.LeafNode.ReconnectInterval = leafRetry
			o.LeafNode.Remotes = []*server.RemoteLeafOpts{{URLs: []*url.URL{{Scheme: "nats-leaf", Host: hostPort(ports[2])}}}}
			return changed(o, change)
		}
		stop := func() { leaf.Stop(); hub.Stop() }
		for _, s := range []*Server{hub, leaf} {
			if err := s.start(); err != nil {
				stop()
				return err
			}
		}
		tb.Cleanup(func() { stop(); dropPorts(ports) })
		return nil
	})
	if err != nil {
		tb.Fatalf("rolebustest: hub and leaf: %v", err)
	}
	Within(tb, startTimeout, "the leaf to be linked to its hub", func() bool {
		return hub.running().NumLeafNodes() > 0 && leaf.running().NumLeafNodes() > 0 // each when it knows the other
	})
	return hub, leaf
}
