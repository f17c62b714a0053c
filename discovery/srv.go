package discovery

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
)

// SRV looks up the SRV records of a name, again and again, and lists their targets with ports, priorities and weights. It is libcluster's
// Kubernetes.DNSSRV. The name is whole, such as "_nats._tcp.example.com"; for Kubernetes [ServiceName] makes it. The targets stay names, in
// lower case and without the dot at their end, so that certificates match; they are looked up when somebody connects.
//
// The name of a headless service of Kubernetes, without a port's name, as libcluster asks for it, has a record for each port of each pod. Then
// [Port] says which is that of NATS: with it, records' own ports do not count. Without it, a target that such a name (one that does not begin
// with "_") lists with several ports is left out and told.
//
// A record that cannot be used is left out and told: port 0, a target that is no name. A single one with the target "." says that there is no
// such service (RFC 2782): that is [ReasonEmpty]. What else can go wrong, and search domains, are as with [DNS].
//
// Options: [WithResolver], [Interval], [Timeout], [MaxBackoff], [Port], [Scheme], [Routes], [Cluster], [TLSName], and those for all.
func SRV(name string, opts ...Option) Strategy {
	o := collect(opts, forPolls, forShape, []string{"WithResolver"})
	return made("SRV", shown(name), o, o.polling(func(ctx context.Context) []answer {
		return []answer{o.services(ctx, o.lookup(name))}
	}), nameErr(name, "give the name alone: its records have ports"), o.shapeErr())
}

// services looks the records up once.
func (o *options) services(ctx context.Context, l *lookup) (a answer) {
	source := "SRV " + l.name
	var records []*net.SRV
	var failure *Failure
	wrong := l.follow(ctx, func(name string) (alone bool) {
		r := l.ask(ctx, "SRV", func(r Resolver) (int, error) {
			_, got, err := r.LookupSRV(ctx, "", "", name)
			records = slices.DeleteFunc(slices.Clone(got), func(r *net.SRV) bool { return r == nil })
			return len(records), err
		})
		failure = r.failure
		return r.alone
	})
	if wrong != nil {
		failure = wrong
	}
	if failure != nil {
		a.err = failure
	}
	if len(records) == 1 && plain(records[0].Target) == "" {
		return answer{err: &Failure{
			Source: source, Reason: ReasonEmpty, Err: fmt.Errorf(`the zone says that there is no such service: its target is "."`),
			Mend: "if there is one, give it records of targets and ports",
		}}
	}
	ambiguous := o.ambiguous(l.name, records)
	bad := &unusable{mend: mendZone}
	for _, r := range records {
		address, problem := o.service(r)
		if problem == nil && ambiguous[address.Host] {
			problem = fmt.Errorf("target %q is listed with several ports: look up the name of one, as ServiceName makes it, or say which by Port", address.Host)
		}
		if bad.isGood(problem) {
			a.addresses = append(a.addresses, address)
		}
	}
	return bad.in(a, source)
}

// service makes an address of a record.
func (o *options) service(r *net.SRV) (Address, error) {
	// In lower case: a server that shortens names may have taken the letters from the question, where some resolvers have them by chance.
	address := Address{Host: strings.ToLower(plain(r.Target)), Port: int(r.Port), Priority: r.Priority, Weight: r.Weight}
	if o.has("Port") {
		address.Port = 0 // so that complete sets it
	} else if r.Port == 0 {
		return Address{}, fmt.Errorf("target %q has port 0", clip(r.Target))
	}
	if address.Host == "" {
		return Address{}, fmt.Errorf(`target "." says that there is no such service, beside records that say that there is`)
	}
	address = o.complete(address)
	return address, address.Check()
}

// ambiguous are the targets of which nobody can tell what NATS's port is.
func (o *options) ambiguous(name string, records []*net.SRV) map[string]bool {
	if o.has("Port") || strings.HasPrefix(name, "_") {
		return nil
	}
	ports, several := map[string]uint16{}, map[string]bool{}
	for _, r := range records {
		target := strings.ToLower(plain(r.Target))
		if port, had := ports[target]; had && port != r.Port {
			several[target] = true
		}
		ports[target] = r.Port
	}
	return several
}
