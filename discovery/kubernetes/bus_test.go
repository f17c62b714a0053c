//go:build kubetest

package kubernetes_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const apps = "/apis/apps/v1"

// pods are those of an application that the controllers have made, by name.
func (w *world) pods(app string) map[string]*corev1.Pod {
	w.t.Helper()
	var list corev1.PodList
	w.do(w.t, "GET", w.at(core, "pods")+"?labelSelector=app%3D"+app, &list)
	by := map[string]*corev1.Pod{}
	for i := range list.Items {
		by[list.Items[i].Name] = &list.Items[i]
	}
	return by
}

// run does what a scheduler and a kubelet would: the pod is on a node, and its container runs.
func (w *world) run(p *corev1.Pod, ip string, ready bool) {
	w.t.Helper()
	if p.Spec.NodeName == "" {
		w.do(w.t, "POST", w.at(core, "pods", p.Name, "binding"), &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: p.Name},
			Target: corev1.ObjectReference{Kind: "Node", Name: "node-1"}})
		p.Spec.NodeName = "node-1"
	}
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}}
	w.ready(p, ready)
}

// end does what a kubelet would when the processes of a pod have ended.
func (w *world) end(name string) {
	w.t.Helper()
	w.do(w.t, "DELETE", w.at(core, "pods", name), &metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
}

// apart are the pods that are not there, or not ready, or that end.
func apart(pods map[string]*corev1.Pod) (names []string) {
	for name, p := range pods {
		if p.DeletionTimestamp != nil || len(p.Status.Conditions) == 0 || p.Status.Conditions[0].Status != corev1.ConditionTrue {
			names = append(names, name)
		}
	}
	return names
}

func (w *world) follows(token string) *heard {
	return follow(w.t, kubernetes.Service("bus", w.with(token, kubernetes.NotReady(), kubernetes.Discovery(discovery.Routes()))...))
}

// busManifest is a manifest with an update that need not wait for clocks.
func busManifest(t *testing.T, name string) string {
	text := manifest(t, name)
	require.Contains(t, text, "minReadySeconds: 10 ")
	return strings.ReplaceAll(text, "minReadySeconds: 10 ", "minReadySeconds: 0 ")
}

// The pods of the StatefulSet are all made at once, under the names that stay, with the volumes; they find each other though none is ready;
// and an update takes one after another.
func TestBusAsAStatefulSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, theCluster(t))
	w.nodes()
	w.apply(manifest(t, "rights.yaml"))
	w.apply(busManifest(t, "bus-statefulset.yaml"))
	var pods map[string]*corev1.Pod
	eventually(t, "three pods, of which none is ready", func() bool { pods = w.pods("bus"); return len(pods) == 3 })
	for i := range 3 {
		p := pods[fmt.Sprintf("bus-%d", i)]
		require.NotNil(t, p)
		require.Equal(t, int64(30), *p.Spec.TerminationGracePeriodSeconds)
		require.Equal(t, fmt.Sprintf("data-bus-%d", i), claim(p))
		require.Equal(t, "bus", p.Spec.Subdomain)
		w.run(p, fmt.Sprintf("10.1.0.%d", i+1), false)
	}
	h := w.follows(w.token("worker"))
	h.hosts("10.1.0.1:6222", "10.1.0.2:6222", "10.1.0.3:6222")
	for i := range 3 {
		w.run(w.pods("bus")[fmt.Sprintf("bus-%d", i)], fmt.Sprintf("10.1.0.%d", i+1), true)
	}

	w.apply(strings.ReplaceAll(busManifest(t, "bus-statefulset.yaml"), "image: bus:1", "image: bus:2"))
	for i := 2; i >= 0; i-- {
		name := fmt.Sprintf("bus-%d", i)
		eventually(t, name+" to be told to end", func() bool { pods = w.pods("bus"); return pods[name] != nil && pods[name].DeletionTimestamp != nil })
		require.Equal(t, []string{name}, apart(pods))
		w.end(name)
		eventually(t, name+" to be there again", func() bool {
			pods = w.pods("bus")
			return pods[name] != nil && pods[name].DeletionTimestamp == nil && pods[name].Spec.Containers[0].Image == "bus:2"
		})
		w.run(pods[name], fmt.Sprintf("10.1.1.%d", i+1), false)
		eventually(t, "the controller to have seen it", func() bool {
			set := &appsv1.StatefulSet{}
			w.do(t, "GET", w.at(apps, "statefulsets", "bus"), set)
			return set.Status.UpdatedReplicas == int32(3-i) && set.Status.ReadyReplicas == 2
		})
		require.Equal(t, []string{name}, apart(w.pods("bus")), "the next is not touched before this one is ready")
		require.Equal(t, "data-"+name, claim(pods[name]), "with the volume that it had")
		w.run(w.pods("bus")[name], fmt.Sprintf("10.1.1.%d", i+1), true)
	}
	h.hosts("10.1.1.1:6222", "10.1.1.2:6222", "10.1.1.3:6222")
}

