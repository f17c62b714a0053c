package dnstest

import (
	"net"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// How is what a server does instead of answering as it should.
type How int

// What can be done wrong.
const (
	OK          How = iota
	NXDomain        // there is no such name
	NoData          // there is, and it has nothing of this type
	ServFail        // SERVFAIL
	Refused         // REFUSED
	NotImpl         // NOTIMP
	Silent          // no answer at all
	Garbage         // no DNS message
	BadRecords      // an answer whose records cannot be read
	WrongID         // the answer to another question, by its number
	WrongName       // the answer to another question, by its name
	Truncated       // by UDP nothing but that it is too long; by TCP as it should be
	Cut             // by UDP as Truncated; by TCP half of the records, and that it is too long
	NoTCP           // by UDP as Truncated; by TCP the connection is closed
	AliasAlone      // of an alias the target's name, and not what that has
	NoRecursion     // an empty referral: the server does not ask further
)

// most are the bytes of an answer by UDP if the question does not name more.
const most = 512

func (s *Server) answer(w dns.ResponseWriter, r *dns.Msg, ended chan struct{}) {
	if len(r.Question) != 1 {
		return
	}
	q := r.Question[0]
	tcp := w.RemoteAddr().Network() == "tcp"
	s.mu.Lock()
	s.asked = append(s.asked, Question{Name: key(q.Name), Type: dns.TypeToString[q.Qtype], Network: w.RemoteAddr().Network()})
	how, its := s.fail[dns.TypeToString[q.Qtype]]
	if !its {
		how = s.fail[""]
	}
	delay := s.delay
	m := s.reply(r, how == AliasAlone)
	s.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ended:
			return
		}
	}
	s.send(w, m, how, tcp, size(r))
}

// size is how many bytes a question takes by UDP.
func size(r *dns.Msg) int {
	if opt := r.IsEdns0(); opt != nil {
		return max(most, int(opt.UDPSize()))
	}
	return most
}

func (s *Server) send(w dns.ResponseWriter, m *dns.Msg, how How, tcp bool, size int) {
	switch how {
	case Silent:
		return
	case Garbage:
		_, _ = w.Write([]byte("this is no DNS message, and not even a short one"))
		return
	case BadRecords:
		m.Answer = nil
		wire, err := m.Pack()
		if err != nil {
			return
		}
		wire[7] = 3 // so many answers there are said to be
		_, _ = w.Write(append(wire, 0xff, 0xff, 0xff, 0xff))
		return
	case NXDomain:
		m.Rcode, m.Answer = dns.RcodeNameError, nil
	case NoData:
		m.Rcode, m.Answer = dns.RcodeSuccess, nil
	case ServFail:
		m.Rcode, m.Answer = dns.RcodeServerFailure, nil
	case Refused:
		m.Rcode, m.Answer = dns.RcodeRefused, nil
	case NotImpl:
		m.Rcode, m.Answer = dns.RcodeNotImplemented, nil
	case WrongID:
		m.Id++
	case WrongName:
		m.Question[0].Name = "another.example."
	case NoRecursion:
		m.Rcode, m.Answer, m.Authoritative, m.RecursionAvailable = dns.RcodeSuccess, nil, false, false
		m.Extra = nil
	case Truncated, Cut, NoTCP:
		switch {
		case !tcp:
			m.Truncated, m.Answer = true, nil
		case how == NoTCP:
			_ = w.Close()
			return
		case how == Cut:
			m.Truncated, m.Answer = true, m.Answer[:len(m.Answer)/2]
		}
	}
	if !tcp {
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}

// reply is the right answer. The caller holds mu.
func (s *Server) reply(r *dns.Msg, aliasAlone bool) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(r)
	m.Authoritative, m.RecursionAvailable, m.Compress = true, true, true
	if opt := r.IsEdns0(); opt != nil {
		m.SetEdns0(opt.UDPSize(), false)
	}
	q := r.Question[0]
	name := q.Name
	for seen := []string{}; !slices.Contains(seen, key(name)); {
		seen = append(seen, key(name))
		records, exists := s.zone[key(name)]
		if !exists {
			m.Rcode = dns.RcodeNameError
			return m
		}
		next := ""
		for _, rr := range records {
			alias, is := rr.(*dns.CNAME)
			if is {
				next = alias.Target
			}
			if is || rr.Header().Rrtype == q.Qtype {
				rr = dns.Copy(rr)
				rr.Header().Name = name
				m.Answer = append(m.Answer, rr)
			}
		}
		if next == "" || q.Qtype == dns.TypeCNAME || aliasAlone {
			return m
		}
		name = next
	}
	m.Rcode = dns.RcodeServerFailure // an alias that ends where it began
	return m
}

// Loopback returns n different addresses of the loopback device, from 127.1.0.1 on.
func Loopback(n int) []string {
	var all []string
	for i := range n {
		all = append(all, net.IPv4(127, 1, byte(i/250), byte(i%250+1)).String())
	}
	return all
}
