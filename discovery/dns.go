package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/rolebus/rolebus/internal/hook"
)

// DNS looks a name up, again and again, and lists the addresses that it has: A and AAAA records, also those of what it is an alias for. It is
// libcluster's DNSPoll and Kubernetes.DNS. In Kubernetes the name is that of a headless service, see [ServiceName]. What an address
// has besides is up to the options; its TLSName is the name, without the dot at its end, if [TLSName] says nothing else. For
// several names there is [Combine].
//
// A and AAAA are asked for at the same time, each once an interval, and each keeps its own last good list. That a name has none of one family is
// told only if it had some before, which stay. A name that does not exist is [ReasonNotFound], one without addresses [ReasonEmpty],
// SERVFAIL [ReasonUnavailable], REFUSED [ReasonForbidden], an answer that cannot be read or is cut short [ReasonMalformed].
// How long records may be kept (TTL) is not looked at.
//
// A name with a dot at its end is asked for as it is, one query for each family. Another one is tried with the machine's search domains, as all
// programs do: in Kubernetes up to five queries for each family, with each lookup. Then both families are taken from the same name.
//
// An address that cannot be one of a server, such as 0.0.0.0, is left out and told. A name that is an IP address, or none at all, is an error
// of the strategy.
//
// Options: [WithResolver], [IPv4Only], [IPv6Only], [Interval], [Timeout], [MaxBackoff], [Port], [Scheme], [Routes], [Cluster],
// [TLSName], and those for all.
func DNS(name string, opts ...Option) Strategy {
	o := collect(opts, forPolls, forShape, []string{"WithResolver", "IPv4Only", "IPv6Only"})
	var both error
	if o.has("IPv4Only") && o.has("IPv6Only") {
		both = errors.New("IPv4Only and IPv6Only: without both it looks up both")
	}
	return made("DNS", shown(name), o, func(ctx context.Context, t *teller) error {
		n := &dnsName{o: o, t: t, lookup: o.lookup(name)}
		for _, f := range []family{{"ip4", "A", netip.Addr.Is4}, {"ip6", "AAAA", netip.Addr.Is6}} {
			if o.family == "" || o.family == f.network {
				n.families = append(n.families, f)
			}
		}
		n.ever, n.under = make([]bool, len(n.families)), make([]place, len(n.families))
		return o.polling(n.look)(ctx, t)
	}, nameErr(name, "give the name alone, and Port"), both, o.shapeErr())
}

// IPv4Only looks up IPv4 addresses only. For [DNS]. Default: both families.
func IPv4Only() Option { return choice("IPv4Only", func(o *options) { o.family = "ip4" }) }

// IPv6Only looks up IPv6 addresses only. For [DNS]. Default: both families.
func IPv6Only() Option { return choice("IPv6Only", func(o *options) { o.family = "ip6" }) }

type family struct {
	network, record string
	is              func(netip.Addr) bool
}

// dnsName is a name that one Discover looks up.
type dnsName struct {
	*lookup
	o        *options
	t        *teller
	families []family
	ever     []bool  // whether each family had addresses
	under    []place // where it had them last
}

// look asks for all families at once.
func (n *dnsName) look(ctx context.Context) []answer {
	answers := make([]answer, len(n.families))
	failure := n.follow(ctx, func(name string) bool {
		some, alone := false, false
		replies := make([]reply, len(n.families))
		done := make(chan int, len(n.families))
		for i, f := range n.families {
			answers[i] = answer{of: f.record, err: &Failure{
				Source: f.record + " " + n.name, Reason: ReasonOther, Err: errors.New("the resolver ended its goroutine (runtime.Goexit)"),
			}}
			go func() { // joined below
				defer func() { done <- i }()
				answers[i], replies[i] = n.lookFor(ctx, f, name)
			}()
		}
		n.first(answers, replies, done)
		for i := range answers {
			some, alone = some || len(answers[i].addresses) > 0, alone || replies[i].alone
			if len(answers[i].addresses) > 0 {
				n.under[i] = replies[i].under
			}
		}
		// A server that knows what an alias stands for says so of each family: then an alias alone is one whose target has none of this family.
		return alone && !some
	})
	if failure != nil {
		return []answer{{of: "alias", err: failure}}
	}
	return n.together(n.ofOne(answers))
}

