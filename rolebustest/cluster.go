package rolebustest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
)

// nowhere is what the servers tell each other about where a third one is. Nobody listens there: they are to connect by
// the ways of their mesh only.
const nowhere = loopback + ":1"

// Cluster is three nats-servers in the test's process that form a JetStream cluster.
type Cluster struct {
	tb      testing.TB
	servers []*Server
	names   *names
}

// NewCluster starts three servers and returns when they are ready: see [Cluster.WaitReady]. They are stopped when the
// test ends, after everything that was made of them.
//
// Each function may change the options that a server starts with, as in [NewServer]; ServerName says which one it is.
// The routes between the servers and JetStream must stay as they are.
func NewCluster(tb testing.TB, change ...func(*server.Options)) *Cluster {
	tb.Helper()
	var dirs [clusterSize]string
	for i := range dirs {
		dirs[i] = tb.TempDir()
	}
	var c *Cluster
	err := onFreePorts(tb, clusterSize+meshPorts, func(ports []int) error {
		m, err := newMesh(ports[clusterSize:])
		if err != nil {
			return err
		}
		c = &Cluster{tb: tb, names: &names{}}
		for i, dir := range dirs {
			s := &Server{tb: tb, name: fmt.Sprintf("server-%d", i+1), names: c.names, mesh: m, place: i}
			s.options = func() *server.Options {
				o := lone(s.name, ports[i], dir)
				o.Cluster.Name, o.Cluster.Advertise, o.Cluster.NoAdvertise = "rolebustest", nowhere, true
				o.Cluster.Host, o.Cluster.Port = loopback, ports[clusterSize+i]
				o.Routes = m.routes(i)
				return changed(o, change)
			}
			c.servers = append(c.servers, s)
		}
		if err := c.start(); err != nil {
			c.stop()
			m.close()
			return err
		}
		tb.Cleanup(func() { c.stop(); m.close(); dropPorts(ports) })
		return nil
	})
	if err != nil {
		tb.Fatalf("rolebustest: cluster: %v", err)
	}
	c.WaitReady()
	return c
}

// URL is where clients connect: the URLs of all servers, with commas between them. The servers do not tell clients of
// each other.
func (c *Cluster) URL() string {
	var urls []string
	for _, s := range c.servers {
		urls = append(urls, s.url)
	}
	return strings.Join(urls, ",")
}

// Servers returns the three servers, running or not.
func (c *Cluster) Servers() []*Server { return slices.Clone(c.servers) }

// Bus connects a bus to any of the servers, and to another when that one stops; otherwise as [Server.Bus] does.
func (c *Cluster) Bus(opts ...rolebus.Option) *rolebus.Bus {
	c.tb.Helper()
	return openBus(c.tb, c.URL(), c.names, opts)
}

// Conn makes a plain connection to any of the servers, and to another when that one stops; otherwise as [Server.Conn]
// does.
func (c *Cluster) Conn(opts ...nats.Option) *nats.Conn {
	c.tb.Helper()
	return openConn(c.tb, c.URL(), opts)
}

// start starts the servers one after another, so that each finds those before it at once: what it does not find it looks
// for again a second later. By then the first election may have failed, which needs the votes of all three as long as
// none has stored anything, and the next one comes after 4 to 9 seconds.
func (c *Cluster) start() error {
	for _, s := range c.servers {
		if err := s.start(); err != nil {
			return err
		}
	}
	return nil
}

// stop stops the servers together: one that is left alone would look for the others first.
func (c *Cluster) stop() {
	var wg sync.WaitGroup
	for _, s := range c.servers {
		wg.Go(s.Stop)
	}
	wg.Wait()
}
