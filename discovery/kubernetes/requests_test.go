//go:build kubetest

package kubernetes_test

import (
	"net/http"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
)

// requests are those that a client made, and what it got.
type requests struct {
	mu   sync.Mutex
	all  []request
	pass func(*http.Request, func(*http.Request) (*http.Response, error)) (*http.Response, error)
}

type request struct {
	verb  string // list or watch
	query string
	code  int // 0: no answer
}

// seen returns a configuration whose requests are recorded.
func (r *requests) seen(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			do := next.RoundTrip
			if r.pass != nil {
				do = func(req *http.Request) (*http.Response, error) { return r.pass(req, next.RoundTrip) }
			}
			resp, err := do(req)
			q := request{verb: "list", query: req.URL.RawQuery}
			if strings.Contains(q.query, "watch=true") {
				q.verb = "watch"
			}
			if err == nil {
				q.code = resp.StatusCode
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.all = append(r.all, q)
			return resp, err
		})
	})
	return config
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// count counts requests of a verb that got the code.
func (r *requests) count(verb string, code int) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.all {
		if q.verb == verb && q.code == code {
			n++
		}
	}
	return n
}
