//go:build kubetest

package kubernetes_test

import (
	"testing"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func TestAServiceIsFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, theCluster(t))
	w.slice("nats-a", "nats", "10.1.0.1", "10.1.0.2")
	w.slice("other", "other", "10.1.0.9")
	h := follow(t, kubernetes.Service("nats", w.with(w.account("bus", discoveryv1.GroupName, "endpointslices", "list", "watch"))...))
	h.hosts("10.1.0.1:4222", "10.1.0.2:4222")
	b := w.slice("nats-b", "nats", "10.1.0.2", "10.1.0.3") // one stands in both
	h.hosts("10.1.0.1:4222", "10.1.0.2:4222", "10.1.0.3:4222")
	w.do(t, "DELETE", w.at(discoverys, "endpointslices", "nats-a"), nil)
	h.hosts("10.1.0.2:4222", "10.1.0.3:4222")
	b.Endpoints[0].Conditions = discoveryv1.EndpointConditions{Ready: new(false)}
	w.update(b)
	h.hosts("10.1.0.3:4222")
	require.Empty(t, h.failures())
	w.do(t, "DELETE", w.at(discoverys, "endpointslices", "nats-b"), nil) // nothing is left: the last ones stay
	h.failure(discovery.ReasonEmpty, "there are none", w.ns)
	h.hosts("10.1.0.3:4222")
	w.slice("nats-c", "nats", "10.1.0.4")
	h.hosts("10.1.0.4:4222")
}

// What is missing is told so that it can be given to kubectl apply as it is.
func TestTheMissingRoleIsTold(t *testing.T) {
	t.Parallel()
	for _, verbs := range [][]string{nil, {"list"}} {
		w := newWorld(t, theCluster(t))
		w.slice("nats-a", "nats", "10.1.0.1")
		var r requests
		token := w.account("bus", discoveryv1.GroupName, "endpointslices", verbs...)
		h := follow(t, kubernetes.Service("nats", w.with(token, kubernetes.Config(r.seen(w.config(token))))...))
		f := h.failure(discovery.ReasonForbidden, "service account bus of namespace "+w.ns)
		if verbs != nil { // lists do, meanwhile
			h.hosts("10.1.0.1:4222")
			b := w.slice("nats-b", "nats", "10.1.0.2")
			h.hosts("10.1.0.1:4222", "10.1.0.2:4222")
			b.Endpoints = endpoints("10.1.0.3")
			w.update(b)
			h.hosts("10.1.0.1:4222", "10.1.0.3:4222")
			eventually(t, "watches tried again", func() bool { return r.count("watch", 403) > 2 })
			require.Len(t, h.failures(), 1)
			w.do(t, "DELETE", w.at(discoverys, "endpointslices", "nats-b"), nil)
		} else {
			require.Zero(t, h.listed())
		}
		w.apply(yamlOf(t, f.Mend))
		h.hosts("10.1.0.1:4222")
		eventually(t, "a watch", func() bool { return r.count("watch", 200) == 1 })
		lists := r.count("list", 200)
		w.slice("nats-c", "nats", "10.1.0.5")
		h.hosts("10.1.0.1:4222", "10.1.0.5:4222")
		require.Equal(t, lists, r.count("list", 200)) // it watches
	}
}
