package kubernetes_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/discoverytest"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// board has slices that change, and lists and watches as they are to be.
type board struct {
	f *fake

	mu      sync.Mutex
	version int
	slice   slice
	broken  bool
	changed chan struct{}
}

func newBoard(t testing.TB) *board {
	b := &board{f: newFake(t), version: 7, changed: make(chan struct{}), slice: sliceOf()}
	b.well()
	return b
}

func (b *board) well() { b.f.answer(b.list, b.watch) }

func (b *board) now() (s slice, version int, broken bool, changed chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.slice, b.version, b.broken, b.changed
}

func (b *board) set(addresses []discovery.Address) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := sliceOf()
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a.Host}})
	}
	b.version++
	s.ResourceVersion = fmt.Sprint(b.version)
	b.slice, b.broken = s, false
	b.wake()
	b.well()
}

func (b *board) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// end ends all watches, as a restart does. One whose connection is just being made may be missed.
func (b *board) end() { b.f.server.CloseClientConnections() }

// fail ends all watches, also those that begin as they did before, until the next set.
func (b *board) fail() {
	b.mu.Lock()
	b.broken = true
	b.wake()
	b.mu.Unlock()
	b.end()
}

func (b *board) list(w http.ResponseWriter, r *http.Request) {
	s, _, _, _ := b.now()
	has(b.f.t, s)(w, r)
}

// watch tells each change. A real server tells what has changed after a version; here that of the list is always 7, and all comes at once.
func (b *board) watch(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	told := 0
	for {
		s, version, broken, changed := b.now()
		if broken {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		if version != told {
			told = version
			io.WriteString(w, event(b.f.t, "MODIFIED", s)+"\n")
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// The strategy does what the contract of strategies asks, whether it watches or lists, whatever goes wrong.
func TestConformance(t *testing.T) {
	for name, opts := range map[string][]kubernetes.Option{"watch": nil, "lists only": {kubernetes.ListsOnly()}} {
		t.Run(name, func(t *testing.T) {
			discoverytest.Run(t, discoverytest.Subject{
				New: func(tb testing.TB) discoverytest.Source {
					b := newBoard(tb)
					s := b.source(opts)
					if name != "watch" {
						delete(s.Nuisances, "it may not watch")
					}
					return s
				},
				Cannot:  discoverytest.Part, // a list of the API server is whole or none
				Secrets: []string{"very-secret-token"},
			})
		})
	}
}

func (b *board) source(opts []kubernetes.Option) discoverytest.Source {
	b.f.file("token", "very-secret-token")
	fails := func(answer http.HandlerFunc) func() {
		return func() {
			b.f.answer(answer, answer)
			b.fail()
		}
	}
	says := func(code int, body string) func() { return fails(says(code, body)) }
	file := func(name string, change func(path string)) func() {
		return func() {
			change(filepath.Join(b.f.account, name))
			b.fail()
		}
	}
	set := func(addresses []discovery.Address) {
		b.f.file("token", "very-secret-token")
		b.set(addresses)
	}
	return discoverytest.Source{
		Strategy: kubernetes.Service("nats", b.f.with(opts...)...),
		Set:      set,
		Failures: map[string]func(){
			"401":           says(401, status(401, "Unauthorized", "Unauthorized")),
			"403":           says(403, status(403, "Forbidden", `User "system:serviceaccount:fleet:bus" cannot list`)),
			"404":           says(404, "404 page not found"),
			"410":           says(410, status(410, "Expired", "too old")),
			"429":           says(429, "later"),
			"500":           says(500, "oops"),
			"no JSON":       says(200, "<html>"),
			"another kind":  says(200, `{"kind":"PodList","apiVersion":"v1","items":[]}`),
			"nothing":       says(200, ""),
			"it hangs":      fails(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
			"it hangs up":   fails(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
			"no token":      file("token", func(path string) { require.NoError(b.f.t, os.Remove(path)) }),
			"half a token":  file("token", func(path string) { require.NoError(b.f.t, os.WriteFile(path, []byte("very\nsecret"), 0o600)) }),
			"no permission": says(403, "no"),
		},
		Nuisances: map[string]func(){
			"it restarts": b.end,
			"it is slow": func() {
				b.f.answer(func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(100 * time.Millisecond) // the nuisance itself
					b.list(w, r)
				}, nil)
				b.end()
			},
			"it may not watch": func() {
				b.f.answer(nil, func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(403)
					io.WriteString(w, status(403, "Forbidden", "no"))
				})
				b.end()
			},
			"its watches end at once": func() {
				b.f.answer(nil, events(true))
				b.end()
			},
			"what it tells is forgotten": func() {
				b.f.answer(nil, events(true, `{"type":"ERROR","object":`+status(410, "Expired", "too old")+`}`))
				b.end()
			},
			"the token is replaced": func() { b.f.file("token", "very-secret-token"+strings.Repeat("!", 10)) },
		},
	}
}
