package kubernetes

import (
	"net/netip"

	"github.com/rolebus/rolebus/discovery"
	corev1 "k8s.io/api/core/v1"
)

// readPod reads a pod.
func (o *options) readPod(p *corev1.Pod, shape discovery.Address) (r reading) {
	r.all = 1
	switch {
	case p.DeletionTimestamp != nil, p.Status.Phase == corev1.PodFailed, p.Status.Phase == corev1.PodSucceeded:
		r.ending = 1
		return r
	case !o.notReady && !isReady(p):
		r.notReady = 1
		return r
	}
	ips := p.Status.PodIPs
	if len(ips) == 0 && p.Status.PodIP != "" {
		ips = []corev1.PodIP{{IP: p.Status.PodIP}}
	}
	if len(ips) == 0 { // not scheduled, or not started
		r.notReady = 1
		return r
	}
	number, problem := o.choosePort(portsOf(p), shape)
	if problem != "" {
		r.problem("pod %s: %s", p.Name, problem)
		return r
	}
	service := o.service
	if service == "" {
		service = p.Spec.Subdomain
	}
	for _, each := range ips {
		ip, err := netip.ParseAddr(each.IP)
		if err != nil {
			r.problem("pod %s has %q for an address", p.Name, each.IP)
			continue
		}
		if o.family != "" && o.family != familyOf(ip) {
			continue
		}
		host, problem := o.host(ip, p.Spec.Hostname, service, p.Namespace)
		if problem != "" {
			r.problem("pod %s: %s", p.Name, problem)
			continue
		}
		r.add(discovery.Address{Host: host, Port: number}, "pod "+p.Name)
	}
	return r
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// portsOf returns the ports of a pod's containers, and of those that run beside them from the start (sidecars).
func portsOf(p *corev1.Pod) (ports []port) {
	add := func(c *corev1.Container) {
		for _, each := range c.Ports {
			if each.Protocol == "" || each.Protocol == corev1.ProtocolTCP {
				ports = append(ports, port{each.Name, int(each.ContainerPort)})
			}
		}
	}
	for i := range p.Spec.Containers {
		add(&p.Spec.Containers[i])
	}
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	return ports
}
