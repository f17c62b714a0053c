package discovery

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// explain makes a failure of what a resolver returned that is no whole answer: an error, none and no records, or records that are not all.
// The same happening gives the same text each time, which names no port of ours: the log tells it once.
func (h heard) explain(source, name string, err error) *Failure {
	f := &Failure{Source: source, Reason: ReasonOther, Err: err}
	said := func(reason Reason, mend, format string, args ...any) *Failure {
		f.Reason, f.Mend, f.Err = reason, mend, &explained{fmt.Sprintf(format, args...), err}
		return f
	}
	var own *Failure
	var dns *net.DNSError
	var wrong *net.AddrError
	last, noted := h.last()
	switch {
	case errors.As(err, &own):
		f.Reason, f.RetryAfter = own.Reason, own.RetryAfter // all else is in its text
	case err == nil && !h.cut(), errors.As(err, &wrong): // a name in the hosts file with addresses of the other family alone
		return said(ReasonEmpty, mendEmpty, "the name exists, and has no such records")
	case h.cut():
		return said(ReasonMalformed, "the name has more records than an answer takes", "%s sent only a part of the answer, by TCP, too", h.asked())
	case !errors.As(err, &dns) && ReasonOf(err) == ReasonTimeout:
		return said(ReasonTimeout, mendTimeout, "no answer in time")
	case !errors.As(err, &dns):
		f.Reason = ReasonOf(err)
	case dns.IsNotFound && !noted:
		return said(ReasonNotFound, mendName(name), "there is no such name, or it has no such records")
	case dns.IsNotFound:
		return h.absent(said, name)
	case noted && last.truncated && !last.stream:
		return said(ReasonUnavailable, "let TCP through to it, port 53, too", "%s has an answer too long for UDP, and could not be asked by TCP", h.asked())
	case h.strange > 0 && (dns.IsTimeout || !noted):
		return said(ReasonMalformed, "is it a DNS server?", "%s sends what is no answer to what it was asked", h.asked())
	case dns.IsTimeout:
		return said(ReasonTimeout, mendTimeout, "no answer from %s", h.asked())
	case h.broken != nil:
		return said(ReasonUnavailable, "is it up, and the right one, in resolv.conf or the Resolver's Dial?", "%s: %s", h.asked(), cause(h.broken))
	case noted:
		return h.refusing(said, last)
	default:
		f.Reason = ReasonUnavailable
	}
	return f
}

// asked is whom the last question went to.
func (h heard) asked() string {
	if h.server == "" {
		return "the DNS server"
	}
	return "DNS server " + h.server
}

const (
	mendZone    = "mend it in the zone"
	mendTimeout = "is it up, and is UDP and TCP port 53 let through? Timeout says how long is waited"
	mendEmpty   = "in Kubernetes: is the service headless (clusterIP: None), with ready pods or publishNotReadyAddresses?"
)

func mendName(name string) string {
	service, _, _ := strings.Cut(plain(name), ".")
	if strings.HasPrefix(service, "_") {
		return "is it spelled right? In Kubernetes the full name is _<port's name>._tcp.<service>.<namespace>.svc.cluster.local: see ServiceName"
	}
	return fmt.Sprintf("is it spelled right? In Kubernetes the full name is %s.<namespace>.svc.cluster.local: see ServiceName", service)
}

type saying func(reason Reason, mend, format string, args ...any) *Failure

// absent tells of a name that has nothing whether it exists. With search domains several were asked for; where one of them was not answered,
// nothing is known.
func (h heard) absent(said saying, name string) *Failure {
	last := map[string]noted{}
	for _, a := range h.answers {
		last[a.name] = a
	}
	exists := false
	for _, a := range last {
		switch a.rcode {
		case rcodeOK:
			exists = true
		case rcodeNXDomain:
		default:
			return h.refusing(said, a)
		}
	}
	if exists {
		return said(ReasonEmpty, mendEmpty, "the name exists, and has no such records")
	}
	return said(ReasonNotFound, mendName(name), "there is no such name (NXDOMAIN)")
}

// refusing tells of an answer that is none.
func (h heard) refusing(said saying, a noted) *Failure {
	switch {
	case a.referral:
		return said(ReasonUnavailable, "name one that does, in resolv.conf or the Resolver's Dial", "%s does not know the name, and does not ask others", h.asked())
	case a.rcode == rcodeOK:
		return said(ReasonMalformed, "", "%s sends records that cannot be read", h.asked())
	case a.rcode == rcodeRefused:
		return said(ReasonForbidden, "does it answer for this name, and to this machine? Is it the right one, in resolv.conf or the Resolver's Dial?",
			"%s answers REFUSED", h.asked())
	case a.rcode == rcodeServFail:
		return said(ReasonUnavailable, "it cannot learn the answer itself just now; its log says why", "%s answers SERVFAIL", h.asked())
	}
	return said(ReasonUnavailable, "", "%s answers with code %d, see RFC 1035", h.asked(), a.rcode)
}

// explained is an error in other words.
type explained struct {
	text string
	err  error // may be nil
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }
