// Package replaced is a cluster of NATS servers with TLS and passwords whose servers are replaced one after another, as in a rolling
// update, and a fleet that works meanwhile and has only a strategy of discovery to follow them by. For tests of strategies: see [Run].
package replaced

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/sysevents"
)

const (
	size = 3

	// Domain is whom all certificates are for; that of a server is for its name in this domain, too, and for no address.
	Domain = "nats.test"
	// User and Password are what clients need. The password has all that has a meaning somewhere in a URL.
	User     = "fleet"
	Password = "p@ss:w/o?r#d,%20 é"
)

// Shape is what servers have that a test may choose.
type Shape struct {
	// OnePort has all servers listen on one port, each at another address, as those have that DNS finds by A records. Else each has
	// another port, too.
	OnePort bool
	// Advertise has servers tell clients of each other.
	Advertise bool
}

// Cluster is three servers in the test's process that form a JetStream cluster. Each has its own address of the loopback device, such as
// 127.83.7.11, and gets another one when it is replaced. Its methods are for one goroutine at a time.
type Cluster struct {
	t      testing.TB
	shape  Shape
	block  string // the first three bytes of all addresses
	port   int
	routes []string
	ca     *authority
	system *nats.Conn // a client of the system account, of any server

	places  int // that were given out
	servers [size]*one
}

// one is a server at its place.
type one struct {
	name, dir, host string
	port            int
	id              string         // in the cluster
	ns              *server.Server // nil while it is stopped
}

// New starts three servers, and returns when they work together. They stop when the test ends.
func New(t testing.TB, shape Shape) *Cluster {
	t.Helper()
	c := &Cluster{t: t, shape: shape, ca: newAuthority(t)}
	c.block = fmt.Sprintf("127.%d.%d.", 10+rand.IntN(240), 1+rand.IntN(250)) // others who run at the same time have others
	c.port = freePort(t)
	for i := range size {
		c.routes = append(c.routes, fmt.Sprintf("%s%d:%d", c.block, i+1, c.port))
	}
	t.Cleanup(c.stop)
	for i := range c.servers {
		c.servers[i] = c.another(fmt.Sprintf("server-%d", i+1), t.TempDir())
	}
	for i := range c.servers {
		c.start(i)
	}
	c.WaitReady()
	return c
}

