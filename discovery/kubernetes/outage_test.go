//go:build kubetest

package kubernetes_test

import (
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// An API server that is killed, restarted, frozen or without its store takes nothing away. What changed meanwhile is there soon afterwards.
func TestAnOutageOfTheAPIServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ownCluster(t))
	s := w.slice("nats-a", "nats", "10.1.0.1")
	token := w.account("bus", discoveryv1.GroupName, "endpointslices", "list", "watch")
	h := follow(t, kubernetes.Service("nats", w.with(token, kubernetes.Discovery(discovery.Timeout(time.Second)))...))
	polls := follow(t, kubernetes.Service("nats", w.with(token, kubernetes.Discovery(discovery.Timeout(time.Second)), kubernetes.ListsOnly())...))
	h.hosts("10.1.0.1:4222")
	polls.hosts("10.1.0.1:4222")
	last := "10.1.0.1"
	for _, c := range []struct {
		what, next string
		begin, end func()
		reason     discovery.Reason
	}{
		{"killed", "10.1.0.2", func() { w.api.end(syscall.SIGKILL) }, func() { require.NoError(t, w.startAPI()) }, discovery.ReasonUnavailable},
		{"stopped in order", "10.1.0.3", func() { w.api.end(syscall.SIGTERM) }, func() { require.NoError(t, w.startAPI()) }, discovery.ReasonUnavailable},
		{"frozen", "10.1.0.4", func() { w.api.cmd.Process.Signal(syscall.SIGSTOP) }, func() { w.api.cmd.Process.Signal(syscall.SIGCONT) }, discovery.ReasonTimeout},
	} {
		h.forget()
		polls.forget()
		c.begin()
		h.failure(c.reason)
		polls.failure(c.reason)
		require.Equal(t, []string{last + ":4222"}, h.now(), c.what)
		require.Equal(t, []string{last + ":4222"}, polls.now(), c.what)
		c.end()
		eventually(t, "a change after it was "+c.what, func() bool { return w.change(s, c.next) })
		h.hosts(c.next + ":4222")
		polls.hosts(c.next + ":4222")
		last = c.next
	}
}

// change gives a slice another endpoint, if the API server is there.
func (w *world) change(s *discoveryv1.EndpointSlice, ip string) bool {
	code, _, err := w.send(w.t.Context(), "PATCH", w.at(discoverys, "endpointslices", s.Name), "application/merge-patch+json",
		[]byte(`{"endpoints":[{"addresses":["`+ip+`"],"conditions":{"ready":true}}]}`))
	return err == nil && code == http.StatusOK
}

// A version that the server has forgotten ends a watch, and all is listed again. Versions are forgotten by a compaction of the store, and by a
// restart of the API server; here the watch is made to ask for an old one, as one does that was away for long.
func TestAForgottenVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ownCluster(t, "--watch-cache=false", "--etcd-compaction-interval=1s"))
	s := w.slice("nats-a", "nats", "10.1.0.1")
	old := s.ResourceVersion
	for range 20 {
		s.Annotations = map[string]string{"now": time.Now().String()}
		w.update(s)
	}
	var r requests
	token := w.account("bus", discoveryv1.GroupName, "endpointslices", "list", "watch")
	tries := 0
	r.pass = func(req *http.Request, next func(*http.Request) (*http.Response, error)) (*http.Response, error) {
		if q := req.URL.Query(); q.Get("watch") == "true" && tries < 60 { // compactions take a while
			tries++
			q.Set("resourceVersion", old)
			req = req.Clone(req.Context())
			req.URL.RawQuery = q.Encode()
			if tries < 59 {
				q.Set("timeoutSeconds", "1")
				req.URL.RawQuery = q.Encode()
			}
		}
		return next(req)
	}
	h := follow(t, kubernetes.Service("nats", w.with(token, kubernetes.Config(r.seen(w.config(token))), kubernetes.Cached())...))
	h.hosts("10.1.0.1:4222")
	h.failure(discovery.ReasonGone, "too old", "listed again")
	require.Equal(t, []string{"10.1.0.1:4222"}, h.now())
	require.True(t, w.change(s, "10.1.0.2"))
	h.hosts("10.1.0.2:4222")
}

