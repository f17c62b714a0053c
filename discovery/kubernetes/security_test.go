package kubernetes_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/discovery/kubernetes"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

// A token goes to nobody who is not known to be the API server: each of these told what to do, and nothing was sent.
func TestATokenIsSentToTheAPIServerAlone(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, f *fake)
		reason discovery.Reason
		parts  []string
	}{
		"no certificate authority": {func(t *testing.T, f *fake) { require.NoError(t, os.Remove(filepath.Join(f.account, "ca.crt"))) },
			discovery.ReasonNotFound, []string{"ca.crt", "no token is sent", "automountServiceAccountToken", "kubernetes.Config"}},
		"an empty file":  {func(t *testing.T, f *fake) { f.file("ca.crt", "") }, discovery.ReasonMalformed, []string{"ca.crt", "no certificate"}},
		"no certificate": {func(t *testing.T, f *fake) { f.file("ca.crt", "hello") }, discovery.ReasonMalformed, []string{"ca.crt", "no certificate"}},
		"another certificate authority": {func(t *testing.T, f *fake) { f.file("ca.crt", string(otherCA(t))) },
			discovery.ReasonOther, []string{"is ca.crt that of this cluster"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			right, err := os.ReadFile(filepath.Join(f.account, "ca.crt"))
			require.NoError(t, err)
			c.change(t, f)
			h := follow(t, kubernetes.Service("nats", f.with()...))
			h.failure(c.reason, c.parts...)
			require.Zero(t, f.count("list"))
			f.file("ca.crt", string(right)) // and it is read again
			h.hosts("10.1.0.1:4222")
			require.Equal(t, "first", f.lastToken())
		})
	}
	t.Run("a redirect", func(t *testing.T) {
		came := make(chan string, 100)
		stranger := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { came <- r.Header.Get("Authorization") }))
		defer stranger.Close()
		for _, config := range []bool{false, true} {
			f := newFake(t)
			f.answer(says(307, "", "Location", stranger.URL), nil)
			opts := f.with()
			if config {
				opts = append(opts[2:], kubernetes.Namespace("fleet"), kubernetes.Config(&rest.Config{Host: f.server.URL, BearerToken: "secret",
					TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(f.account, "ca.crt")}}))
			}
			h := follow(t, kubernetes.Service("nats", opts...))
			h.failure(discovery.ReasonOther, "redirects")
			require.Empty(t, came)
		}
	})
}

// A server whose certificate is of another host than Master says gets no token.
func TestTheCertificateMustNameTheHost(t *testing.T) {
	f := newFake(t)
	_, port, err := net.SplitHostPort(f.server.Listener.Addr().String())
	require.NoError(t, err)
	// The certificate of the test is for 127.0.0.1 and example.com, not for this.
	h := follow(t, kubernetes.Service("nats", f.with(kubernetes.Master("localhost:"+port))...))
	h.failure(discovery.ReasonOther, "localhost", "kubernetes.Master")
	require.Zero(t, f.count("list"))
}

func otherCA(t *testing.T) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "other"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestTokensOfFiles(t *testing.T) {
	t.Run("each request has the newest", func(t *testing.T) {
		f := newFake(t)
		f.answer(nil, says(403, "no watch"))
		h := follow(t, kubernetes.Service("nats", f.with()...))
		h.hosts("10.1.0.1:4222")
		f.file("token", "second\n")
		eventually(t, "the new token", func() bool { return f.lastToken() == "second" })
	})
	t.Run("one that was replaced meanwhile is no failure", func(t *testing.T) {
		f := newFake(t)
		f.answer(func(w http.ResponseWriter, r *http.Request) {
			if f.lastToken() == "first" {
				f.file("token", "second")
				says(401, status(401, "Unauthorized", "Unauthorized"))(w, r)
				return
			}
			lists(t, "10.1.0.1")(w, r)
		}, nil)
		h := follow(t, kubernetes.Service("nats", f.with()...))
		h.hosts("10.1.0.1:4222")
		require.Empty(t, h.failures())
	})
	t.Run("that of a configuration, too", func(t *testing.T) {
		f := newFake(t)
		f.answer(nil, says(403, "no watch"))
		h := follow(t, kubernetes.Service("nats", append(f.with()[2:], kubernetes.Namespace("fleet"), kubernetes.Config(&rest.Config{
			Host: f.server.URL, BearerToken: "old", BearerTokenFile: filepath.Join(f.account, "token"),
			TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(f.account, "ca.crt")},
		}))...))
		h.hosts("10.1.0.1:4222")
		require.Equal(t, "first", f.lastToken())
		f.file("token", "second")
		eventually(t, "the new token", func() bool { return f.lastToken() == "second" })
	})
	for name, c := range map[string]struct {
		text   string
		reason discovery.Reason
	}{"missing": {"", discovery.ReasonNotFound}, "empty": {" \n", discovery.ReasonEmpty}, "two lines": {"a\nb", discovery.ReasonMalformed}} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.answer(nil, says(403, "no watch"))
			h := follow(t, kubernetes.Service("nats", f.with()...))
			h.hosts("10.1.0.1:4222")
			if c.text == "" {
				require.NoError(t, os.Remove(filepath.Join(f.account, "token")))
			} else {
				f.file("token", c.text)
			}
			h.failure(c.reason, "the service account's token", "automountServiceAccountToken")
			require.Equal(t, []string{"10.1.0.1:4222"}, h.now())
			f.file("token", "third")
			f.answer(lists(t, "10.1.0.2"), nil)
			h.hosts("10.1.0.2:4222")
			require.Equal(t, "third", f.lastToken())
		})
	}
}

