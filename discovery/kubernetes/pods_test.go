//go:build kubetest

package kubernetes_test

import (
	"testing"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Pods come, become ready, end and go; Kubernetes' own controller makes EndpointSlices of them. Servers that form a cluster see each other
// before they are ready, clients when they are: also where the service publishes all of them, as that of NATS does.
func TestPodsOfAService(t *testing.T) {
	t.Parallel()
	for _, publish := range []bool{false, true} {
		w := newWorld(t, theCluster(t))
		token := w.account("bus", discoveryv1.GroupName, "endpointslices", "list", "watch")
		podsToken := w.account("bus-pods", "", "pods", "list", "watch")
		w.headless("nats", publish)
		clients := follow(t, kubernetes.Service("nats", w.with(token)...))
		servers := follow(t, kubernetes.Service("nats", w.with(token, kubernetes.NotReady(), kubernetes.Discovery(discovery.Routes()))...))
		hostnames := follow(t, kubernetes.Service("nats", w.with(token, kubernetes.Hosts(kubernetes.Hostname))...))
		byLabel := follow(t, kubernetes.Endpoints("service.kubernetes.io/headless", w.with(token)...))
		podClients := follow(t, kubernetes.Pods("app=nats", w.with(podsToken)...))
		podServers := follow(t, kubernetes.Pods("app in (nats)", w.with(podsToken, kubernetes.NotReady(), kubernetes.Discovery(discovery.Routes()))...))
		all := func(ready, up []string) {
			t.Helper()
			var client, route, names []string
			for _, n := range ready {
				client = append(client, "10.1.0."+n+":4222")
				names = append(names, "nats-"+n+".nats."+w.ns+".svc.cluster.local:4222")
			}
			for _, n := range up {
				route = append(route, "10.1.0."+n+":6222")
			}
			for _, h := range []*heard{clients, byLabel, podClients} {
				h.hosts(client...)
			}
			for _, h := range []*heard{servers, podServers} {
				h.hosts(route...)
			}
			hostnames.hosts(names...)
		}
		w.pod("unscheduled", "", false, func(p *corev1.Pod) { p.Spec.NodeName = "" })
		w.pod("without-address", "", true)
		w.pod("other", "10.1.0.9", true, func(p *corev1.Pod) { p.Labels = map[string]string{"app": "other"} })
		one := w.pod("nats-1", "10.1.0.1", false)
		two := w.pod("nats-2", "10.1.0.2", false)
		all(nil, []string{"1", "2"})
		clients.failure(discovery.ReasonEmpty, "not ready", "kubernetes.NotReady")
		w.ready(one, true)
		w.ready(two, true)
		all([]string{"1", "2"}, []string{"1", "2"})
		w.ready(one, false)
		all([]string{"2"}, []string{"1", "2"})
		w.pod("nats-3", "10.1.0.3", true)
		all([]string{"2", "3"}, []string{"1", "2", "3"})
		w.do(t, "DELETE", w.at(core, "pods", "nats-2"), nil) // it terminates
		all([]string{"3"}, []string{"1", "3"})
		w.ready(one, true) // Kubernetes' controller looks at a pod again when its readiness changes
		all([]string{"1", "3"}, []string{"1", "3"})
		one.Status.Phase = corev1.PodFailed
		w.ready(one, false)
		all([]string{"3"}, []string{"3"})
	}
}