// first waits until all families are done. While nothing was ever found, what one has is told when another one keeps it waiting: there are
// networks that let no question for AAAA through, and whoever waits for a server should not wait until the timeout.
func (n *dnsName) first(answers []answer, replies []reply, done <-chan int) {
	timer := time.NewTimer(soonEnough)
	defer timer.Stop()
	var list []Address
	late, told := false, slices.Contains(n.ever, true)
	for pending := len(answers); pending > 0; {
		select {
		case i := <-done:
			pending--
			if replies[i].under.tried <= 1 { // else see ofOne
				list = append(list, answers[i].addresses...)
			}
		case <-timer.C:
			late = true
		}
		if late && !told && pending > 0 && len(list) > 0 {
			n.t.beside(list, nil)
			told = true
		}
	}
}

const soonEnough = 250 * time.Millisecond // for an answer that another one waits for

// ofOne leaves out what another name has: where the name has none of one family, search domains may lead to one that has, and that is
// somebody else's. The first place counts where any address is, or was.
func (n *dnsName) ofOne(answers []answer) []answer {
	if len(answers) < 2 || n.under[0].name == "" || n.under[1].name == "" || n.under[0].name == n.under[1].name {
		return answers
	}
	later := 0
	if n.under[1].tried > n.under[0].tried {
		later = 1
	}
	if len(answers[later].addresses) > 0 {
		answers[later] = answer{of: answers[later].of, err: &Failure{
			Source: n.families[later].record + " " + n.name, Reason: ReasonEmpty,
			Err:  errors.New("search domains have such records for another name only"),
			Mend: "give the whole name, with a dot at its end",
		}}
	}
	return answers
}

// lookFor asks for one family.
func (n *dnsName) lookFor(ctx context.Context, f family, name string) (a answer, said reply) {
	a.of = f.record
	defer func() { // on a goroutine of our own: nobody else can
		if fault := recover(); fault != nil {
			hook.Blame(n.t.log, "a resolver panicked", fault)
			a = answer{of: f.record, err: &Failure{Source: f.record + " " + n.name, Reason: ReasonOther, Err: fmt.Errorf("the resolver panicked: %v", fault)}}
		}
	}()
	var ips []netip.Addr
	said = n.ask(ctx, f.record, func(r Resolver) (int, error) {
		all, err := r.LookupNetIP(ctx, f.network, name)
		for _, ip := range all {
			if ip = ip.Unmap(); f.is(ip) {
				ips = append(ips, ip)
			}
		}
		return len(ips), err
	})
	if said.failure != nil {
		a.err = said.failure
	}
	bad := &unusable{mend: mendZone}
	for _, ip := range ips {
		address := n.o.complete(Address{Host: ip.String()})
		if address.TLSName == "" {
			address.TLSName = plain(n.name)
		}
		if bad.isGood(address.Check()) {
			a.addresses = append(a.addresses, address)
		}
	}
	return bad.in(a, f.record+" "+n.name), said
}

// together makes one failure of two that say the same, and none of a family that was never there.
func (n *dnsName) together(answers []answer) []answer {
	if len(answers) == 2 && len(answers[0].addresses)+len(answers[1].addresses) == 0 {
		if one := sameFailure(answers[0].err, answers[1].err); one != nil {
			one.Source = "A and AAAA " + n.name
			return []answer{{of: answers[0].of, err: one}}
		}
	}
	var told []answer
	for i, a := range answers {
		n.ever[i] = n.ever[i] || len(a.addresses) > 0
		if len(answers) == 1 || n.ever[i] || !answered(a.err) {
			told = append(told, a)
		}
	}
	if len(told) == 0 {
		return answers // none exists, for different reasons
	}
	return told
}

// sameFailure is what two failures say if they say the same, but for who says it.
func sameFailure(a, b error) *Failure {
	var x, y *Failure
	if !errors.As(a, &x) || !errors.As(b, &y) || x.Reason != y.Reason || x.Mend != y.Mend || x.Err.Error() != y.Err.Error() {
		return nil
	}
	one := *x
	return &one
}
