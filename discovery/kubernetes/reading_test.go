package kubernetes_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type (
	slice    = discoveryv1.EndpointSlice
	endpoint = discoveryv1.EndpointConditions
)

// What of EndpointSlices is listed, and how, with each option.
func TestEndpointsOfEverySort(t *testing.T) {
	one := func(change func(*slice)) []slice {
		s := sliceOf("10.1.0.1")
		s.Endpoints[0].Hostname = new("nats-0")
		s.Endpoints[0].TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: "nats-0"}
		change(&s)
		return []slice{s}
	}
	as := func(c endpoint) []slice { return one(func(s *slice) { s.Endpoints[0].Conditions = c }) }
	ports := func(ports ...discoveryv1.EndpointPort) []slice { return one(func(s *slice) { s.Ports = ports }) }
	port := func(name string, number int32) discoveryv1.EndpointPort {
		return discoveryv1.EndpointPort{Name: &name, Port: &number}
	}
	udp := discoveryv1.EndpointPort{Name: new("nats"), Port: new(int32(53)), Protocol: new(corev1.ProtocolUDP)}
	six := func(s *slice) {
		s.AddressType = discoveryv1.AddressTypeIPv6
		s.Endpoints[0].Addresses = []string{"2001:db8::7"}
	}
	hosts, options := kubernetes.Hosts, kubernetes.Discovery
	type opts = []kubernetes.Option
	for name, c := range map[string]struct {
		opts   opts
		slices []slice
		want   []string
		told   []string // in the failure that there must be
	}{
		"conditions that say nothing":             {nil, as(endpoint{}), []string{"10.1.0.1:4222"}, nil},
		"ready":                                   {nil, as(endpoint{Ready: new(true), Serving: new(true), Terminating: new(false)}), []string{"10.1.0.1:4222"}, nil},
		"not ready":                               {nil, as(endpoint{Ready: new(false)}), nil, []string{"1 are not ready", "kubernetes.NotReady"}},
		"published although it is not ready":      {nil, as(endpoint{Ready: new(true), Serving: new(false)}), nil, []string{"1 are not ready"}},
		"not ready, wanted":                       {opts{kubernetes.NotReady()}, as(endpoint{Ready: new(false), Serving: new(false)}), []string{"10.1.0.1:4222"}, nil},
		"terminating":                             {nil, as(endpoint{Ready: new(false), Serving: new(true), Terminating: new(true)}), nil, []string{"1 terminate"}},
		"terminating, published":                  {nil, as(endpoint{Ready: new(true), Serving: new(true), Terminating: new(true)}), nil, []string{"1 terminate"}},
		"terminating is never wanted":             {opts{kubernetes.NotReady()}, as(endpoint{Terminating: new(true)}), nil, []string{"1 terminate"}},
		"no target":                               {nil, one(func(s *slice) { s.Endpoints[0].TargetRef = nil }), []string{"10.1.0.1:4222"}, nil},
		"no address":                              {nil, one(func(s *slice) { s.Endpoints[0].Addresses = nil }), nil, []string{"pod nats-0", "has no address"}},
		"no address among others":                 {nil, one(func(s *slice) { s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{}) }), []string{"10.1.0.1:4222"}, []string{"an endpoint", "has no address"}},
		"an address that is none":                 {nil, one(func(s *slice) { s.Endpoints[0].Addresses = []string{"nowhere"} }), nil, []string{`"nowhere" for an address`}},
		"an address that none can have":           {nil, one(func(s *slice) { s.Endpoints[0].Addresses = []string{"0.0.0.0"} }), nil, []string{"0.0.0.0"}},
		"several addresses: the first":            {nil, one(func(s *slice) { s.Endpoints[0].Addresses = []string{"10.1.0.1", "10.1.0.2"} }), []string{"10.1.0.1:4222"}, nil},
		"IPv6":                                    {nil, one(six), []string{"[2001:db8::7]:4222"}, nil},
		"both families":                           {nil, append(one(six), sliceNamed("b", "10.1.0.1")), []string{"10.1.0.1:4222", "[2001:db8::7]:4222"}, nil},
		"IPv4 of both":                            {opts{kubernetes.Family("IPv4")}, append(one(six), sliceNamed("b", "10.1.0.1")), []string{"10.1.0.1:4222"}, nil},
		"IPv6 of both":                            {opts{kubernetes.Family("IPv6")}, append(one(six), sliceNamed("b", "10.1.0.1")), []string{"[2001:db8::7]:4222"}, nil},
		"IPv6 of none":                            {opts{kubernetes.Family("IPv6")}, one(func(*slice) {}), nil, []string{"kubernetes.Family"}},
		"a name for an address":                   {nil, one(func(s *slice) { s.AddressType = "FQDN"; s.Endpoints[0].Addresses = []string{"nats.example.com"} }), []string{"nats.example.com:4222"}, nil},
		"a name for an address, as hostname":      {opts{hosts(kubernetes.Hostname)}, one(func(s *slice) { s.AddressType = "FQDN"; s.Endpoints[0].Addresses = []string{"nats.example.com"} }), []string{"nats.example.com:4222"}, nil},
		"over several slices, one twice":          {nil, []slice{sliceNamed("a", "10.1.0.1", "10.1.0.2"), sliceNamed("b", "10.1.0.2", "10.1.0.3")}, []string{"10.1.0.1:4222", "10.1.0.2:4222", "10.1.0.3:4222"}, nil},
		"dns":                                     {opts{hosts(kubernetes.DNS)}, one(func(*slice) {}), []string{"10-1-0-1.fleet.pod.cluster.local:4222"}, nil},
		"dns of IPv6":                             {opts{hosts(kubernetes.DNS)}, one(six), []string{"2001-db8--7.fleet.pod.cluster.local:4222"}, nil},
		"hostname":                                {opts{hosts(kubernetes.Hostname)}, one(func(*slice) {}), []string{"nats-0.nats.fleet.svc.cluster.local:4222"}, nil},
		"hostname of both families":               {opts{hosts(kubernetes.Hostname)}, append(one(six), one(func(s *slice) { s.Name = "b" })...), []string{"nats-0.nats.fleet.svc.cluster.local:4222"}, nil},
		"hostname of one that has none":           {opts{hosts(kubernetes.Hostname)}, one(func(s *slice) { s.Endpoints[0].Hostname = nil }), []string{"10-1-0-1.nats.fleet.svc.cluster.local:4222"}, nil},
		"another domain":                          {opts{hosts(kubernetes.Hostname), kubernetes.ClusterDomain("prod.example.")}, one(func(*slice) {}), []string{"nats-0.nats.fleet.svc.prod.example:4222"}, nil},
		"a domain that stands in names":           {opts{hosts(kubernetes.Hostname), kubernetes.ClusterDomain("nats")}, one(func(*slice) {}), []string{"nats-0.nats.fleet.svc.nats:4222"}, nil},
		"another port":                            {nil, ports(port("x", 7000)), []string{"10.1.0.1:7000"}, nil},
		"no port":                                 {nil, ports(), []string{"10.1.0.1:4222"}, nil},
		"no port, one given":                      {opts{options(discovery.Port(7001))}, ports(), []string{"10.1.0.1:7001"}, nil},
		"a port, another one given for none":      {opts{options(discovery.Port(7001))}, ports(port("x", 7000)), []string{"10.1.0.1:7000"}, nil},
		"a port without a number":                 {nil, ports(discoveryv1.EndpointPort{}), []string{"10.1.0.1:4222"}, nil},
		"a port without a name":                   {nil, ports(discoveryv1.EndpointPort{Port: new(int32(7000))}), []string{"10.1.0.1:7000"}, nil},
		"UDP is no port":                          {nil, ports(udp, port("x", 7000)), []string{"10.1.0.1:7000"}, nil},
		"UDP alone":                               {opts{kubernetes.Port("nats")}, ports(udp), nil, []string{"no port named nats", "it has none"}},
		"several ports, one named":                {nil, ports(port("cluster", 1), port("monitor", 2), port("client", 3)), []string{"10.1.0.1:3"}, nil},
		"several ports, one named for routes":     {opts{options(discovery.Routes())}, ports(port("client", 3), port("cluster", 1)), []string{"10.1.0.1:1"}, nil},
		"several ports, one usual":                {nil, ports(port("a", 1), port("b", 4222)), []string{"10.1.0.1:4222"}, nil},
		"several ports, one usual for routes":     {opts{options(discovery.Routes())}, ports(port("a", 4222), port("b", 6222)), []string{"10.1.0.1:6222"}, nil},
		"several ports, one of WebSocket":         {opts{options(discovery.Scheme("ws"))}, ports(port("nats", 4222), port("websocket", 8080)), []string{"10.1.0.1:8080"}, nil},
		"several ports, one of TLS and WebSocket": {opts{options(discovery.Scheme("wss"))}, ports(port("nats", 4222), port("a", 443)), []string{"10.1.0.1:443"}, nil},
		"several ports, none of WebSocket":        {opts{options(discovery.Scheme("ws"))}, ports(port("nats", 4222), port("cluster", 6222)), nil, []string{"give kubernetes.Port"}},
		"several ports, who knows":                {nil, ports(port("a", 1), port("b", 2)), nil, []string{"give kubernetes.Port", "a (1), b (2)"}},
		"a port by name":                          {opts{kubernetes.Port("b")}, ports(port("a", 4222), port("b", 2)), []string{"10.1.0.1:2"}, nil},
		"a port by a name that there is not":      {opts{kubernetes.Port("c")}, ports(port("a", 1)), nil, []string{"no port named c", "a (1)"}},
		"a port by number":                        {opts{kubernetes.Port("9")}, ports(port("a", 1), port("b", 2)), []string{"10.1.0.1:9"}, nil},
		"a port that one slice of two does not h": {opts{kubernetes.Port("nats")}, append(ports(port("a", 1)), sliceNamed("b", "10.1.0.2")), []string{"10.1.0.2:4222"}, []string{"EndpointSlice nats-a: it has no port named nats"}},
		"what the options say":                    {opts{options(discovery.Scheme("tls"), discovery.Cluster("c"), discovery.TLSName("nats.example"))}, one(func(*slice) {}), []string{"10.1.0.1:4222"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.answer(has(t, c.slices...), nil)
			told(t, follow(t, kubernetes.Service("nats", f.with(c.opts...)...)), c.want, c.told)
		})
	}
}

