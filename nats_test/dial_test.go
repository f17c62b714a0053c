package nats_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// certificate makes one that vouches for itself, for a host, and writes it to a file.
func certificate(t *testing.T, host string) (cert tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "cert.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

func withTLS(cert tls.Certificate) func(*server.Options) {
	return func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		o.TLSTimeout = 10
	}
}

// says is a port that says something to whoever connects.
func says(t *testing.T, text string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, text)
			defer conn.Close()
		}
	}()
	return l.Addr().String()
}

// What will not change by waiting is told at once.
func TestWhatWaitingDoesNotMendIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	plain := rolebustest.NewServer(t)
	locked := rolebustest.NewServer(t, func(o *server.Options) { o.Username, o.Password = "u", "p" })
	here, hereCA := certificate(t, "127.0.0.1")
	elsewhere, elsewhereCA := certificate(t, "elsewhere.test")
	secure, misnamed := rolebustest.NewServer(t, withTLS(here)), rolebustest.NewServer(t, withTLS(elsewhere))
	verified := rolebustest.NewServer(t, func(o *server.Options) {
		withTLS(here)(o)
		o.TLSConfig.ClientAuth, o.TLSVerify = tls.RequireAndVerifyClientCert, true
		o.TLSConfig.ClientCAs = x509.NewCertPool()
	})
	nobody := "nats://127.0.0.1:1"
	dir := t.TempDir()
	missing, garbage := filepath.Join(dir, "missing"), filepath.Join(dir, "garbage")
	require.NoError(t, os.WriteFile(garbage, []byte("what is this"), 0o600))
	half := filepath.Join(dir, "half")
	require.NoError(t, os.WriteFile(half, []byte("-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n"), 0o600))
	seed, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := seed.PublicKey()
	require.NoError(t, err)
	swap := func(url, scheme string) string { return scheme + strings.TrimPrefix(url, "nats") }
	for name, c := range map[string]struct {
		url  string
		opts []nats.Option
		want string
	}{
		"a credentials file that is not there":    {plain.URL(), []nats.Option{nats.UserCredentials(missing)}, "no such file"},
		"credentials that are none":               {plain.URL(), []nats.Option{nats.UserCredentials(garbage)}, "no nkey seed"},
		"credentials without a seed":              {plain.URL(), []nats.Option{nats.UserCredentials(half)}, "no nkey seed"},
		"a CA file that is not there":             {plain.URL(), []nats.Option{nats.RootCAs(missing)}, "no such file"},
		"a CA file that is none":                  {plain.URL(), []nats.Option{nats.RootCAs(garbage)}, "failed to parse root certificate"},
		"a client certificate that is not there":  {plain.URL(), []nats.Option{nats.ClientCert(missing, missing)}, "no such file"},
		"an option that is wrong":                 {nobody, []nats.Option{nats.Secure(&tls.Config{}, &tls.Config{})}, nats.ErrMultipleTLSConfigs.Error()},
		"two options that exclude each other":     {nobody, []nats.Option{nats.UserCredentials(garbage), nats.Nkey(public, seed.Sign)}, nats.ErrNkeyAndUser.Error()},
		"a port that is none":                     {"nats://127.0.0.1:99999", nil, "must be a number from 1 to 65535"},
		"a port that is no number":                {"nats://127.0.0.1:abc", nil, "invalid port"},
		"a password that is wrong":                {locked.URL(), []nats.Option{nats.UserInfo("u", "x")}, "Authorization Violation"},
		"no password":                             {locked.URL(), nil, "Authorization Violation"},
		"the same, of two servers":                {nobody + "," + locked.URL(), nil, "Authorization Violation"},
		"the same, in the other order":            {locked.URL() + "," + nobody, []nats.Option{nats.DontRandomize()}, "connection refused"},
		"an nkey that the server does not know":   {plain.URL(), []nats.Option{nats.Nkey(public, seed.Sign)}, nats.ErrNkeysNotSupported.Error()},
		"TLS that the server has not":             {swap(plain.URL(), "tls"), nil, nats.ErrSecureConnWanted.Error()},
		"TLS first that the server has not":       {plain.URL(), []nats.Option{nats.TLSHandshakeFirst()}, "first record does not look like a TLS handshake"},
		"a CA that is not known":                  {secure.URL(), nil, "unknown authority"},
		"a certificate of another host":           {misnamed.URL(), []nats.Option{nats.RootCAs(elsewhereCA)}, "failed to verify certificate"},
		"a server that wants a certificate":       {verified.URL(), []nats.Option{nats.RootCAs(hereCA)}, "certificate required"},
		"a WebSocket to a server's ordinary port": {swap(plain.URL(), "ws"), nil, "malformed HTTP"},
		"a port of something else":                {"nats://" + says(t, "SSH-2.0-x\r\n"), nil, nats.ErrNoInfoReceived.Error()},
		"an INFO that is none":                    {"nats://" + says(t, "INFO x\r\n"), nil, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			b, err := rolebus.Connect(ctx, c.url, rolebus.WithNATS(c.opts...))
			require.Nil(t, b)
			require.ErrorContains(t, err, c.want)
			require.True(t, strings.HasPrefix(err.Error(), "rolebus: connect: "), err)
			require.NoError(t, ctx.Err())
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// lines is a log that can be read meanwhile.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), part)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// What may pass is waited for, and told.
func TestWhatMayPassIsWaitedFor(t *testing.T) {
	t.Parallel()
	one := func(o *server.Options) { o.MaxConn = 1 }
	for name, c := range map[string]struct {
		change func(*server.Options)
		begin  func(*testing.T, *rolebustest.Server) (url string, end func())
		want   string
	}{
		"a server that is not up": {nil, func(_ *testing.T, srv *rolebustest.Server) (string, func()) {
			srv.Stop()
			return srv.URL(), srv.Start
		}, "connection refused"},
		"a server that takes no more connections": {one, func(t *testing.T, srv *rolebustest.Server) (string, func()) {
			nc, err := nats.Connect(srv.URL())
			require.NoError(t, err)
			return srv.URL(), nc.Close
		}, "connections"}, // the server's words, or ours: see closedAtOnce
		"a proxy before a server that is not up": {nil, func(t *testing.T, srv *rolebustest.Server) (string, func()) {
			link := srv.Link()
			srv.Stop()
			return link.URL(), srv.Start
		}, ""},
		"a server that hangs": {nil, func(t *testing.T, srv *rolebustest.Server) (string, func()) {
			link := srv.Link()
			link.Stall()
			return link.URL(), link.Mend
		}, "i/o timeout"},
		"a name that is not known yet": {nil, func(t *testing.T, srv *rolebustest.Server) (string, func()) {
			return "nats://nobody.invalid:4222," + srv.URL(), srv.Start
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var change []func(*server.Options)
			if c.change != nil {
				change = append(change, c.change)
			}
			srv := rolebustest.NewServer(t, change...)
			url, end := c.begin(t, srv)
			log := &lines{}
			done := make(chan error, 1)
			go func() {
				b, err := rolebus.Connect(t.Context(), url, rolebus.WithNode("a"), rolebus.WithLogger(log.logger()), rolebus.WithNATS(nats.Timeout(time.Second)))
				if err == nil {
					err = b.Close()
				}
				done <- err
			}()
			if c.want != "" {
				eventually(t, "the reason to be told", func() bool { return log.count(c.want) > 0 })
			}
			end()
			require.NoError(t, <-done)
		})
	}
}

// A proxy for WebSockets answers for a server that is not up.
func TestAProxyThatHasNoServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer proxy.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := rolebus.Connect(ctx, "ws"+strings.TrimPrefix(proxy.URL, "http"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "invalid websocket connection")
}

// Waiting is told at first, and then seldom, however often it is tried.
func TestWaitingIsToldSeldom(t *testing.T) {
	t.Parallel()
	log := &lines{}
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	_, err := rolebus.Connect(ctx, "nats://127.0.0.1:1", rolebus.WithLogger(log.logger()))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "127.0.0.1:1: connection refused")
	require.Equal(t, 2, log.count("waiting for NATS"))
}

// Whoever has no more time gets an answer, however many servers are silent. That takes a tenth of what a single one of
// them would: it is not asked how fast this machine is.
func TestConnectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	silent := make([]string, 6)
	for i := range silent {
		silent[i] = "nats://" + says(t, "")
	}
	hung := rolebustest.NewServer(t)
	link := hung.Link()
	for name, call := range map[string]func(context.Context) (*rolebus.Bus, error){
		"several silent servers": func(ctx context.Context) (*rolebus.Bus, error) {
			return rolebus.Connect(ctx, strings.Join(silent, ","), rolebus.WithNATS(nats.Timeout(time.Minute)))
		},
		"a dialer that hears of nothing": func(ctx context.Context) (*rolebus.Bus, error) {
			return rolebus.Connect(ctx, silent[0], rolebus.WithNATS(nats.SetCustomDialer(deafDialer{t.Context()})))
		},
		"a borrowed connection that is not up": func(ctx context.Context) (*rolebus.Bus, error) {
			nc, err := nats.Connect("nats://127.0.0.1:1", nats.RetryOnFailedConnect(true))
			if err != nil {
				return nil, err
			}
			t.Cleanup(nc.Close)
			return rolebus.New(ctx, nc)
		},
		"a borrowed connection to a server that hangs": func(ctx context.Context) (*rolebus.Bus, error) {
			nc := link.Conn()
			link.Stall()
			return rolebus.New(ctx, nc)
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			done := make(chan error, 1)
			go func() {
				_, err := call(ctx)
				done <- err
			}()
			select {
			case err := <-done:
				require.ErrorIs(t, err, context.DeadlineExceeded)
			case <-time.After(20 * time.Second):
				t.Fatal("it does not come back")
			}
		})
	}
	link.Mend()
}

type deafDialer struct{ until context.Context }

func (d deafDialer) Dial(string, string) (net.Conn, error) {
	<-d.until.Done()
	return nil, errors.New("nobody")
}

// So does Join, and while what it had begun is cleaned up the next one waits no longer than it may.
func TestJoinEndsWithItsContext(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	b := link.Bus(rolebus.WithTTL(5 * time.Minute)) // a goodbye is given a fifth of that
	link.Stall()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		done := make(chan error, 1)
		go func() {
			_, err := b.Join(ctx, "s")
			done <- err
		}()
		select {
		case err := <-done:
			require.ErrorIs(t, err, context.DeadlineExceeded)
		case <-time.After(20 * time.Second):
			t.Fatal("it does not come back")
		}
		cancel()
	}
	link.Mend()
	_, err := b.Join(t.Context(), "s")
	require.NoError(t, err)
}
