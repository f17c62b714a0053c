package rolebustest

import (
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/sysevents"
)

const (
	startTimeout = 20 * time.Second
	startPoll    = 50 * time.Millisecond // below 26 ms the server's own wait spins
)

// Server is a nats-server in the test's process, on a port of the loopback address and with a directory of its own. It
// keeps both when it is stopped and started again.
type Server struct {
	tb      testing.TB
	name    string
	options func() *server.Options // new ones for every start
	names   *names
	url     string // since the first start
	mesh    *mesh  // nil outside a cluster
	place   int    // in the mesh

	mu sync.Mutex     // held while it starts or stops
	ns *server.Server // nil while stopped
}

// NewServer starts a nats-server with JetStream and returns when clients can connect to it. It is stopped when the test
// ends, after everything that was made of it.
//
// Each function may change the options that the server starts with: accounts, users, limits, JetStream off. They are
// called at every start, so what they put into the options should be made anew by them.
func NewServer(tb testing.TB, change ...func(*server.Options)) *Server {
	tb.Helper()
	dir := tb.TempDir()
	var s *Server
	err := onFreePorts(tb, 1, func(ports []int) error {
		s = &Server{tb: tb, name: "server-1", names: &names{}}
		s.options = func() *server.Options { return changed(lone(s.name, ports[0], dir), change) }
		if err := s.start(); err != nil {
			return err
		}
		tb.Cleanup(func() { s.Stop(); dropPorts(ports) })
		return nil
	})
	if err != nil {
		tb.Fatalf("rolebustest: server: %v", err)
	}
	return s
}

// URL is where clients connect. It stays the same through stops and starts.
func (s *Server) URL() string { return s.url }

// Name is the server's name: server-1, and in a cluster also server-2 and server-3.
func (s *Server) Name() string { return s.name }

// Running says whether the server is up.
func (s *Server) Running() bool { return s.running() != nil }

// Stop stops the server as a planned restart does, and returns when it has stopped. Its connections are closed; in a
// cluster others take the lead of its streams at once. What JetStream stored stays. A server that is stopped already is
// left alone.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ns != nil {
		shutdown(s.ns)
		s.ns = nil
	}
}

// Start starts the server again, on the same port and with what JetStream stored, and returns when clients can connect.
// In a cluster it still has to catch up: see [Cluster.WaitReady]. A server that is running is left alone.
func (s *Server) Start() {
	s.tb.Helper()
	if err := onOwnPort(s.start); err != nil {
		s.tb.Fatalf("rolebustest: %s again: %v", s.name, err)
	}
}

// Restart is [Server.Stop] and then [Server.Start].
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.Start()
}

// Bus connects a bus to the server; it is closed when the test ends, before the server. Unless the options say otherwise
// its node is named node-1, node-2 and so on, its TTL is 3 s, and its sync interval 1 s.
func (s *Server) Bus(opts ...rolebus.Option) *rolebus.Bus {
	s.tb.Helper()
	return openBus(s.tb, s.url, s.names, opts)
}

// Conn makes a plain connection to the server that reconnects for ever; it is closed when the test ends.
func (s *Server) Conn(opts ...nats.Option) *nats.Conn {
	s.tb.Helper()
	return openConn(s.tb, s.url, opts)
}

func lone(name string, port int, dir string) *server.Options {
	return &server.Options{
		ServerName: name, Host: loopback, Port: port,
		JetStream: true, StoreDir: dir, DisableJetStreamBanner: true,
		NoSigs: true,
	}
}

func changed(o *server.Options, change []func(*server.Options)) *server.Options {
	for _, f := range change {
		f(o)
	}
	return o
}

func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ns != nil {
		return nil
	}
	options, log := s.options(), &serverLog{}
	ns, err := server.NewServer(options)
	if err != nil {
		return err
	}
	sysevents.Import(ns, options)
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	if err := waitListening(ns, options.JetStream, log); err != nil {
		shutdown(ns)
		return err
	}
	if s.ns = ns; s.url == "" {
		s.url = ns.ClientURL()
	}
	return nil
}

// waitListening waits until clients can connect. In a cluster JetStream answers later.
func waitListening(ns *server.Server, jetStream bool, log *serverLog) error {
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		ready := ns.ReadyForConnections(startPoll)
		if err := log.failure(); err != nil {
			return err
		}
		if ready && (ns.JetStreamEnabled() || !jetStream) {
			return nil
		}
	}
	return fmt.Errorf("not ready after %v; it said:\n%s", startTimeout, log)
}

func shutdown(ns *server.Server) {
	ns.Shutdown()
	ns.WaitForShutdown()
}

func (s *Server) running() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ns
}

// via returns the server's URL with another address in it.
func (s *Server) via(address string) (through, target string, err error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return "", "", err
	}
	target, u.Host = u.Host, address
	return u.String(), target, nil
}
