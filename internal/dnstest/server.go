// Package dnstest is a DNS server for tests, on the loopback device, by UDP and TCP: a zone that a test changes while the server runs,
// and everything that goes wrong with real ones.
package dnstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Server answers for the names that it was given, with authority, and for all others that there is no such name. Its methods may be called
// at any time, from any goroutine. Names are taken with or without the dot at their end, in upper or lower case.
type Server struct {
	t    testing.TB
	addr string

	mu      sync.Mutex
	zone    map[string][]dns.RR
	fail    map[string]How // by type, "" for all
	delay   time.Duration
	asked   []Question
	ended   chan struct{} // closed by Stop: answers that are held back are not given
	running []*dns.Server
}

// Question is what was asked.
type Question struct {
	Name    string // in lower case, with the dot at its end
	Type    string // "A"
	Network string // udp or tcp
}

// SRV is a record of a service.
type SRV struct {
	Target           string // "" for ".", which says that there is no such service
	Port             uint16
	Priority, Weight uint16
}

// New starts a server, which stops with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, addr: "127.0.0.1:0", zone: map[string][]dns.RR{}, fail: map[string]How{}}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Addr is host:port of the server. It stays the same through Stop and Start.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Resolver asks this server, and nobody else, whatever the machine's settings are; but for search domains: give it names with a dot at
// their end.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, s.Addr())
		if err == nil {
			// Go's resolver waits for the answer to a question that nobody waits for, for 5 s.
			context.AfterFunc(ctx, func() { _ = conn.Close() })
		}
		return conn, err
	}}
}

// Set gives a name these addresses, in place of whatever it had. Without any the name exists, and has none: NODATA.
func (s *Server) Set(name string, addresses ...string) {
	s.t.Helper()
	records := []dns.RR{}
	for _, text := range addresses {
		ip, err := netip.ParseAddr(text)
		switch {
		case err != nil:
			s.t.Fatalf("dnstest: %v", err)
		case ip.Is4():
			records = append(records, &dns.A{Hdr: header(name, dns.TypeA), A: ip.AsSlice()})
		default:
			records = append(records, &dns.AAAA{Hdr: header(name, dns.TypeAAAA), AAAA: ip.AsSlice()})
		}
	}
	s.put(name, records)
}

// SetSRV gives a name these records, in place of whatever it had.
func (s *Server) SetSRV(name string, records ...SRV) {
	all := []dns.RR{}
	for _, r := range records {
		all = append(all, &dns.SRV{
			Hdr: header(name, dns.TypeSRV), Target: dns.Fqdn(r.Target), Port: r.Port, Priority: r.Priority, Weight: r.Weight,
		})
	}
	s.put(name, all)
}

// Alias makes a name stand for another one, in place of whatever it had.
func (s *Server) Alias(name, target string) {
	s.put(name, []dns.RR{&dns.CNAME{Hdr: header(name, dns.TypeCNAME), Target: dns.Fqdn(target)}})
}

// Remove lets a name be none: NXDOMAIN.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.zone, key(name))
}

func (s *Server) put(name string, records []dns.RR) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone[key(name)] = records
}

// Fail has questions for a type ("A", "AAAA", "SRV"; "" for all that have no failure of their own) answered wrongly from now on, until it is
// told [OK].
func (s *Server) Fail(qtype string, how How) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if how == OK {
		delete(s.fail, qtype)
		return
	}
	s.fail[qtype] = how
}

// Delay holds each answer back for so long.
func (s *Server) Delay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

// Asked returns all questions so far, in the order in which they came.
func (s *Server) Asked() []Question {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Question(nil), s.asked...)
}

// Forget lets Asked begin anew.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = nil
}

// Stop lets the server die: its port is closed. It does nothing if it is stopped.
func (s *Server) Stop() {
	s.mu.Lock()
	running, ended := s.running, s.ended
	s.running, s.ended = nil, nil
	s.mu.Unlock()
	if ended != nil {
		close(ended)
	}
	for _, each := range running {
		_ = each.Shutdown()
	}
}

// Start lets a server that was stopped come back, on the port that it had. It does nothing if it runs.
func (s *Server) Start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		udp, tcp, err := listen(s.addr)
		if err == nil {
			s.serve(udp, tcp)
			return
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			s.t.Fatalf("dnstest: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // somebody has the port, or had it just now
	}
}

// listen takes one port for both.
func listen(addr string) (net.PacketConn, net.Listener, error) {
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, nil, err
	}
	tcp, err := net.Listen("tcp", udp.LocalAddr().String())
	if err != nil {
		_ = udp.Close()
		return nil, nil, err
	}
	return udp, tcp, nil
}

// serve answers on both. The caller holds mu.
func (s *Server) serve(udp net.PacketConn, tcp net.Listener) {
	s.addr = udp.LocalAddr().String()
	s.ended = make(chan struct{})
	ended := s.ended
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) { s.answer(w, r, ended) })
	var started sync.WaitGroup
	for _, each := range []*dns.Server{
		{PacketConn: udp, Handler: answer},
		{Listener: tcp, Handler: answer},
	} {
		s.running = append(s.running, each)
		started.Add(1)
		each.NotifyStartedFunc = started.Done
		go func() { _ = each.ActivateAndServe() }() // ends with Stop
	}
	started.Wait()
}

func header(name string, of uint16) dns.RR_Header {
	return dns.RR_Header{Name: key(name), Rrtype: of, Class: dns.ClassINET, Ttl: 0}
}

func key(name string) string { return strings.ToLower(dns.Fqdn(name)) }

// String says where the server listens.
func (s *Server) String() string { return fmt.Sprintf("dnstest at %s", s.Addr()) }