func sliceNamed(name string, ips ...string) slice {
	s := sliceOf(ips...)
	s.Name = name
	return s
}

// told waits for addresses, if there are to be any, and for a failure, if there is to be one.
func told(t *testing.T, h *heard, want, parts []string) {
	t.Helper()
	h.hosts(want...)
	if parts == nil {
		eventually(t, "a list", func() bool { return h.listed() > 0 })
		require.Empty(t, h.failures())
		return
	}
	eventually(t, "a failure", func() bool { return len(h.failures()) > 0 })
	for _, part := range parts {
		eventually(t, part, func() bool { return contains(h.failures(), part) }, func() string { return h.last()[0] })
	}
	require.Equal(t, len(want) > 0, h.listed() > 0)
}

func podOf(name, ip string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "fleet", Name: name},
		Spec: corev1.PodSpec{Hostname: name, Subdomain: "nats", Containers: []corev1.Container{{Name: "nats", Ports: []corev1.ContainerPort{
			{Name: "client", ContainerPort: 4222}, {Name: "cluster", ContainerPort: 6222},
		}}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: "True"}, {Type: corev1.PodReady, Status: "True"}}},
	}
}

func hasPods(t testing.TB, pods ...corev1.Pod) http.HandlerFunc {
	data, err := json.Marshal(corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, ListMeta: metav1.ListMeta{ResourceVersion: "7"}, Items: pods})
	require.NoError(t, err)
	return says(200, string(data))
}

