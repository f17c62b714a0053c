package kubernetes_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fake is what answers in the place of an API server, to do what a real one does not.
type fake struct {
	t       testing.TB
	server  *httptest.Server
	account string // directory of a service account

	mu     sync.Mutex
	list   http.HandlerFunc
	watch  http.HandlerFunc
	tokens []string // that came, in order
	asked  map[string]int
	open   map[net.Conn]bool // connections of clients
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{t: t, account: t.TempDir(), asked: map[string]int{}, open: map[net.Conn]bool{}}
	f.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		verb, answer := "list", f.list
		if r.URL.Query().Get("watch") == "true" {
			verb, answer = "watch", f.watch
		}
		f.asked[verb]++
		f.tokens = append(f.tokens, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		f.mu.Unlock()
		answer(w, r)
	}))
	f.server.EnableHTTP2 = true
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that do not trust it
	f.server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if state == http.StateClosed || state == http.StateHijacked {
			delete(f.open, c)
		} else {
			f.open[c] = true
		}
	}
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	t.Cleanup(f.server.CloseClientConnections)
	f.file("token", "first")
	f.file("namespace", "fleet")
	f.file("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw})))
	f.answer(lists(f.t, "10.1.0.1"), quiet)
	return f
}

// file writes a file of the service account.
func (f *fake) file(name, text string) {
	f.t.Helper()
	require.NoError(f.t, os.WriteFile(filepath.Join(f.account, name), []byte(text), 0o600))
}

// answer says what lists and watches get from now on; nil leaves it as it is.
func (f *fake) answer(list, watch http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if list != nil {
		f.list = list
	}
	if watch != nil {
		f.watch = watch
	}
}

func (f *fake) count(verb string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[verb]
}

// clients counts connections of clients.
func (f *fake) clients() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.open)
}

func (f *fake) lastToken() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tokens[len(f.tokens)-1]
}

// with is the options of a pod of that cluster, quick enough for a test.
func (f *fake) with(opts ...kubernetes.Option) []kubernetes.Option {
	return append([]kubernetes.Option{
		kubernetes.ServiceAccount(f.account), kubernetes.Master(f.server.URL),
		kubernetes.Discovery(discovery.Interval(20*time.Millisecond), discovery.MaxBackoff(50*time.Millisecond), discovery.Timeout(500*time.Millisecond)),
	}, opts...)
}

// says answers with a code and a body.
func says(code int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// status answers as an API server does that says no.
func status(code int, reason metav1.StatusReason, message string) string {
	data, _ := json.Marshal(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code), Reason: reason, Message: message})
	return string(data)
}

// lists answers with one slice of a service whose endpoints are ready.
func lists(t testing.TB, ips ...string) http.HandlerFunc { return has(t, sliceOf(ips...)) }

func sliceOf(ips ...string) discoveryv1.EndpointSlice {
	s := discoveryv1.EndpointSlice{
		TypeMeta:    metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta:  metav1.ObjectMeta{Namespace: "fleet", Name: "nats-a", ResourceVersion: "7", Labels: map[string]string{discoveryv1.LabelServiceName: "nats"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("nats"), Port: new(int32(4222))}},
	}
	for _, ip := range ips {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{ip}})
	}
	return s
}

// has answers with a list of slices.
func has(t testing.TB, slices ...discoveryv1.EndpointSlice) http.HandlerFunc {
	data, err := json.Marshal(discoveryv1.EndpointSliceList{
		TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSliceList"}, ListMeta: metav1.ListMeta{ResourceVersion: "7"}, Items: slices,
	})
	require.NoError(t, err)
	return says(200, string(data))
}

// quiet answers a watch, and has nothing to tell.
func quiet(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// events answers a watch with what follows each other, and then ends it if it is told to.
func events(end bool, lines ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for _, line := range lines {
			io.WriteString(w, line+"\n")
		}
		w.(http.Flusher).Flush()
		if !end {
			<-r.Context().Done()
		}
	}
}

func event(t testing.TB, kind string, object any) string {
	data, err := json.Marshal(object)
	require.NoError(t, err)
	return fmt.Sprintf(`{"type":%q,"object":%s}`, kind, data)
}
