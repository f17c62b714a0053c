package rolebustest

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
)

// Link is a way to a server that can be broken: a TCP proxy in front of it. To everybody else a bus whose link is cut is
// a process that died without a goodbye, until the link is mended, and one whose link is stalled is a process that hangs.
// Its methods may be called in any order. Cut and Stall may be called from any goroutine.
type Link struct {
	tb     testing.TB
	server *Server
	url    string
	pipe   *pipe
}

// Link makes a link to the server. It is cut for good when the test ends, after everything that was made of it is closed.
func (s *Server) Link() *Link {
	s.tb.Helper()
	l := &Link{tb: s.tb, server: s}
	err := onFreePorts(s.tb, 1, func(ports []int) error {
		through, target, err := s.via(hostPort(ports[0]))
		if err != nil {
			return err
		}
		l.url, l.pipe = through, newPipe(ports[0], target)
		if err := l.pipe.mend(); err != nil {
			return err
		}
		s.tb.Cleanup(func() { l.pipe.cut(); dropPorts(ports) })
		return nil
	})
	if err != nil {
		s.tb.Fatalf("rolebustest: link to %s: %v", s.name, err)
	}
	return l
}

// URL is where clients connect to the server through this link. It stays the same.
func (l *Link) URL() string { return l.url }

// Bus connects a bus through this link, as [Server.Bus] does.
func (l *Link) Bus(opts ...rolebus.Option) *rolebus.Bus {
	l.tb.Helper()
	b := openBus(l.tb, l.url, l.server.names, opts)
	l.tb.Cleanup(l.pipe.release) // before the bus is closed, which would try in vain to say goodbye
	return b
}

// Conn makes a plain connection through this link, as [Server.Conn] does.
func (l *Link) Conn(opts ...nats.Option) *nats.Conn {
	l.tb.Helper()
	return openConn(l.tb, l.url, opts)
}

// Cut closes all connections, on both sides, and refuses new ones. What was under way is lost. When it returns nothing
// passes any more.
func (l *Link) Cut() { l.pipe.cut() }

// Stall lets nothing through any more, in either direction, and closes nothing: neither side hears that the other has
// closed its connection, and a new connection is made and hears nothing. What is sent meanwhile is held, as much as the
// buffers take, and then the sender has to wait. So does a network that is dead, or a process that SIGSTOP has stopped,
// except that here the timers of the bus run on. A link that is cut stays cut.
//
// What one side had sent just before may still arrive.
func (l *Link) Stall() { l.pipe.stall(up, down) }

// Mend makes the link whole: what was held flows on, and clients can connect.
func (l *Link) Mend() {
	l.tb.Helper()
	if err := onOwnPort(l.pipe.mend); err != nil {
		l.tb.Fatalf("rolebustest: link to %s: %v", l.server.name, err)
	}
}
