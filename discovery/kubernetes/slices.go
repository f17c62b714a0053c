package kubernetes

import (
	"net/netip"

	"github.com/rolebus/rolebus/discovery"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// readSlice reads an EndpointSlice. Any of its fields may be missing.
func (o *options) readSlice(s *discoveryv1.EndpointSlice, shape discovery.Address) (r reading) {
	if o.family != "" && s.AddressType != discoveryv1.AddressTypeFQDN && string(s.AddressType) != o.family {
		return r
	}
	var ports []port
	for _, p := range s.Ports {
		if p.Port != nil && (p.Protocol == nil || *p.Protocol == corev1.ProtocolTCP) { // no port: all, says Kubernetes
			name := ""
			if p.Name != nil {
				name = *p.Name
			}
			ports = append(ports, port{name, int(*p.Port)})
		}
	}
	number, problem := o.choosePort(ports, shape)
	service := s.Labels[serviceNameLabel]
	if o.service != "" {
		service = o.service
	}
	for _, e := range s.Endpoints {
		r.all++
		switch {
		case yes(e.Conditions.Terminating, false):
			r.ending++
			continue
		// Ready is true of all endpoints of a service with publishNotReadyAddresses: serving is what the pod says of itself.
		case !o.notReady && !(yes(e.Conditions.Ready, true) && yes(e.Conditions.Serving, true)):
			r.notReady++
			continue
		case problem != "":
			continue
		}
		of := "an endpoint"
		if e.TargetRef != nil {
			of = "pod " + e.TargetRef.Name
		}
		hostname := ""
		if e.Hostname != nil {
			hostname = *e.Hostname
		}
		if len(e.Addresses) == 0 {
			r.problem("%s of EndpointSlice %s has no address", of, s.Name)
			continue
		}
		text := e.Addresses[0] // by Kubernetes' own word consumers use no other
		if s.AddressType == discoveryv1.AddressTypeFQDN {
			r.add(discovery.Address{Host: text, Port: number}, of)
			continue
		}
		ip, err := netip.ParseAddr(text)
		if err != nil {
			r.problem("%s of EndpointSlice %s has %q for an address", of, s.Name, text)
			continue
		}
		host, problem := o.host(ip, hostname, service, s.Namespace)
		if problem != "" {
			r.problem("%s of EndpointSlice %s: %s", of, s.Name, problem)
			continue
		}
		r.add(discovery.Address{Host: host, Port: number}, of)
	}
	if problem != "" && r.all > 0 {
		r.problem("EndpointSlice %s: %s", s.Name, problem)
	}
	return r
}

// add adds an address if it is one.
func (r *reading) add(a discovery.Address, of string) {
	if err := a.Check(); err != nil {
		r.problem("%s: %v", of, err)
		return
	}
	r.addresses = append(r.addresses, a)
}

// yes is what a condition says, or what it means that it says nothing.
func yes(condition *bool, silent bool) bool {
	if condition == nil {
		return silent
	}
	return *condition
}