func TestOutsideOfAPod(t *testing.T) {
	f := newFake(t)
	require.NoError(t, os.Remove(filepath.Join(f.account, "namespace")))
	h := follow(t, kubernetes.Service("nats", f.with()...))
	h.failure(discovery.ReasonNotFound, "the namespace", "give kubernetes.Namespace")
	f.file("namespace", "other")
	h.hosts("10.1.0.1:4222")

	h = follow(t, kubernetes.Service("nats", kubernetes.ServiceAccount(filepath.Join(f.account, "none"))))
	h.failure(discovery.ReasonNotFound, "none/ca.crt", "kubernetes.Config outside of a pod")
}

// The API server is where the environment of a pod says.
func TestWhereTheAPIServerIs(t *testing.T) {
	f := newFake(t)
	host, port, err := net.SplitHostPort(f.server.Listener.Addr().String())
	require.NoError(t, err)
	opts := []kubernetes.Option{kubernetes.ServiceAccount(f.account), kubernetes.Discovery(discovery.Interval(20 * time.Millisecond))}
	t.Setenv("KUBERNETES_SERVICE_HOST", host)
	t.Setenv("KUBERNETES_SERVICE_PORT", port)
	follow(t, kubernetes.Service("nats", opts...)).hosts("10.1.0.1:4222")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	follow(t, kubernetes.Service("nats", opts...)).failure(discovery.ReasonOther, "kubernetes.default.svc")
	follow(t, kubernetes.Service("nats", append(opts, kubernetes.Master(net.JoinHostPort(host, port)))...)).hosts("10.1.0.1:4222")
}

func TestWrongOptions(t *testing.T) {
	secret := func(c rest.Config) kubernetes.Option { return kubernetes.Config(&c) }
	insecure := rest.TLSClientConfig{Insecure: true}
	for text, s := range map[string]discovery.Strategy{
		`service "Nats"`:                 kubernetes.Service("Nats"),
		`service ""`:                     kubernetes.Service(""),
		"the selector is empty":          kubernetes.Pods(" "),
		`selector "a in"`:                kubernetes.Endpoints("a in"),
		`Namespace "a/b"`:                kubernetes.Service("nats", kubernetes.Namespace("a/b")),
		`ServiceName "a.b"`:              kubernetes.Pods("a", kubernetes.ServiceName("a.b")),
		`Port 0: 1 to 65535, or a name`:  kubernetes.Service("nats", kubernetes.Port("0")),
		`Port 65536`:                     kubernetes.Service("nats", kubernetes.Port("65536")),
		`Port "": neither a number`:      kubernetes.Service("nats", kubernetes.Port("")),
		`Hosts "name": ip, dns`:          kubernetes.Service("nats", kubernetes.Hosts("name")),
		`cluster domain "a b"`:           kubernetes.Service("nats", kubernetes.ClusterDomain("a b")),
		`Family "ip4": IPv4 or IPv6`:     kubernetes.Service("nats", kubernetes.Family("ip4")),
		"Config: it is nil":              kubernetes.Service("nats", kubernetes.Config(nil)),
		`service "nats.messaging": `:     kubernetes.Service("nats.messaging"),
		`by kubernetes.Namespace`:        kubernetes.Service("nats.messaging"),
		`Master "a:99999": its port`:     kubernetes.Service("nats", kubernetes.Master("a:99999")),
		`Master "a:0": its port`:         kubernetes.Service("nats", kubernetes.Master("a:0")),
		`Master "a:": its port`:          kubernetes.Service("nats", kubernetes.Master("a:")),
		`"http://a": its scheme must be`: kubernetes.Service("nats", kubernetes.Master("http://a")),
		`Master "": neither`:             kubernetes.Service("nats", kubernetes.Master("")),
		"Master: it has no user":         kubernetes.Service("nats", kubernetes.Master("https://jane:secret@a")),
		"the directory is empty":         kubernetes.Service("nats", kubernetes.ServiceAccount("")),
		"Config and Master":              kubernetes.Service("nats", kubernetes.Config(&rest.Config{}), kubernetes.Master("a")),
		"option 1 is nil":                kubernetes.Service("nats", nil),
		"Interval 0s":                    kubernetes.Service("nats", kubernetes.Discovery(discovery.Interval(0))),
		"not an https URL":               kubernetes.Service("nats", secret(rest.Config{Host: "http://a", BearerToken: "x"})),
		"Host is not an https":           kubernetes.Service("nats", secret(rest.Config{Host: "http://a", Username: "x"})),
		"Insecure: credentials":          kubernetes.Service("nats", secret(rest.Config{Host: "https://a", BearerTokenFile: "x", TLSClientConfig: insecure})),
		`Config: Host "https://a b"`:     kubernetes.Service("nats", secret(rest.Config{Host: "https://a b"})),
	} {
		err := s.(interface{ Err() error }).Err()
		require.Error(t, err, text)
		require.ErrorContains(t, err, text)
		require.NotContains(t, err.Error(), "secret")
		require.Equal(t, err, s.Discover(t.Context(), func([]discovery.Address, error) { t.Error("it told something") }))
	}
	several := kubernetes.Pods("", kubernetes.Port("0"), kubernetes.Discovery(discovery.Timeout(0)))
	for _, part := range []string{"Kubernetes pods", "the selector is empty", "Port 0", "Timeout 0s"} {
		require.ErrorContains(t, several.Discover(t.Context(), nil), part)
	}
	// Without credentials a plain connection is nobody's loss: kubectl proxy.
	require.NoError(t, kubernetes.Service("nats", secret(rest.Config{Host: "http://127.0.0.1:8001"})).(interface{ Err() error }).Err())
}

