package main

import (
	"net"
	"sync"

	"github.com/miekg/dns"
)

// service is what the nodes look up: the servers' SRV records, which have names and ports.
const service = "_nats._tcp.fleet.example."

// zone is a DNS server that knows one name.
type zone struct {
	server *dns.Server

	mu     sync.Mutex
	ports  []int // none: there is no such name
	broken bool  // it cannot answer
}

func startZone() (*zone, error) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	z, started := &zone{}, make(chan struct{})
	z.server = &dns.Server{PacketConn: packets, Handler: z, NotifyStartedFunc: func() { close(started) }}
	go func() { _ = z.server.ActivateAndServe() }() // ends with close
	<-started
	return z, nil
}

func (z *zone) close() error { return z.server.Shutdown() }

func (z *zone) addr() string { return z.server.PacketConn.LocalAddr().String() }

// list has the name stand for the servers at these ports.
func (z *zone) list(ports []int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.ports, z.broken = ports, false
}

// fail has every question answered with SERVFAIL.
func (z *zone) fail() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.broken = true
}

func (z *zone) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	answer := new(dns.Msg)
	answer.SetReply(question)
	answer.Authoritative = true
	q := question.Question[0] // a message without one does not come here
	switch {
	case z.broken:
		answer.Rcode = dns.RcodeServerFailure
	case q.Name != service || len(z.ports) == 0:
		answer.Rcode = dns.RcodeNameError
	case q.Qtype == dns.TypeSRV:
		for _, port := range z.ports {
			answer.Answer = append(answer.Answer, &dns.SRV{
				Hdr:    dns.RR_Header{Name: service, Rrtype: dns.TypeSRV, Class: dns.ClassINET},
				Target: "localhost.", Port: uint16(port),
			})
		}
	}
	_ = w.WriteMsg(answer) // who does not hear it asks again
}
