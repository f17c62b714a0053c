package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rolebus/rolebus/discovery"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Service finds the endpoints of a service by its EndpointSlices, as Kubernetes itself does. That works for any service, also for one without
// a selector whose EndpointSlices somebody else writes. The account needs list and watch for endpointslices.
//
// An endpoint is listed while it is ready and not terminating; see [NotReady]. It is not ready while its pod is not, also of a service with
// publishNotReadyAddresses, as those of NATS have it: Kubernetes then calls all endpoints ready, but tells which of them serve.
func Service(name string, opts ...Option) discovery.Strategy {
	o := collect(opts)
	if strings.Contains(name, ".") {
		o.wrong("service %q: give its name alone, without dots, and its namespace by kubernetes.Namespace", name)
	} else if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		o.wrong("service %q: %s", name, problems[0])
	}
	o.service = name
	return o.strategy(endpointSlices, serviceNameLabel+"="+name, "service "+name)
}

// Endpoints finds endpoints by the labels of their EndpointSlices, such as "app.kubernetes.io/part-of in (nats, edge)": those of all services
// whose labels match, as EndpointSlices have the labels of their service. Otherwise it is as [Service].
func Endpoints(selector string, opts ...Option) discovery.Strategy {
	o := collect(opts)
	o.selector(selector)
	return o.strategy(endpointSlices, selector, "endpoints "+selector)
}

// Pods finds pods by their labels, such as "app=nats,tier!=edge", where there is no service. The account needs list and watch for pods: more
// than for [Service], as a pod shows all its settings.
//
// A pod is listed while it is ready; see [NotReady]. Pods that terminate, have ended or have no address are never listed.
func Pods(selector string, opts ...Option) discovery.Strategy {
	o := collect(opts)
	o.selector(selector)
	return o.strategy(pods, selector, "pods "+selector)
}

// selector checks a selector of labels. Kubernetes takes the empty one for all there is.
func (o *options) selector(text string) {
	if strings.TrimSpace(text) == "" {
		o.errs = append(o.errs, errors.New("the selector is empty: that would be all there is in the namespace"))
	} else if _, err := labels.Parse(text); err != nil {
		o.wrong("selector %q: %w", text, err)
	}
}

func (o *options) strategy(of *resource, selector, name string) discovery.Strategy {
	watch := func(ctx context.Context, w *discovery.Watching) error {
		f := &follower{of: of, o: o, w: w, selector: selector}
		return f.follow(ctx)
	}
	return discovery.Watch("Kubernetes "+name, watch, append([]discovery.Option{discovery.Mistake(o.errs...)}, o.common...)...)
}

func (o *options) wrong(format string, args ...any) {
	o.errs = append(o.errs, fmt.Errorf(format, args...))
}
