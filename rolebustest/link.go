package rolebustest

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
)

// Link is a way to a server that can be broken and made worse: a TCP proxy in front of it.
//
//	               ends with     what it is
//	Cut            Mend          a process that died without a goodbye
//	Stall          Mend          a process that hangs, a network that is dead
//	StallUp        Mend          a network that is dead one way: the client is not heard
//	StallDown      Mend          the other way: the client hears nothing
//	Delay, Loss    their 0       a network that is far, or bad
//	Reset          at once       a proxy, or a NAT, that forgets its connections
//
// All may be called in any order, as often as you like and while bytes are under way, and hold for all connections at
// once, new ones as well; all but Mend also from any goroutine. What passes arrives
// complete and in order, until a connection ends. When one side ends it, the other one hears of that as of all else:
// later, or not before a stall is over.
//
// Each connection holds up to 4 MiB each way of what has not arrived, as TCP would, besides what the system's buffers
// take; then the sender has to wait.
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
	l.tb.Cleanup(l.pipe.release) // before the bus is closed, which would wait long, or in vain, for its goodbye
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

// Reset closes all connections, on both sides, and lets new ones in. What was under way is lost. A link that is cut stays
// cut.
func (l *Link) Reset() { l.pipe.reset() }

// Stall lets nothing through any more, in either direction, and closes nothing: neither side hears that the other has
// closed its connection, and a new connection is made and hears nothing. What is sent meanwhile is held, as much as the
// buffers take, and then the sender has to wait. So does a network that is dead, or a process that SIGSTOP has stopped,
// except that here the timers of the bus run on. A link that is cut stays cut.
//
// What one side had sent just before may still arrive.
func (l *Link) Stall() { l.pipe.stall(up, down) }

// StallUp is [Link.Stall] for what clients send: it no longer arrives, and they still hear the server. A new connection
// hears nothing, as TCP needs both ways to make one.
//
// A bus sees what the others do, and cannot know that they do not hear it: its lease ends ([rolebus.Scope.LeaseLeft] is
// 0), and what it changes is not confirmed. The others lose it, as one that hangs. After some time it finds that the
// server does not answer, gives the connection up, and then it is as after Stall. With a TTL of 3 s that took 5 to 9 s.
func (l *Link) StallUp() { l.pipe.stall(up) }

// StallDown is [Link.Stall] for what the server sends: it no longer arrives, and the server still hears the clients. A
// new connection hears nothing, and the server does not hear of it, as TCP needs both ways to make one.
//
// A bus sees no changes any more. What it changes the others see, but it does not learn so: the call ends with
// [rolebus.ErrNotConfirmed]. It answers no probes, as it does not hear them, so that they take it for unreachable
// although its lease still runs. After some time it finds that the server is silent, gives the connection up, and then
// it is as after Stall. With a TTL of 3 s that took 2 to 3 s.
func (l *Link) StallDown() { l.pipe.stall(down) }

// Delay has everything arrive d later, in each direction, as over a long way: an answer takes at least 2*d. It is time
// only, not bandwidth: what is sent in a burst arrives in a burst. (Only what is more than 4 MiB within d waits at the
// sender.) A change holds for what is under way, too; 0 takes the delay back. A delay that is negative fails the test and
// changes nothing.
//
// A new connection is made at once, where TCP would take 2*d; from then on its times are right: the server hears of it
// after d, and a NATS client is connected after 4*d. From 500 ms on that is longer than clients wait by default; a
// plain connection then needs [nats.Timeout], and a bus that option by [rolebus.WithNATS]. What a far link does to
// suspicion is told at [rolebus.WithProbeInterval].
func (l *Link) Delay(d time.Duration) {
	l.tb.Helper()
	if d < 0 {
		l.tb.Errorf("rolebustest: link to %s: a delay of %v: must not be negative", l.server.name, d)
		return
	}
	l.pipe.reshape(func(s *shape) { s.delay = min(d, longest) })
}

// Loss has each segment be lost with probability p, in each direction: that is up to 1448 bytes, or less if less was
// sent at once. TCP sends again what was lost, so nothing is missing in the end. It arrives late, with all that was sent
// behind it: silences, and bursts after them.
//
// The first time it is sent again after 200 ms more than a round trip (twice the [Link.Delay]), and after twice as long
// each time that it is lost again, up to 2 minutes: Linux's TCP_RTO_MIN and TCP_RTO_MAX, with the rule of RFC 6298,
// which would begin with 1 s. That is also what a new connection begins with. With p = 0.1 one message in ten takes at
// least 200 ms longer and one in a hundred 600 ms; with p = 0.5 one in sixteen 3 s.
//
// It is the harder case, that of a bus, which sends little at once: where much is under way TCP often repairs a loss
// within a round trip. Acknowledgements are not lost, the rate is not lowered after a loss, and no connection is broken
// by it: TCP gives one up after a quarter of an hour, who uses it sooner.
//
// A change holds for what is sent from then on; 0 takes the loss back, and what was held for it flows on at once. A p
// that is less than 0, 1 or more, or not a number fails the test and changes nothing.
func (l *Link) Loss(p float64) {
	l.tb.Helper()
	if !(p >= 0 && p < 1) { // as NaN is not
		l.tb.Errorf("rolebustest: link to %s: a loss of %v: must be at least 0 and less than 1", l.server.name, p)
		return
	}
	l.pipe.reshape(func(s *shape) { s.loss = p })
}

// Mend makes the link whole after [Link.Cut] and every stall: what was held flows on, and clients can connect.
// [Link.Delay] and [Link.Loss] stay: they are what the link is like, not what has befallen it.
func (l *Link) Mend() {
	l.tb.Helper()
	if err := onOwnPort(l.pipe.mend); err != nil {
		l.tb.Fatalf("rolebustest: link to %s: %v", l.server.name, err)
	}
}
