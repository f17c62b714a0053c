package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Resolver looks names up; *net.Resolver is one. A method LookupCNAME as that one's is used where a server answers with an alias alone.
// Its errors are best a *net.DNSError, or a [Failure] with a reason. It is to give up when ctx is over: until it has, nothing else is asked.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
}

// WithResolver sets who looks names up. For [DNS] and [SRV]. Default: Go's own resolver, which asks the DNS servers of the machine, after its
// hosts file, and gives up when it is to. Give net.DefaultResolver for whatever else the machine looks names up by, such as
// multicast DNS, or a *net.Resolver with a Dial of its own for another DNS server.
//
// A *net.Resolver is copied: of the time that is left for a lookup each DNS server has half, so that one which is dead does not take all of
// it, and what it answers is noted, as Go tells nobody a name that does not exist from one that has no such records. Of another
// Resolver, and of one that asks the C library, no more is known than its errors say: both are [ReasonNotFound].
func WithResolver(r Resolver) Option {
	return choice("WithResolver", func(o *options) {
		if o.resolver = r; r == nil {
			o.wrong("WithResolver: it is nil")
		}
	})
}

// longestAlias is how many aliases are followed where the server does not.
const longestAlias = 8

// lookup is a name that is looked up.
type lookup struct {
	resolver Resolver
	name     string // as it was given
}

func (o *options) lookup(name string) *lookup {
	if o.resolver != nil {
		return &lookup{o.resolver, name}
	}
	return &lookup{&net.Resolver{PreferGo: true, StrictErrors: true}, name}
}

// reply is what came of asking once.
type reply struct {
	alone   bool     // there was an alias, and nothing of what it stands for
	under   place    // where the records were found, if that is known
	failure *Failure // beside records it says that more of them should have come
}

// ask asks once, by a resolver whose answers are noted; by returns how many records came.
func (l *lookup) ask(ctx context.Context, types string, by func(r Resolver) (int, error)) reply {
	n := &notes{}
	records, err := by(n.taken(ctx, l.resolver))
	h := n.copy()
	r := reply{alone: records == 0 && h.aliasAlone(err)}
	if records > 0 {
		r.under = h.under()
	}
	if err != nil || records == 0 || h.cut() {
		r.failure = h.explain(types+" "+l.name, l.name, err)
	}
	return r
}

// follow calls round with the name and, as long as that finds an alias alone, with what this stands for. Its failure is that of an alias that
// cannot be followed; then there is nothing else.
func (l *lookup) follow(ctx context.Context, round func(name string) (alone bool)) *Failure {
	name, way := l.name, []string{plain(l.name)}
	for round(name) {
		target, failure := l.target(ctx, name)
		if failure != nil || target == "" {
			return failure
		}
		circle := slices.ContainsFunc(way, func(before string) bool { return strings.EqualFold(before, plain(target)) })
		if way = append(way, plain(target)); circle || len(way) > longestAlias {
			return &Failure{
				Source: "CNAME " + l.name, Reason: ReasonMalformed, Err: fmt.Errorf("aliases without end: %s", strings.Join(way, " -> ")),
				Mend: "in the zone, let the last of them have addresses",
			}
		}
		name = target
	}
	return nil
}

// target is what an alias stands for, "" if the resolver cannot say so.
func (l *lookup) target(ctx context.Context, name string) (string, *Failure) {
	n := &notes{}
	by, can := n.taken(ctx, l.resolver).(interface {
		LookupCNAME(ctx context.Context, host string) (string, error)
	})
	if !can {
		return "", nil
	}
	target, err := by.LookupCNAME(ctx, name)
	if err != nil {
		return "", n.copy().explain("CNAME "+name, name, err)
	}
	return target, nil
}

// plain is a name without the dot at its end.
func plain(name string) string { return strings.TrimSuffix(name, ".") }

// nameErr says what is wrong with a name that is to be looked up.
func nameErr(name, port string) error {
	bare := plain(name)
	host, _, hasPort := strings.Cut(bare, ":")
	_, notIP := netip.ParseAddr(strings.Trim(bare, "[]"))
	switch {
	case name == "":
		return errors.New("the name is empty")
	case strings.Contains(name, "@"):
		return errors.New("a name has no user and no password: give them in the URL of Connect, or by WithNATS")
	case notIP == nil:
		return fmt.Errorf("%q is an IP address, and no name: use Static", name)
	case strings.Contains(name, "://"):
		return fmt.Errorf("%q is a URL: give the name alone, and the rest by options, such as Scheme", clip(name))
	case hasPort && host != "" && (Address{Host: host}).Check() == nil:
		return fmt.Errorf("%q has a port: %s", clip(name), port)
	case (Address{Host: bare}).Check() != nil:
		return fmt.Errorf("%q is no name: 1 to 63 letters, digits, '-' or '_' between dots, 253 in all; other letters in the form xn--", clip(name))
	}
	return nil
}

// shown is a name as the strategy is called by it: one that may hold a password, and is none, is not.
func shown(name string) string {
	if strings.Contains(name, "@") {
		return ""
	}
	return clip(name)
}

// clip keeps what is shown of input short.
func clip(text string) string {
	const most = 80
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}
