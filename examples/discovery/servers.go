package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/rolebus/rolebus/embedded"
)

// servers are those of NATS, and the two places in which they are listed.
//
// One, the hub, keeps the data, and stays. The nodes do not know it: they know those before it, which are its leaf nodes, keep nothing, and so can
// come and go at any time.
type servers struct {
	dir    string
	zone   *zone
	hub    *embedded.Server
	leaf   *url.URL // where the hub listens for the others
	run    map[string]*server.Server
	listed []string // names

	came, went int // of the lists

	mu    sync.Mutex
	ports map[string]int // by name, also of those that are gone
}

func openServers() (_ *servers, err error) {
	s := &servers{run: map[string]*server.Server{}, ports: map[string]int{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "rolebus-discovery-"); err != nil {
		return nil, err
	}
	if s.zone, err = startZone(); err != nil {
		return nil, err
	}
	var hub *server.Options
	s.hub, err = embedded.Start(embedded.WithName("hub"), embedded.WithServerOptions(func(o *server.Options) {
		o.JetStreamDomain = "hub"
		o.LeafNode.Host, o.LeafNode.Port = "127.0.0.1", server.RANDOM_PORT
		hub = o
	}))
	if err != nil {
		return nil, err
	}
	s.leaf = &url.URL{Scheme: "nats-leaf", Host: fmt.Sprintf("127.0.0.1:%d", hub.LeafNode.Port)}
	return s, nil
}

// file is the hosts file. At first there is none.
func (s *servers) file() string { return filepath.Join(s.dir, "servers.txt") }

// come starts servers, and lists them.
func (s *servers) come(names ...string) error {
	for _, name := range names {
		ns, err := server.NewServer(&server.Options{
			ServerName: name, Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			LeafNode:           server.LeafNodeOpts{Remotes: []*server.RemoteLeafOpts{{URLs: []*url.URL{s.leaf}}}, ReconnectInterval: 100 * time.Millisecond},
			JsAccDefaultDomain: map[string]string{server.DEFAULT_GLOBAL_ACCOUNT: "hub"},
		})
		if err != nil {
			return err
		}
		s.run[name] = ns
		go ns.Start()
		ready := ns.ReadyForConnections(patience)
		for began := time.Now(); ready && ns.NumLeafNodes() == 0; time.Sleep(time.Millisecond) { // until it is the hub's
			ready = time.Since(began) < patience
		}
		if !ready {
			return fmt.Errorf("server %s is not ready within %v", name, patience)
		}
		s.mu.Lock()
		s.ports[name] = ns.Addr().(*net.TCPAddr).Port
		s.mu.Unlock()
	}
	s.came += len(names)
	s.listed = append(s.listed, names...)
	return s.list()
}

// nameOf is the name of the server that listens at a port, or did.
func (s *servers) nameOf(port int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, at := range s.ports {
		if at == port {
			return name
		}
	}
	return fmt.Sprint(port)
}

// stop stops a server, and does not touch the lists.
func (s *servers) stop(name string) {
	s.run[name].Shutdown()
	s.run[name].WaitForShutdown()
	delete(s.run, name)
}

// unlist takes a server out of the lists.
func (s *servers) unlist(name string) {
	s.went++
	s.listed = slices.DeleteFunc(s.listed, func(n string) bool { return n == name })
}

// list writes DNS and the hosts file.
func (s *servers) list() error {
	var ports []int
	var lines strings.Builder
	for _, name := range s.listed {
		ports = append(ports, s.ports[name])
		fmt.Fprintf(&lines, "localhost:%d # %s\n", s.ports[name], name)
	}
	s.zone.list(ports)
	// Written beside it and renamed, the file is never seen in part.
	next := s.file() + ".next"
	if err := os.WriteFile(next, []byte(lines.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(next, s.file())
}

// fail has DNS fail, and empties the file.
func (s *servers) fail() error {
	s.zone.fail()
	return os.Truncate(s.file(), 0)
}

func (s *servers) close() error {
	var errs []error
	for name := range s.run {
		s.stop(name)
	}
	if s.hub != nil {
		errs = append(errs, s.hub.Close())
	}
	if s.zone != nil {
		errs = append(errs, s.zone.close())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}
