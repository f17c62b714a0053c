package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolebus/rolebus/internal/certs"
)

const deadline = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority issues certificates for tests.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  string
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authority{key: key}
	template := template(name)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.pem = block("CERTIFICATE", der)
	return a
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// issue makes a certificate for both sides of a connection, for names and IP addresses, and its key, as PEM.
func (a *authority) issue(t testing.TB, names []string, change ...func(*x509.Certificate)) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	of := template("member")
	of.KeyUsage, of.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			of.IPAddresses = append(of.IPAddresses, ip)
		} else {
			of.DNSNames = append(of.DNSNames, name)
		}
	}
	for _, change := range change {
		change(of)
	}
	der, err := x509.CreateCertificate(rand.Reader, of, a.cert, &private.PublicKey, a.key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return block("CERTIFICATE", der), block("PRIVATE KEY", secret)
}

func expired(of *x509.Certificate) { of.NotAfter = time.Now().Add(-time.Minute) }
func unripe(of *x509.Certificate)  { of.NotBefore = time.Now().Add(time.Minute) }
func usage(usages ...x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(of *x509.Certificate) { of.ExtKeyUsage = usages }
}

// place is where the files of a pair are.
type place struct {
	t     testing.TB
	files certs.Files
	log   *lines
}

// newPlace is one with a certificate by an authority.
func newPlace(t testing.TB, a *authority, names []string, change ...func(*x509.Certificate)) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{t: t, log: &lines{}, files: certs.Files{
		Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt"),
	}}
	p.put(a.issue(t, names, change...))
	p.trust(a)
	return p
}

func (p *place) put(cert, key string) {
	p.t.Helper()
	write(p.t, p.files.Cert, cert)
	write(p.t, p.files.Key, key)
}

func (p *place) trust(authorities ...*authority) {
	p.t.Helper()
	text := ""
	for _, a := range authorities {
		text += a.pem
	}
	write(p.t, p.files.CA, text)
}

// load has every look see the files as they are.
func (p *place) load() *certs.Pair {
	p.t.Helper()
	pair, err := certs.Load(p.files, p.log.logger())
	require.NoError(p.t, err)
	pair.Pace(0, 0)
	return pair
}

// write puts a file at its place at once: these tests have what they read count at once, too.
func write(t testing.TB, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// count says in how many lines all of this is.
func (l *lines) count(parts ...string) (n int) {
	for line := range strings.Lines(l.String()) {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(line, part)
		}
		if all {
			n++
		}
	}
	return n
}

// shaken is what became of a handshake, on both sides.
type shaken struct {
	client, server error
	resumed        bool
	seen           *x509.Certificate // by the client
}

// shake is a handshake, after which a byte goes to the client: only that tells it that the server was content, too.
func shake(t testing.TB, client, server *tls.Config) (s shaken) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	near, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	far, err := listener.Accept()
	require.NoError(t, err)
	for _, conn := range []net.Conn{near, far} {
		require.NoError(t, conn.SetDeadline(time.Now().Add(deadline)))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		conn := tls.Server(far, server)
		if s.server = conn.Handshake(); s.server == nil {
			_, s.server = conn.Write([]byte{1})
		}
	}()
	conn := tls.Client(near, client)
	if s.client = conn.Handshake(); s.client == nil {
		_, s.client = conn.Read(make([]byte, 1))
	}
	state := conn.ConnectionState()
	if s.resumed = state.DidResume; len(state.PeerCertificates) > 0 {
		s.seen = state.PeerCertificates[0]
	}
	near.Close()
	<-done
	return s
}

func (s shaken) well(t testing.TB) {
	t.Helper()
	require.NoError(t, s.client)
	require.NoError(t, s.server)
}

// dial is a clone of a configuration as nats-server makes it for the host of a route's URL.
func dial(config *tls.Config, host string) *tls.Config {
	config = config.Clone()
	config.ServerName = host
	return config
}
