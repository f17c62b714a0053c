package discovery_test

import (
	"testing"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/internal/dnstest"
	"github.com/stretchr/testify/require"
)

func watchSRV(t *testing.T, s *dnstest.Server, name string, more ...discovery.Option) *watched {
	return watch(t, func(seen ...discovery.Option) discovery.Strategy {
		return discovery.SRV(name, append(often(s, more...), seen...)...)
	})
}

func TestSRVListsTargetsAndFollowsThem(t *testing.T) {
	s := dnstest.New(t)
	s.SetSRV("_nats._tcp.example", dnstest.SRV{Target: "NATS-0.example", Port: 4222, Priority: 1, Weight: 5}, dnstest.SRV{Target: "nats-1.example", Port: 4223})
	name := "_nats._tcp.example."
	want := []discovery.Address{{Host: "nats-1.example", Port: 4223}, {Host: "nats-0.example", Port: 4222, Priority: 1, Weight: 5}}
	require.Equal(t, want, once(t, discovery.SRV(name, often(s)...)))
	w := watchSRV(t, s, name, discovery.Scheme("tls"))
	w.eventually("tls://nats-0.example:4222 tls://nats-1.example:4223")
	s.SetSRV(name, dnstest.SRV{Target: "nats-1.example", Port: 4223}, dnstest.SRV{Target: "nats-2.example", Port: 1})
	w.eventually("tls://nats-1.example:4223 tls://nats-2.example:1")
	require.Empty(t, w.warnings())
	w.stop()
	for _, q := range s.Asked() {
		require.Equal(t, dnstest.Question{Name: name, Type: "SRV", Network: "udp"}, q)
	}
}

// The name of a service has a record for each of its ports in Kubernetes, as libcluster asks for it.
func TestSRVOfAServiceWithSeveralPorts(t *testing.T) {
	s := dnstest.New(t)
	name := discovery.ServiceName("", "nats", "default", "")
	var records []dnstest.SRV
	for _, pod := range []string{"nats-0", "nats-1"} {
		for _, port := range []uint16{4222, 6222, 8222} {
			records = append(records, dnstest.SRV{Target: pod + ".nats.default.svc.cluster.local", Port: port, Weight: 16})
		}
	}
	s.SetSRV(name, records...)
	w := watchSRV(t, s, name, discovery.Port(4222))
	w.eventually("nats-0.nats.default.svc.cluster.local:4222 nats-1.nats.default.svc.cluster.local:4222")
	require.Empty(t, w.warnings())
	w = watchSRV(t, s, name)
	require.ErrorContains(t, w.failed(discovery.ReasonMalformed), "is listed with several ports: look up the name of one, as ServiceName makes it, or say which by Port")
	require.Empty(t, w.now())
	name = discovery.ServiceName("nats", "nats", "default", "")
	s.SetSRV(name, dnstest.SRV{Target: "host.example", Port: 4222}, dnstest.SRV{Target: "host.example", Port: 4223})
	watchSRV(t, s, name).eventually("host.example:4222 host.example:4223")
}

func TestRecordsOfSRVThatCannotBeUsed(t *testing.T) {
	s := dnstest.New(t)
	name := "_nats._tcp.example."
	good := dnstest.SRV{Target: "nats-0.example", Port: 4222}
	s.SetSRV(name, good, dnstest.SRV{Target: "nats-1.example", Port: 4222})
	w := watchSRV(t, s, name)
	w.eventually("nats-0.example:4222 nats-1.example:4222")
	s.SetSRV(name, dnstest.SRV{Target: ""})
	require.ErrorContains(t, w.failed(discovery.ReasonEmpty), `the zone says that there is no such service: its target is "."`)
	s.SetSRV(name, good, dnstest.SRV{Target: "nats-1.example", Port: 0}, dnstest.SRV{Target: ""})
	require.ErrorContains(t, w.failed(discovery.ReasonMalformed), `2 of 3 cannot be used`)
	w.eventually("nats-0.example:4222")
	s.SetSRV(name, dnstest.SRV{Target: "nats-1.example", Port: 0})
	w.until(func() bool { return len(w.warnings()) == 3 }, "not told")
	require.Contains(t, w.warnings()[2], `port 0`)
	w.stands("nats-0.example:4222")
	s.SetSRV(name, dnstest.SRV{Target: "nats-1.example", Port: 0}, dnstest.SRV{Target: `not\ a\ name.example`, Port: 4222}, dnstest.SRV{Target: "nats-9.example", Port: 9})
	w.eventually("nats-0.example:4222 nats-9.example:9")
	s.SetSRV(name, good)
	w.eventually("nats-0.example:4222")
	wrong(t, discovery.SRV("_nats._tcp.example:4222"), "has a port: give the name alone: its records have ports")
	wrong(t, discovery.SRV("", discovery.IPv4Only()), "the name is empty", "does not take IPv4Only")
}

func TestServiceName(t *testing.T) {
	t.Setenv("CLUSTER_DOMAIN", "")
	for _, test := range []struct{ port, service, namespace, domain, env, want string }{
		{"nats", "nats", "default", "", "", "_nats._tcp.nats.default.svc.cluster.local."},
		{"", "nats", "default", "", "", "nats.default.svc.cluster.local."},
		{"nats", "nats", "default", "k8s.example", "cluster.local.", "_nats._tcp.nats.default.svc.k8s.example."},
		{"nats", "nats", "default", "", ".k8s.example.", "_nats._tcp.nats.default.svc.k8s.example."},
		{"nats", "nats", "default", "..k8s.example..", "", "_nats._tcp.nats.default.svc.k8s.example."},
		{"nats", "nats", "default", ".", "", "_nats._tcp.nats.default.svc.cluster.local."},
		{"svc", "cluster", "local", "cluster.local", "", "_svc._tcp.cluster.local.svc.cluster.local."},
		{"", "nats-k8s", "k8s", "k8s", "", "nats-k8s.k8s.svc.k8s."},
	} {
		t.Setenv("CLUSTER_DOMAIN", test.env)
		name := discovery.ServiceName(test.port, test.service, test.namespace, test.domain)
		require.Equal(t, test.want, name)
		require.NoError(t, discovery.SRV(name).(interface{ Err() error }).Err())
	}
	wrong(t, discovery.SRV(discovery.ServiceName("nats", "nats", "", "")), "is no name")
	wrong(t, discovery.DNS(discovery.ServiceName("", "", "default", "")), "is no name")
}
