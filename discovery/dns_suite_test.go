//go:build long

package discovery_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/discoverytest"
	"github.com/rolebus/rolebus/internal/dnstest"
	"github.com/stretchr/testify/require"
)

// dnsFailures are all failures of a DNS server that leave nothing of an answer.
func dnsFailures(s *dnstest.Server) map[string]func() {
	failures := map[string]func(){"dead": s.Stop, "too late": func() { s.Delay(time.Minute) }}
	for name, how := range map[string]dnstest.How{
		"NXDOMAIN": dnstest.NXDomain, "NODATA": dnstest.NoData, "SERVFAIL": dnstest.ServFail, "REFUSED": dnstest.Refused, "NOTIMP": dnstest.NotImpl,
		"silent": dnstest.Silent, "garbage": dnstest.Garbage, "bad records": dnstest.BadRecords, "wrong id": dnstest.WrongID,
		"wrong name": dnstest.WrongName, "no TCP": dnstest.NoTCP, "no recursion": dnstest.NoRecursion,
	} {
		failures[name] = func() { s.Fail("", how) }
	}
	return failures
}

func dnsNuisances(s *dnstest.Server) map[string]func() {
	return map[string]func(){
		"slow":      func() { s.Delay(20 * time.Millisecond) },
		"truncated": func() { s.Fail("", dnstest.Truncated) },
		"restart":   func() { s.Stop(); s.Start() },
	}
}

func TestDNSDoesAsStrategiesShould(t *testing.T) {
	const name = "nats.example."
	texts := func(addresses []discovery.Address) (all []string) {
		for _, a := range addresses {
			all = append(all, a.Host)
		}
		return all
	}
	discoverytest.Run(t, discoverytest.Subject{
		New: func(tb testing.TB) discoverytest.Source {
			s := dnstest.New(tb)
			s.Set(name)
			return discoverytest.Source{
				Strategy: discovery.DNS(name, often(s, discovery.Timeout(300*time.Millisecond))...),
				Set: func(addresses []discovery.Address) {
					s.Set(name, texts(addresses)...)
					working(s)
				},
				Part: func(addresses []discovery.Address) {
					s.Fail("", dnstest.Cut)
					all := texts(addresses)
					for i := range addresses { // of which the answer lacks half
						all = append(all, fmt.Sprintf("10.9.9.%d", i+1))
					}
					s.Set(name, all...)
				},
				Failures:  dnsFailures(s),
				Nuisances: dnsNuisances(s),
			}
		},
		Address: func(i int) discovery.Address {
			return discovery.Address{Host: fmt.Sprintf("10.0.%d.%d", i>>8, i&255), TLSName: "nats.example"}
		},
		Many: 2000,
	})
}

func TestSRVDoesAsStrategiesShould(t *testing.T) {
	const name = "_nats._tcp.example."
	records := func(addresses []discovery.Address) (all []dnstest.SRV) {
		for _, a := range addresses {
			all = append(all, dnstest.SRV{Target: a.Host, Port: uint16(a.Port), Priority: a.Priority, Weight: a.Weight})
		}
		return all
	}
	address := func(i int) discovery.Address {
		return discovery.Address{Host: fmt.Sprintf("nats-%d.example", i), Port: 4222 + i%2, Priority: uint16(i % 3), Weight: uint16(i)}
	}
	discoverytest.Run(t, discoverytest.Subject{
		New: func(tb testing.TB) discoverytest.Source {
			s := dnstest.New(tb)
			s.Set(name)
			failures := dnsFailures(s)
			failures["not available"] = func() { s.SetSRV(name, dnstest.SRV{}) }
			failures["port 0"] = func() { s.SetSRV(name, dnstest.SRV{Target: "nats-0.example"}) }
			return discoverytest.Source{
				Strategy: discovery.SRV(name, often(s, discovery.Timeout(300*time.Millisecond))...),
				Set: func(addresses []discovery.Address) {
					s.SetSRV(name, records(addresses)...)
					working(s)
				},
				Part: func(addresses []discovery.Address) {
					s.Fail("", dnstest.Cut)
					all := records(addresses)
					for i := range addresses {
						all = append(all, dnstest.SRV{Target: fmt.Sprintf("other-%d.example", i), Port: 1})
					}
					s.SetSRV(name, all...)
				},
				Failures:  failures,
				Nuisances: dnsNuisances(s),
			}
		},
		Address: address,
		Many:    1500,
	})
}

func TestEnvDoesAsStrategiesShould(t *testing.T) {
	var variables atomic.Int64
	discoverytest.Run(t, discoverytest.Subject{
		New: func(tb testing.TB) discoverytest.Source {
			name := fmt.Sprintf("ROLEBUS_TEST_SERVERS_%d", variables.Add(1))
			set := func(value string) { require.NoError(tb, os.Setenv(name, value)) }
			tb.Cleanup(func() { _ = os.Unsetenv(name) })
			return discoverytest.Source{
				Strategy: discovery.Env(name, discovery.Interval(20*time.Millisecond)),
				Set: func(addresses []discovery.Address) {
					var all []string
					for _, a := range addresses {
						all = append(all, a.HostPort())
					}
					set(strings.Join(all, ","))
				},
				Failures: map[string]func(){
					"unset":    func() { _ = os.Unsetenv(name) },
					"password": func() { set("nats://user:secret@10.0.0.1") },
					"garbage":  func() { set("http://x") },
				},
			}
		},
		Cannot:  discoverytest.Part,
		Secrets: []string{"secret"},
	})
}