// Which pods are listed, and how, with each option.
func TestPodsOfEverySort(t *testing.T) {
	one := func(change func(*corev1.Pod)) []corev1.Pod {
		p := podOf("nats-0", "10.1.0.1")
		change(&p)
		return []corev1.Pod{p, podOf("nats-1", "10.1.0.2")}
	}
	phase := func(phase corev1.PodPhase) []corev1.Pod { return one(func(p *corev1.Pod) { p.Status.Phase = phase }) }
	notReady := one(func(p *corev1.Pod) { p.Status.Conditions = nil })
	both := one(func(p *corev1.Pod) { p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: "2001:db8::7"}) })
	sidecar := one(func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{
			{Name: "init", Ports: []corev1.ContainerPort{{Name: "proxy", ContainerPort: 1}}},
			{Name: "proxy", RestartPolicy: new(corev1.ContainerRestartPolicyAlways), Ports: []corev1.ContainerPort{{Name: "proxy", ContainerPort: 7000}}},
		}
	})
	noHostname := one(func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = "", "" })
	type opts = []kubernetes.Option
	a, b := "10.1.0.1:4222", "10.1.0.2:4222"
	for name, c := range map[string]struct {
		opts opts
		pods []corev1.Pod
		want []string
		told []string
	}{
		"ready":                         {nil, one(func(*corev1.Pod) {}), []string{a, b}, nil},
		"not ready":                     {nil, notReady, []string{b}, nil},
		"not ready, wanted":             {opts{kubernetes.NotReady()}, notReady, []string{a, b}, nil},
		"pending":                       {nil, one(func(p *corev1.Pod) { p.Status = corev1.PodStatus{Phase: corev1.PodPending} }), []string{b}, nil},
		"pending, wanted, no address":   {opts{kubernetes.NotReady()}, one(func(p *corev1.Pod) { p.Status = corev1.PodStatus{Phase: corev1.PodPending} }), []string{b}, nil},
		"failed":                        {nil, phase(corev1.PodFailed), []string{b}, nil},
		"failed is never wanted":        {opts{kubernetes.NotReady()}, phase(corev1.PodFailed), []string{b}, nil},
		"succeeded is never wanted":     {opts{kubernetes.NotReady()}, phase(corev1.PodSucceeded), []string{b}, nil},
		"terminating is never wanted":   {opts{kubernetes.NotReady()}, one(func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Now()} }), []string{b}, nil},
		"ready without an address":      {nil, one(func(p *corev1.Pod) { p.Status.PodIP, p.Status.PodIPs = "", nil }), []string{b}, nil},
		"only the older field":          {nil, one(func(p *corev1.Pod) { p.Status.PodIPs = nil }), []string{a, b}, nil},
		"an address that is none":       {nil, one(func(p *corev1.Pod) { p.Status.PodIPs[0].IP = "nowhere" }), []string{b}, []string{"pod nats-0", "nowhere"}},
		"both families":                 {nil, both, []string{a, b, "[2001:db8::7]:4222"}, nil},
		"IPv6 of both":                  {opts{kubernetes.Family("IPv6")}, both, []string{"[2001:db8::7]:4222"}, nil},
		"no container":                  {nil, one(func(p *corev1.Pod) { p.Spec.Containers = nil }), []string{a, b}, nil},
		"a container without that port": {opts{kubernetes.Port("client")}, one(func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil }), []string{b}, []string{"pod nats-0: it has no port named client"}},
		"the port of a sidecar":         {opts{kubernetes.Port("proxy")}, sidecar, []string{"10.1.0.1:7000"}, []string{"pod nats-1: it has no port named proxy"}},
		"UDP is no port":                {opts{kubernetes.Port("client")}, one(func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].Protocol = "UDP" }), []string{b}, []string{"pod nats-0"}},
		"routes":                        {opts{kubernetes.Discovery(discovery.Routes())}, one(func(*corev1.Pod) {}), []string{"10.1.0.1:6222", "10.1.0.2:6222"}, nil},
		"dns":                           {opts{kubernetes.Hosts(kubernetes.DNS)}, notReady, []string{"10-1-0-2.fleet.pod.cluster.local:4222"}, nil},
		"hostname":                      {opts{kubernetes.Hosts(kubernetes.Hostname)}, notReady, []string{"nats-1.nats.fleet.svc.cluster.local:4222"}, nil},
		"hostname, another service":     {opts{kubernetes.Hosts(kubernetes.Hostname), kubernetes.ServiceName("other")}, notReady, []string{"nats-1.other.fleet.svc.cluster.local:4222"}, nil},
		"hostname of one without":       {opts{kubernetes.Hosts(kubernetes.Hostname)}, noHostname, []string{"nats-1.nats.fleet.svc.cluster.local:4222"}, []string{"pod nats-0", "kubernetes.ServiceName"}},
		"hostname of one, with service": {opts{kubernetes.Hosts(kubernetes.Hostname), kubernetes.ServiceName("nats")}, noHostname, []string{"10-1-0-1.nats.fleet.svc.cluster.local:4222", "nats-1.nats.fleet.svc.cluster.local:4222"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.answer(hasPods(t, c.pods...), nil)
			told(t, follow(t, kubernetes.Pods("app=nats", f.with(c.opts...)...)), c.want, c.told)
		})
	}
}

