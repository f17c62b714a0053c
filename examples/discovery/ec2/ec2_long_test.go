//go:build long

package ec2_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/discoverytest"
)

func TestEC2DoesWhatAStrategyShould(t *testing.T) {
	discoverytest.Run(t, discoverytest.Subject{
		Many:    1500,
		Secrets: []string{"very secret", "session"},
		Address: func(i int) discovery.Address { return discovery.Address{Host: fmt.Sprintf("10.0.%d.%d", i/250, i%250)} },
		New: func(tb testing.TB) discoverytest.Source {
			c := newCloud(tb)
			become := func(fail int, list []discovery.Address) {
				var ips []string
				for _, a := range list {
					ips = append(ips, a.Host)
				}
				c.set(nil, fail, ips...)
			}
			return discoverytest.Source{
				Strategy: c.strategy(somebody),
				Set:      func(list []discovery.Address) { become(0, list) },
				Part:     func(list []discovery.Address) { become(2, list) },
				Failures: map[string]func(){
					"no right":  func() { c.set(refuse(403, "UnauthorizedOperation"), 0) },
					"too often": func() { c.set(refuse(503, "RequestLimitExceeded"), 0) },
					"garbage":   func() { c.set(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }, 0) },
					"hangs":     func() { c.set(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 0) },
				},
			}
		},
	})
}