// Tokens are replaced while they hold, end, and are taken back with their pod.
func TestTokensOfARealServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, theCluster(t))
	w.slice("nats-a", "nats", "10.1.0.1")
	w.account("bus", discoveryv1.GroupName, "endpointslices", "list", "watch")
	var account corev1.ServiceAccount
	w.do(t, "GET", w.at(core, "serviceaccounts", "bus"), &account)
	dir := t.TempDir()
	ca, err := os.ReadFile(w.path("certs", "apiserver.crt"))
	require.NoError(t, err)
	file := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	file("ca.crt", string(ca))
	file("namespace", w.ns)
	file("token", w.token("bus"))
	opts := []kubernetes.Option{kubernetes.ServiceAccount(dir), kubernetes.Master(w.url()),
		kubernetes.Discovery(discovery.Interval(100*time.Millisecond), discovery.MaxBackoff(200*time.Millisecond))}
	watches := follow(t, kubernetes.Service("nats", opts...))
	polls := follow(t, kubernetes.Service("nats", append(opts, kubernetes.ListsOnly())...))
	watches.hosts("10.1.0.1:4222")
	polls.hosts("10.1.0.1:4222")

	file("token", w.sign(t, w.ns, "bus", string(account.UID), time.Now().Add(time.Hour))) // rotated
	w.slice("nats-b", "nats", "10.1.0.2")
	watches.hosts("10.1.0.1:4222", "10.1.0.2:4222")
	polls.hosts("10.1.0.1:4222", "10.1.0.2:4222")
	require.Empty(t, polls.failures())

	file("token", w.sign(t, w.ns, "bus", string(account.UID), time.Now().Add(-2*time.Minute))) // it has ended
	polls.failure(discovery.ReasonUnauthorized, "the token", "read anew")
	require.Equal(t, []string{"10.1.0.1:4222", "10.1.0.2:4222"}, polls.now())
	w.slice("nats-c", "nats", "10.1.0.3")
	watches.hosts("10.1.0.1:4222", "10.1.0.2:4222", "10.1.0.3:4222") // a watch outlives its token
	late := follow(t, kubernetes.Service("nats", opts...))
	late.failure(discovery.ReasonUnauthorized)

	file("token", "nonsense")
	polls.forget()
	polls.failure(discovery.ReasonUnauthorized)
	file("token", w.token("bus"))
	polls.hosts("10.1.0.1:4222", "10.1.0.2:4222", "10.1.0.3:4222")
	late.hosts("10.1.0.1:4222", "10.1.0.2:4222", "10.1.0.3:4222")
	require.Empty(t, watches.failures())

	// The account goes, and comes again under the same name: its tokens are others.
	w.do(t, "DELETE", w.at(core, "serviceaccounts", "bus"), nil)
	polls.forget()
	polls.failure(discovery.ReasonUnauthorized, "deleted")
	w.do(t, "POST", w.at(core, "serviceaccounts"), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "bus"}})
	file("token", w.token("bus"))
	w.slice("nats-d", "nats", "10.1.0.4")
	polls.hosts("10.1.0.1:4222", "10.1.0.2:4222", "10.1.0.3:4222", "10.1.0.4:4222")
}

// Who sends no token, and who asks in a namespace where he may not.
func TestWhoIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, theCluster(t))
	w.slice("nats-a", "nats", "10.1.0.1")
	token := w.account("bus", discoveryv1.GroupName, "endpointslices", "list", "watch")

	none := follow(t, kubernetes.Service("nats", w.with("")...))
	none.failure(discovery.ReasonForbidden, "system:anonymous", "no token was sent")

	elsewhere := follow(t, kubernetes.Service("nats", w.with(token, kubernetes.Namespace("default"))...))
	f := elsewhere.failure(discovery.ReasonForbidden, "namespace: default, name: rolebus-discovery-endpointslices", "namespace: "+w.ns+", name: bus")
	require.NotContains(t, f.Mend, `"`)

	pods := follow(t, kubernetes.Pods("app=nats", w.with(token)...))
	f = pods.failure(discovery.ReasonForbidden, "resources: [pods]")
	w.pod("nats-0", "10.1.0.7", true)
	w.apply(yamlOf(t, f.Mend))
	pods.hosts("10.1.0.7:4222")

	// A right that is taken back takes nothing away, and one that comes again works.
	polls := follow(t, kubernetes.Service("nats", w.with(token, kubernetes.ListsOnly())...))
	polls.hosts("10.1.0.1:4222")
	w.do(t, "DELETE", w.at(rbac, "rolebindings", "bus"), nil)
	f = polls.failure(discovery.ReasonForbidden, "verbs: [list]")
	require.Equal(t, []string{"10.1.0.1:4222"}, polls.now())
	w.apply(yamlOf(t, f.Mend))
	w.slice("nats-b", "nats", "10.1.0.2")
	polls.hosts("10.1.0.1:4222", "10.1.0.2:4222")

	// A user is no service account.
	config := w.config(adminToken)
	config.Impersonate = rest.ImpersonationConfig{UserName: "jane@example.com"}
	jane := follow(t, kubernetes.Service("nats", w.with("", kubernetes.Config(config))...))
	f = jane.failure(discovery.ReasonForbidden, "user jane@example.com")
	require.Contains(t, f.Mend, "kind: User")
	w.apply(yamlOf(t, f.Mend))
	jane.hosts("10.1.0.1:4222", "10.1.0.2:4222")
	w.slice("nats-c", "nats", "10.1.0.3") // what she was given took nothing from the account
	polls.hosts("10.1.0.1:4222", "10.1.0.2:4222", "10.1.0.3:4222")
}