// What is wrong with an endpoint is told when it comes up, not with each change of another one.
func TestAProblemIsToldOnce(t *testing.T) {
	f := newFake(t)
	bad := sliceNamed("nats-b", "nowhere")
	f.answer(has(t, sliceOf("10.1.0.1"), bad), says(403, "no watch"))
	h := follow(t, kubernetes.Service("nats", f.with()...))
	h.failure(discovery.ReasonMalformed, "nowhere")
	f.answer(has(t, sliceOf("10.1.0.2"), bad), nil)
	h.hosts("10.1.0.2:4222")
	before := f.count("list")
	eventually(t, "more lists", func() bool { return f.count("list") > before+10 })
	require.Len(t, h.failures(), 2, h.last()) // the other one is that it may not watch
}

func TestTenThousandEndpoints(t *testing.T) {
	f := newFake(t)
	var all []slice
	for i := range 100 {
		s := sliceNamed("nats-" + string(rune('a'+i/10)) + string(rune('a'+i%10)))
		for j := range 100 {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{"10.1." + itoa(i) + "." + itoa(j+1)}})
		}
		all = append(all, s)
	}
	f.answer(has(t, all...), nil)
	s := discovery.With(kubernetes.Service("nats", f.with(kubernetes.Discovery(discovery.Timeout(10*time.Second)))...))
	h := follow(t, s)
	eventually(t, "a list", func() bool { return len(h.now()) > 0 || len(h.failures()) > 0 })
	eventually(t, "the limit", func() bool { return contains(h.failures(), "too many") }, func() string { return h.last()[0] })
}
