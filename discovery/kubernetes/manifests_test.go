//go:build kubetest

package kubernetes_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

func manifest(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("manifests", name))
	require.NoError(t, err)
	return string(text)
}

// A real API server takes all manifests, checked strictly, and with exactly their rights servers are found.
func TestManifests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, theCluster(t))
	for _, name := range []string{"rights.yaml", "fleet.yaml", "nats-outside.yaml"} {
		w.apply(manifest(t, name))
	}
	var r requests
	token := w.token("worker")
	h := follow(t, kubernetes.Service("nats", w.with(token, kubernetes.Config(r.seen(w.config(token))))...))
	h.hosts("10.1.0.1:4222", "10.1.0.2:4222", "10.1.0.3:4222")
	eventually(t, "a watch", func() bool { return r.count("watch", 200) == 1 })
	w.apply(strings.ReplaceAll(manifest(t, "nats-outside.yaml"), "10.1.0.1]", "10.1.0.4]"))
	h.hosts("10.1.0.2:4222", "10.1.0.3:4222", "10.1.0.4:4222")
	require.Empty(t, h.failures())

	// Nothing but that is granted: not even pods.
	follow(t, kubernetes.Pods("app=nats", w.with(token)...)).failure(discovery.ReasonForbidden, "resources: [pods]")
}

// The same with servers that run in Kubernetes, and with the rights for pods.
func TestManifestsOfServersInKubernetes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, theCluster(t))
	for _, name := range []string{"rights.yaml", "fleet.yaml", "nats.yaml"} {
		w.apply(manifest(t, name))
	}
	w.nodes()
	var pods map[string]*corev1.Pod
	eventually(t, "three pods", func() bool { pods = w.pods("nats"); return len(pods) == 3 })
	w.run(pods["nats-0"], "10.1.0.1", true)
	w.run(pods["nats-1"], "10.1.0.2", false)
	token := w.token("worker")
	follow(t, kubernetes.Service("nats", w.with(token)...)).hosts("10.1.0.1:4222")
	follow(t, kubernetes.Service("nats", w.with(token, kubernetes.NotReady(), kubernetes.Discovery(discovery.Routes()))...)).hosts("10.1.0.1:6222", "10.1.0.2:6222")
	w.apply(manifest(t, "rights-pods.yaml"))
	follow(t, kubernetes.Pods("app=nats", w.with(token)...)).hosts("10.1.0.1:4222")
}

// Without each single right it says which is missing.
func TestEachRightIsNeeded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from, to string
		parts    []string
	}{
		"list":      {"verbs: [list, watch]", "verbs: [watch]", []string{"cannot list resource"}},
		"watch":     {"verbs: [list, watch]", "verbs: [list]", []string{"cannot watch resource", "listed at each interval"}},
		"group":     {"apiGroups: [discovery.k8s.io]", `apiGroups: [""]`, []string{"cannot list resource"}},
		"resource":  {"resources: [endpointslices]", "resources: [endpoints]", []string{"cannot list resource"}},
		"binding":   {"    name: worker\n", "    name: other\n", []string{"cannot list resource"}},
		"role name": {"  kind: Role\n  name: find-nats", "  kind: Role\n  name: none", []string{"cannot list resource"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, theCluster(t))
			text := manifest(t, "rights.yaml")
			require.Contains(t, text, c.from)
			w.apply(strings.Replace(text, c.from, c.to, 1))
			w.apply(manifest(t, "nats-outside.yaml"))
			h := follow(t, kubernetes.Service("nats", w.with(w.token("worker"))...))
			h.failure(discovery.ReasonForbidden, append(c.parts, "service account worker of namespace "+w.ns,
				"{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}")...)
			if name != "role name" { // which can be made anew only
				w.apply(text)
				h.hosts("10.1.0.1:4222", "10.1.0.2:4222", "10.1.0.3:4222")
			}
		})
	}
}
