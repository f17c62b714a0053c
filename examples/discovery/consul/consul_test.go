package consul_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/examples/discovery/consul"
	"github.com/stretchr/testify/require"
)

// agent answers as Consul's does: at once, or if the request names the index, when that has moved on, or the time is over.
type agent struct {
	*httptest.Server
	mu      sync.Mutex
	index   uint64
	entries []map[string]any
	bad     http.HandlerFunc
	changed chan struct{}
	asked   int
	blocked int // that named an index
}

func newAgent(tb testing.TB) *agent {
	a := &agent{index: 7, entries: []map[string]any{}, changed: make(chan struct{})}
	a.Server = httptest.NewServer(a)
	tb.Cleanup(a.Close)
	tb.Cleanup(a.CloseClientConnections)
	return a
}

func (a *agent) set(index uint64, bad http.HandlerFunc, addresses ...discovery.Address) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index, a.bad, a.entries = index, bad, []map[string]any{}
	for i, each := range addresses {
		service := map[string]any{"ID": each.Server, "Address": each.Host, "Port": each.Port}
		node := map[string]any{"Address": "6.6.6.6", "Datacenter": each.Cluster}
		if i == 0 { // as that of a service without an address of its own
			service["Address"], node["Address"] = "", each.Host
		}
		a.entries = append(a.entries, map[string]any{"Node": node, "Service": service, "Checks": []any{}})
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	index, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	wait, err := time.ParseDuration(q.Get("wait"))
	if _, passing := q["passing"]; err != nil || !passing || r.URL.Path != "/v1/health/service/nats" || q.Has("token") {
		http.Error(w, "that is not what was to be asked", http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	a.asked++
	if index != 0 {
		a.blocked++
	}
	changed, same := a.changed, a.index == index && a.bad == nil
	a.mu.Unlock()
	if same {
		select {
		case <-changed:
		case <-time.After(wait):
		case <-r.Context().Done():
		}
	}
	a.mu.Lock()
	bad, index, text := a.bad, a.index, must(json.Marshal(a.entries))
	a.mu.Unlock()
	if r.Header.Get("X-Consul-Token") != "secret" {
		bad = refuse(http.StatusForbidden)
	}
	if bad != nil {
		bad(w, r)
		return
	}
	w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
	_, _ = w.Write(text)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func refuse(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func page(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }

func (a *agent) strategy(token string) discovery.Strategy {
	return consul.New(a.URL, "nats", token, discovery.Interval(20*time.Millisecond), discovery.Timeout(time.Second), discovery.MaxBackoff(50*time.Millisecond))
}

// What changes is learnt by the request that waits for it, and not by asking often.
func TestConsulIsAskedOnceForAChange(t *testing.T) {
	a := newAgent(t)
	a.set(8, nil, discovery.Address{Host: "10.0.0.1", Port: 4222})
	found := make(chan []discovery.Address, 10)
	s := consul.New(a.URL, "nats", "secret", discovery.Interval(time.Minute))
	go func() { _ = s.Discover(t.Context(), func(list []discovery.Address, _ error) { found <- list }) }()
	require.Equal(t, "10.0.0.1", (<-found)[0].Host)
	require.Eventually(t, func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.blocked == 1 }, 20*time.Second, time.Millisecond)
	a.set(9, nil, discovery.Address{Host: "10.0.0.2", Port: 4222})
	require.Equal(t, "10.0.0.2", (<-found)[0].Host)
	a.mu.Lock()
	defer a.mu.Unlock()
	require.LessOrEqual(t, a.asked, 3)
}

func TestATokenWithoutTheRightIsTold(t *testing.T) {
	a := newAgent(t)
	errs := make(chan error, 100)
	go func() {
		_ = a.strategy("").Discover(t.Context(), func(_ []discovery.Address, err error) { errs <- err })
	}()
	err := <-errs
	require.ErrorContains(t, err, "GET "+a.URL+"/v1/health/service/nats: status 403 Forbidden (the credentials do not give the right to it)")
	require.Equal(t, discovery.ReasonForbidden, discovery.ReasonOf(err))
}
