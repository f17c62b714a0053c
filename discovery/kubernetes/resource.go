package kubernetes

import (
	"fmt"

	"github.com/rolebus/rolebus/discovery"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// resource is a kind of object in which addresses stand.
type resource struct {
	path, group, plural string // in the API
	open                func(list runtime.Object) (items []item, version string, ok bool)
	one                 func(object runtime.Object) (item, bool)
}

// item is an object of which only is kept what is read in it.
type item struct {
	name    string
	version string
	reading reading
	read    func(o *options, shape discovery.Address) reading
}

// reading is what an object says.
type reading struct {
	addresses []discovery.Address
	all       int // of endpoints, or pods
	notReady  int // left out for that
	ending    int // terminating, or ended
	problems  []string
}

func (r *reading) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

const serviceNameLabel = discoveryv1.LabelServiceName

var endpointSlices = &resource{
	path: "/apis", group: discoveryv1.GroupName, plural: "endpointslices",
	open: func(list runtime.Object) (items []item, version string, ok bool) {
		l, ok := list.(*discoveryv1.EndpointSliceList)
		if !ok {
			return nil, "", false
		}
		for i := range l.Items {
			items = append(items, sliceItem(&l.Items[i]))
		}
		return items, l.ResourceVersion, true
	},
	one: func(object runtime.Object) (item, bool) {
		s, ok := object.(*discoveryv1.EndpointSlice)
		if !ok {
			return item{}, false
		}
		return sliceItem(s), true
	},
}

var pods = &resource{
	path: "/api", plural: "pods",
	open: func(list runtime.Object) (items []item, version string, ok bool) {
		l, ok := list.(*corev1.PodList)
		if !ok {
			return nil, "", false
		}
		for i := range l.Items {
			items = append(items, podItem(&l.Items[i]))
		}
		return items, l.ResourceVersion, true
	},
	one: func(object runtime.Object) (item, bool) {
		p, ok := object.(*corev1.Pod)
		if !ok {
			return item{}, false
		}
		return podItem(p), true
	},
}

func sliceItem(s *discoveryv1.EndpointSlice) item {
	return item{name: s.Name, version: s.ResourceVersion, read: func(o *options, shape discovery.Address) reading { return o.readSlice(s, shape) }}
}

func podItem(p *corev1.Pod) item {
	return item{name: p.Name, version: p.ResourceVersion, read: func(o *options, shape discovery.Address) reading { return o.readPod(p, shape) }}
}
