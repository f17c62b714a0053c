package kubernetes

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/rolebus/rolebus/discovery"
)

// host is what stands in an address for an endpoint, or why nothing can.
func (o *options) host(ip netip.Addr, hostname, service, namespace string) (host, problem string) {
	dashed := strings.NewReplacer(".", "-", ":", "-").Replace(ip.Unmap().String())
	switch o.hosts {
	case DNS:
		return strings.Join([]string{dashed, namespace, "pod", o.domain}, "."), ""
	case Hostname:
		if service == "" {
			return "", "no service is known whose name could stand in its hostname: give kubernetes.ServiceName"
		}
		if hostname == "" {
			hostname = dashed
		}
		return strings.Join([]string{hostname, service, namespace, "svc", o.domain}, "."), ""
	}
	return ip.Unmap().String(), ""
}

func familyOf(ip netip.Addr) string {
	if ip.Unmap().Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// port is one that Kubernetes knows.
type port struct {
	name   string
	number int
}

// choosePort returns which of the ports is meant, 0 if none is known, or why that cannot be told.
func (o *options) choosePort(ports []port, shape discovery.Address) (number int, problem string) {
	if n, err := strconv.Atoi(o.port); err == nil {
		return n, ""
	}
	if o.port != "" {
		for _, p := range ports {
			if p.name == o.port {
				return p.number, ""
			}
		}
		return 0, fmt.Sprintf("it has no port named %s: %s", o.port, listed(ports))
	}
	switch len(ports) {
	case 0:
		return 0, ""
	case 1:
		return ports[0].number, ""
	}
	names, usual := []string{"nats", "client"}, 4222
	switch {
	case shape.Route:
		names, usual = []string{"cluster", "route", "routes"}, 6222
	case shape.Scheme == "ws":
		names, usual = []string{"websocket", "ws"}, 80
	case shape.Scheme == "wss":
		names, usual = []string{"websocket", "wss"}, 443
	}
	for _, name := range names {
		for _, p := range ports {
			if p.name == name {
				return p.number, ""
			}
		}
	}
	for _, p := range ports {
		if p.number == usual {
			return p.number, ""
		}
	}
	return 0, "which port is meant is not clear, give kubernetes.Port: " + listed(ports)
}

func listed(ports []port) string {
	if len(ports) == 0 {
		return "it has none"
	}
	var all []string
	for _, p := range ports {
		text := strconv.Itoa(p.number)
		if p.name != "" {
			text = p.name + " (" + text + ")"
		}
		all = append(all, text)
	}
	return "it has " + strings.Join(all, ", ")
}
