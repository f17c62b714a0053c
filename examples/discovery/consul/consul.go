// Package consul finds NATS servers that are a service in Consul: a strategy of one's own that learns by itself when something changes.
// It needs no library of Consul's: its HTTP API answers a request that names an index when that has moved on ("blocking query").
package consul

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/rolebus/rolebus/discovery"
)

// entry is what is needed of what Consul says of one server.
type entry struct {
	Node    struct{ Address, Datacenter string }
	Service struct {
		ID, Address string
		Port        int
	}
}

// New finds the servers of a service of which all checks pass, by the agent's HTTP API, such as "http://127.0.0.1:8500". token may be "".
// A request waits for a change for as long as [discovery.Interval] says, and may take [discovery.Timeout] longer.
func New(agent, service, token string, opts ...discovery.Option) discovery.Strategy {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // nothing is left at the end
	header := http.Header{}
	if token != "" {
		header.Set("X-Consul-Token", token) // in the URL it would be in every log
	}
	from := agent + "/v1/health/service/" + url.PathEscape(service)
	return discovery.Watch("Consul "+service, func(ctx context.Context, w *discovery.Watching) error {
		var index uint64
		for fails := 0; ctx.Err() == nil; {
			began := time.Now()
			ask := fmt.Sprintf("%s?passing&index=%d&wait=%s", from, index, w.Interval())
			within, cancel := context.WithTimeout(ctx, w.Interval()*17/16+w.Timeout()) // Consul waits a sixteenth longer, by chance
			var entries []entry
			answer, err := discovery.GetJSON(within, client, ask, header, &entries)
			cancel()
			w.LookedUp(time.Since(began), len(entries), err)
			if err != nil {
				index = 0 // the next answer must come at once, and be whole
				fails++
				w.Fail(err)
				pause(ctx, w.Backoff(fails))
				continue
			}
			fails = 0
			w.List(addresses(entries))
			next, _ := strconv.ParseUint(answer.Get("X-Consul-Index"), 10, 64)
			if next < index {
				next = 0 // Consul was set back: ask anew
			}
			index = next
			pause(ctx, min(w.Interval(), 100*time.Millisecond)) // however often it changes, and if there is no index
		}
		return ctx.Err()
	}, opts...)
}

func addresses(entries []entry) (list []discovery.Address) {
	for _, e := range entries {
		host := cmp.Or(e.Service.Address, e.Node.Address)
		list = append(list, discovery.Address{Host: host, Port: e.Service.Port, Server: e.Service.ID, Cluster: e.Node.Datacenter})
	}
	return list
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
