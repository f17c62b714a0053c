//go:build kubetest

package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// world is a namespace of a cluster, which is used by one test and never again: nothing here ends namespaces.
type world struct {
	t testing.TB
	*cluster
	ns string
}

var worlds atomic.Int64

func newWorld(t testing.TB, c *cluster) *world {
	t.Helper()
	w := &world{t, c, fmt.Sprintf("fleet-%d", worlds.Add(1))}
	w.do(t, "POST", "/api/v1/namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns}})
	// Pods are refused until their account is there, which a controller makes.
	eventually(t, "the default account", func() bool { return w.exists("/api/v1/namespaces/" + w.ns + "/serviceaccounts/default") })
	return w
}

func (w *world) exists(path string) bool {
	code, _, err := w.send(w.t.Context(), "GET", path, "", nil)
	return err == nil && code == http.StatusOK
}

const (
	core       = "/api/v1"
	rbac       = "/apis/rbac.authorization.k8s.io/v1"
	discoverys = "/apis/discovery.k8s.io/v1"
)

// at is the path of objects of a kind in the namespace.
func (w *world) at(group, plural string, name ...string) string {
	path := group + "/namespaces/" + w.ns + "/" + plural
	for _, n := range name {
		path += "/" + n
	}
	return path
}

// account makes a service account that may do what the verbs say with the resource, and returns its token.
func (w *world) account(name, group, resource string, verbs ...string) (token string) {
	w.t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	w.do(w.t, "POST", w.at(core, "serviceaccounts"), account)
	if len(verbs) > 0 {
		w.grant(name, group, resource, verbs...)
	}
	return w.token(name)
}

func (w *world) grant(name, group, resource string, verbs ...string) {
	w.t.Helper()
	w.do(w.t, "POST", w.at(rbac, "roles"), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}}})
	w.bind(name)
}

// bind gives an account the role of its name.
func (w *world) bind(name string) {
	w.t.Helper()
	w.do(w.t, "POST", w.at(rbac, "rolebindings"), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:  rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: w.ns, Name: name}}})
}

func (w *world) token(name string) string {
	w.t.Helper()
	r := &authv1.TokenRequest{}
	w.do(w.t, "POST", w.at(core, "serviceaccounts", name, "token"), r)
	return r.Status.Token
}

// slice makes an EndpointSlice of a service, its endpoints ready.
func (w *world) slice(name, service string, ips ...string) *discoveryv1.EndpointSlice {
	w.t.Helper()
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("nats"), Port: new(int32(4222)), Protocol: new(corev1.ProtocolTCP)}},
	}
	s.Endpoints = endpoints(ips...)
	w.do(w.t, "POST", w.at(discoverys, "endpointslices"), s)
	return s
}

func endpoints(ips ...string) (all []discoveryv1.Endpoint) {
	for _, ip := range ips {
		all = append(all, discoveryv1.Endpoint{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}})
	}
	return all
}

func (w *world) update(s *discoveryv1.EndpointSlice) {
	w.t.Helper()
	s.ResourceVersion = ""
	w.do(w.t, "PUT", w.at(discoverys, "endpointslices", s.Name), s)
}

// pod makes a pod that runs on a node, as its kubelet would say.
func (w *world) pod(name, ip string, ready bool, change ...func(*corev1.Pod)) *corev1.Pod {
	w.t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "nats"}},
		Spec: corev1.PodSpec{NodeName: "node-1", Hostname: name, Subdomain: "nats", Containers: []corev1.Container{{Name: "nats", Image: "nats", Ports: []corev1.ContainerPort{
			{Name: "client", ContainerPort: 4222}, {Name: "cluster", ContainerPort: 6222},
		}}}},
	}
	for _, each := range change {
		each(p)
	}
	w.do(w.t, "POST", w.at(core, "pods"), p)
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}}
	if ip == "" {
		p.Status = corev1.PodStatus{Phase: corev1.PodPending}
	}
	w.ready(p, ready)
	return p
}

func (w *world) ready(p *corev1.Pod, ready bool) {
	w.t.Helper()
	is := map[bool]corev1.ConditionStatus{true: corev1.ConditionTrue, false: corev1.ConditionFalse}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: is[ready]}}
	w.status(p)
}

func (w *world) status(p *corev1.Pod) {
	w.t.Helper()
	p.ResourceVersion = ""
	w.do(w.t, "PUT", w.at(core, "pods", p.Name, "status"), p)
}

// nodes makes the node of the pods: the controller leaves out a pod whose node is not there.
func (w *world) nodes() {
	w.t.Helper()
	if !w.exists("/api/v1/nodes/node-1") {
		body, err := json.Marshal(corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}})
		require.NoError(w.t, err)
		_, _, err = w.send(w.t.Context(), "POST", "/api/v1/nodes", "application/json", body) // another test may have been faster
		require.NoError(w.t, err)
	}
}

// headless makes a headless service of the pods.
func (w *world) headless(name string, notReady bool) {
	w.t.Helper()
	w.nodes()
	w.do(w.t, "POST", w.at(core, "services"), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
		ClusterIP: "None", Selector: map[string]string{"app": "nats"}, PublishNotReadyAddresses: notReady,
		Ports: []corev1.ServicePort{{Name: "nats", Port: 4222}, {Name: "cluster", Port: 6222}},
	}})
}

// apply applies objects in YAML as kubectl apply --server-side does, which has the server check them strictly.
func (w *world) apply(text string) {
	w.t.Helper()
	for doc := range strings.SplitSeq(text, "\n---\n") {
		var o struct {
			APIVersion, Kind string
			Metadata         metav1.ObjectMeta
			Items            []json.RawMessage
		}
		require.NoError(w.t, yaml.Unmarshal([]byte(doc), &o), doc)
		if o.Kind == "List" {
			for _, item := range o.Items {
				w.apply(string(item))
			}
			continue
		}
		plural := map[string]string{"Role": "roles", "RoleBinding": "rolebindings", "ServiceAccount": "serviceaccounts", "Service": "services",
			"Deployment": "deployments", "ConfigMap": "configmaps", "StatefulSet": "statefulsets",
			"EndpointSlice": "endpointslices", "PodDisruptionBudget": "poddisruptionbudgets"}[o.Kind]
		require.NotEmpty(w.t, plural, o.Kind)
		group := "/apis/" + o.APIVersion
		if o.APIVersion == "v1" {
			group = core
		}
		namespace := w.ns
		if o.Metadata.Namespace != "" {
			namespace = o.Metadata.Namespace
		}
		path := group + "/namespaces/" + namespace + "/" + plural + "/" + o.Metadata.Name + "?fieldManager=test&force=true&fieldValidation=Strict"
		code, answer, err := w.send(w.t.Context(), "PATCH", path, "application/apply-patch+yaml", []byte(doc))
		require.NoError(w.t, err)
		require.Less(w.t, code, 300, "%s: %s", path, answer)
	}
}

// with is a strategy's options for this namespace and this account, quick enough for a test.
func (w *world) with(token string, opts ...kubernetes.Option) []kubernetes.Option {
	return append([]kubernetes.Option{
		kubernetes.Config(w.config(token)), kubernetes.Namespace(w.ns),
		kubernetes.Discovery(discovery.Interval(100*time.Millisecond), discovery.MaxBackoff(500*time.Millisecond), discovery.Timeout(3*time.Second)),
	}, opts...)
}