func claim(p *corev1.Pod) string {
	for _, v := range p.Spec.Volumes {
		if v.Name == "data" && v.PersistentVolumeClaim != nil {
			return v.PersistentVolumeClaim.ClaimName
		}
	}
	return ""
}

// The pods of the Deployment find each other though none is ready; an update makes one more, and ends one only when that is ready.
func TestBusAsADeployment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, theCluster(t))
	w.nodes()
	w.apply(manifest(t, "rights.yaml"))
	w.apply(busManifest(t, "bus-deployment.yaml"))
	n := 0
	run := func(pods map[string]*corev1.Pod, ready bool) {
		for _, p := range pods {
			if p.Status.PodIP == "" {
				n++
				w.run(p, fmt.Sprintf("10.1.0.%d", n), ready)
			}
		}
	}
	var pods map[string]*corev1.Pod
	eventually(t, "five pods, of which none is ready", func() bool { pods = w.pods("bus"); return len(pods) == 5 })
	run(pods, false)
	for _, p := range pods {
		require.Equal(t, int64(60), *p.Spec.TerminationGracePeriodSeconds)
	}
	h := w.follows(w.token("worker"))
	h.hosts("10.1.0.1:6222", "10.1.0.2:6222", "10.1.0.3:6222", "10.1.0.4:6222", "10.1.0.5:6222")
	for _, p := range w.pods("bus") {
		w.ready(p, true)
	}

	w.apply(strings.ReplaceAll(busManifest(t, "bus-deployment.yaml"), "image: bus:1", "image: bus:2"))
	var ends []string
	for updated := 1; updated <= 5; updated++ {
		fresh := func(p *corev1.Pod) bool {
			return p.DeletionTimestamp == nil && p.Spec.Containers[0].Image == "bus:2" && p.Status.PodIP == ""
		}
		eventually(t, "one more pod", func() bool {
			pods = w.pods("bus")
			return slices.ContainsFunc(slices.Collect(maps.Values(pods)), fresh)
		})
		require.Len(t, pods, 6)
		require.Len(t, apart(pods), 1, "as many as before are ready")
		run(pods, true)
		// Whoever ends is not counted any more: the next is made meanwhile.
		eventually(t, "one to be told to end", func() bool {
			ends = nil
			for name, p := range w.pods("bus") {
				if p.DeletionTimestamp != nil {
					ends = append(ends, name)
				}
			}
			return len(ends) > 0
		})
		require.Len(t, ends, 1)
		require.Equal(t, "bus:1", pods[ends[0]].Spec.Containers[0].Image)
		w.end(ends[0])
	}
	eventually(t, "the five that are new", func() bool { pods = w.pods("bus"); return len(pods) == 5 && len(apart(pods)) == 0 })
	h.hosts("10.1.0.10:6222", "10.1.0.6:6222", "10.1.0.7:6222", "10.1.0.8:6222", "10.1.0.9:6222")
}
