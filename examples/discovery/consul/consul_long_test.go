//go:build long

package consul_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/discoverytest"
)

func TestConsulDoesWhatAStrategyShould(t *testing.T) {
	discoverytest.Run(t, discoverytest.Subject{
		Many:    1000,
		Cannot:  discoverytest.Part, // Consul's lists are whole
		Secrets: []string{"secret"},
		Address: func(i int) discovery.Address {
			return discovery.Address{Host: "10.0." + strconv.Itoa(i/250) + "." + strconv.Itoa(i%250), Port: 4222, Server: "nats-" + strconv.Itoa(i), Cluster: "dc1"}
		},
		New: func(tb testing.TB) discoverytest.Source {
			a := newAgent(tb)
			index := uint64(7)
			become := func(bad http.HandlerFunc, list ...discovery.Address) {
				index++
				a.set(index, bad, list...)
			}
			return discoverytest.Source{
				Strategy: a.strategy("secret"),
				Set:      func(list []discovery.Address) { become(nil, list...) },
				Failures: map[string]func(){
					"403": func() { become(refuse(403)) }, "500": func() { become(refuse(500)) }, "hangs": func() { become(hang) }, "a page": func() { become(page) },
				},
				Nuisances: map[string]func(){"was set back": func() { index = 2 }},
			}
		},
	})
}