// freePort is one on which nobody listens, at no address of this machine, and below those that systems take for outgoing connections.
func freePort(t testing.TB) int {
	for range 1000 {
		port := 10000 + rand.IntN(22000)
		if l, err := net.Listen("tcp", ":"+strconv.Itoa(port)); err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
	t.Fatal("replaced: no free port")
	return 0
}

// another is a server at a place where none was before.
func (c *Cluster) another(name, dir string) *one {
	s := &one{name: name, dir: dir, host: fmt.Sprintf("%s%d", c.block, 10+c.places), port: c.port}
	c.places++
	if !c.shape.OnePort {
		s.port += c.places
	}
	return s
}

func (c *Cluster) start(i int) {
	c.t.Helper()
	s := c.servers[i]
	o, err := server.ProcessConfigFile(c.configure(i))
	require.NoError(c.t, err)
	o.NoSigs, o.NoLog, o.DisableJetStreamBanner = true, true, true
	require.NoError(c.t, eventually(func() error { // the routes' port may be in use a moment longer
		ns, err := server.NewServer(o)
		if err != nil {
			return err
		}
		sysevents.Import(ns, o)
		log := &complaints{}
		ns.SetLoggerV2(log, false, false, false)
		ns.Start()
		for began := time.Now(); !ns.ReadyForConnections(50 * time.Millisecond); {
			if log.fatal() || time.Since(began) > patient {
				ns.Shutdown()
				ns.WaitForShutdown()
				return fmt.Errorf("%s does not start: %s", s.name, log)
			}
		}
		s.ns, s.id = ns, ns.Node()
		return nil
	}))
}

// eventually tries for a while.
func eventually(try func() error) error {
	deadline := time.Now().Add(patient)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Stop stops a server as a planned restart does: its connections are closed.
func (c *Cluster) Stop(i int) {
	if s := c.servers[i]; s.ns != nil {
		s.ns.Shutdown()
		s.ns.WaitForShutdown()
		s.ns = nil
	}
}

func (c *Cluster) stop() {
	var all sync.WaitGroup
	for i, s := range c.servers {
		if s != nil {
			all.Go(func() { c.Stop(i) })
		}
	}
	all.Wait()
	if c.system != nil {
		c.system.Close()
	}
}

// Return has a server that is stopped come back with its name and what it has stored, at another address, and waits until it works with the
// others.
func (c *Cluster) Return(i int) {
	c.t.Helper()
	old := c.servers[i]
	c.servers[i] = c.another(old.name, old.dir)
	c.start(i)
	c.WaitReady()
}

// Succeed has another server take the place of one that is stopped: with another name, another address, and nothing stored. It waits until it
// works with the others, which have removed the old one.
func (c *Cluster) Succeed(i int) {
	c.t.Helper()
	old := c.servers[i]
	c.servers[i] = c.another(fmt.Sprintf("server-%d", c.places+1), c.t.TempDir())
	c.start(i)
	require.NoError(c.t, eventually(func() error {
		if now := c.peers(); !slices.Contains(now, c.servers[i].name) {
			return fmt.Errorf("%s is not yet one of %v", c.servers[i].name, now)
		}
		return nil
	}))
	require.NoError(c.t, eventually(func() error { return c.remove(old.id) }))
	c.WaitReady()
}

// peers are the names of the servers that the leader of the cluster knows.
func (c *Cluster) peers() []string {
	for _, s := range c.servers {
		if s.ns != nil && s.ns.JetStreamIsLeader() {
			return s.ns.JetStreamClusterPeers()
		}
	}
	return nil
}

// remove has the cluster forget a server, which is then no part of its majority any more.
func (c *Cluster) remove(id string) error {
	if c.system == nil {
		nc, err := nats.Connect(c.routesOfSystem(), nats.UserInfo(systemUser, systemPassword), nats.Secure(c.ca.client(Domain)),
			nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
		if err != nil {
			return err
		}
		c.system = nc
	} else if err := c.system.SetServerPool(strings.Split(c.routesOfSystem(), ",")); err != nil {
		return err
	}
	request, err := json.Marshal(server.JSApiMetaServerRemoveRequest{Peer: id})
	if err != nil {
		return err
	}
	answer, err := c.system.Request(server.JSApiRemoveServer, request, 2*time.Second)
	if err != nil {
		return err
	}
	var said server.JSApiMetaServerRemoveResponse
	if err := json.Unmarshal(answer.Data, &said); err != nil {
		return err
	}
	if said.Error != nil && said.Error.ErrCode != uint16(server.JSClusterServerNotMemberErr) { // removed already, and the answer was lost
		return said.Error
	}
	return nil
}

// routesOfSystem are the servers that run, for a client that needs no discovery.
func (c *Cluster) routesOfSystem() string {
	var urls []string
	for _, a := range c.Addresses() {
		urls = append(urls, "tls://"+a.HostPort())
	}
	return strings.Join(urls, ",")
}

// Addresses are those of the servers that run, as IP addresses.
func (c *Cluster) Addresses() []rolebus.Address {
	var all []rolebus.Address
	for _, s := range c.servers {
		if s.ns != nil {
			all = append(all, rolebus.Address{Host: s.host, Port: s.port, Server: s.name})
		}
	}
	return all
}

// Port is that of all servers, if they have [Shape].OnePort.
func (c *Cluster) Port() int { return c.port }

// Options are what a client needs to connect to any of the servers but their addresses: user, password, and whom to trust.
func (c *Cluster) Options() []nats.Option {
	return []nats.Option{nats.UserInfo(User, Password), nats.RootCAs(c.CAFile())}
}

// CAFile is that of the authority which has signed all certificates.
func (c *Cluster) CAFile() string { return filepath.Join(c.ca.dir, "ca.pem") }