// What the options say is in each address.
func TestWhatTheOptionsSayOfAddresses(t *testing.T) {
	f := newFake(t)
	got := make(chan []discovery.Address, 1)
	ctx, cancel := context.WithCancel(t.Context())
	s := kubernetes.Service("nats", f.with(kubernetes.Discovery(discovery.Name("ours"), discovery.Scheme("tls"), discovery.Cluster("c"), discovery.TLSName("nats.example")))...)
	require.Equal(t, "ours", s.(interface{ String() string }).String())
	require.ErrorIs(t, s.Discover(ctx, func(list []discovery.Address, _ error) {
		if len(list) > 0 {
			got <- list
			cancel()
		}
	}), context.Canceled)
	require.Equal(t, []discovery.Address{{Host: "10.1.0.1", Port: 4222, Scheme: "tls", Cluster: "c", TLSName: "nats.example"}}, <-got)
}

// What is asked for, and how it is asked for: the selector, the namespace, and the cache.
func TestWhatIsAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		make        func(opts ...kubernetes.Option) discovery.Strategy
		opts        []kubernetes.Option
		path, query string
	}{
		"a service": {func(o ...kubernetes.Option) discovery.Strategy { return kubernetes.Service("nats", o...) }, nil,
			"/apis/discovery.k8s.io/v1/namespaces/fleet/endpointslices", "labelSelector=kubernetes.io%2Fservice-name%3Dnats"},
		"endpoints": {func(o ...kubernetes.Option) discovery.Strategy { return kubernetes.Endpoints("a in (b,c)", o...) }, nil,
			"/apis/discovery.k8s.io/v1/namespaces/fleet/endpointslices", "labelSelector=a+in+%28b%2Cc%29"},
		"pods elsewhere": {func(o ...kubernetes.Option) discovery.Strategy { return kubernetes.Pods("a=b", o...) }, []kubernetes.Option{kubernetes.Namespace("other")},
			"/api/v1/namespaces/other/pods", "labelSelector=a%3Db"},
		"cached": {func(o ...kubernetes.Option) discovery.Strategy { return kubernetes.Service("nats", o...) }, []kubernetes.Option{kubernetes.Cached()},
			"/apis/discovery.k8s.io/v1/namespaces/fleet/endpointslices", "labelSelector=kubernetes.io%2Fservice-name%3Dnats&resourceVersion=0"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			asked := make(chan string, 1)
			f.answer(func(_ http.ResponseWriter, r *http.Request) {
				select {
				case asked <- r.URL.Path + "?" + r.URL.RawQuery:
				default:
				}
			}, nil)
			follow(t, c.make(f.with(c.opts...)...))
			require.Equal(t, c.path+"?"+c.query, <-asked)
		})
	}
}

// Who may only list does not ask to watch, if it is told so.
func TestListsOnly(t *testing.T) {
	f := newFake(t)
	h := follow(t, kubernetes.Service("nats", f.with(kubernetes.ListsOnly())...))
	eventually(t, "lists", func() bool { return f.count("list") > 10 })
	require.Zero(t, f.count("watch"))
	require.Empty(t, h.failures())
	f.answer(says(403, status(403, "Forbidden", `User "jane" cannot list`)), nil)
	h.failure(discovery.ReasonForbidden, "verbs: [list]}")
}

// A server that asks to be left alone for a while is.
func TestRetryAfter(t *testing.T) {
	f := newFake(t)
	var mu sync.Mutex
	var asked []time.Time
	f.answer(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, time.Now())
		says(429, "too many requests, please try again later", "Retry-After", "1")(w, r)
	}, nil)
	h := follow(t, kubernetes.Service("nats", f.with()...))
	h.failure(discovery.ReasonThrottled)
	eventually(t, "it again", func() bool { mu.Lock(); defer mu.Unlock(); return len(asked) > 1 })
	require.GreaterOrEqual(t, asked[1].Sub(asked[0]), time.Second)
}
