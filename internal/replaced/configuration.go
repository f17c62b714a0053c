package replaced

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	crypto "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	systemUser, systemPassword = "system", "system's own"

	// How often a server is told the routes more than it needs: the more it is told, the more votes it waits for before it would found a
	// cluster of its own.
	padding = 8
)

var configuration = template.Must(template.New("").Parse(`
server_name: {{.Name}}
listen: "{{.Host}}:{{.Port}}"
tls { cert_file: {{printf "%q" .Cert}}, key_file: {{printf "%q" .Key}}, timeout: 10 }
jetstream { store_dir: {{printf "%q" .Dir}} }
system_account: SYSTEM
accounts {
  FLEET { jetstream: enabled, users: [ { user: {{printf "%q" .User}}, password: {{printf "%q" .Password}} } ] }
  SYSTEM { users: [ { user: {{printf "%q" .SystemUser}}, password: {{printf "%q" .SystemPassword}} } ] }
}
cluster {
  name: replaced
  listen: {{printf "%q" .Route}}
  no_advertise: {{not .Advertise}}
  pool_size: -1
  authorization { user: routes, password: routes }
  routes: [{{range .Routes}} "nats-route://routes:routes@{{.}}", {{end}}]
}
`))

// configure writes the configuration of a server to a file.
func (c *Cluster) configure(i int) string {
	c.t.Helper()
	s := c.servers[i]
	cert, key := c.ca.issue(c.t, s.name+"."+Domain, Domain)
	var routes []string
	times := 1
	if c.servers[size-1].ns != nil { // all had started before
		times = padding
	}
	for range times {
		routes = append(routes, c.routes...)
	}
	var text bytes.Buffer
	require.NoError(c.t, configuration.Execute(&text, map[string]any{
		"Name": s.name, "Host": s.host, "Port": s.port, "Dir": s.dir, "Cert": cert, "Key": key,
		"User": User, "Password": Password, "SystemUser": systemUser, "SystemPassword": systemPassword,
		"Route": c.routes[i], "Routes": routes, "Advertise": c.shape.Advertise,
	}))
	file := filepath.Join(c.ca.dir, s.name+".conf")
	require.NoError(c.t, os.WriteFile(file, text.Bytes(), 0o600))
	return file
}

// authority signs certificates.
type authority struct {
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	n    int64
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), crypto.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(crypto.Reader, template, template, &a.key.PublicKey, a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

// issue makes a certificate for names, and writes it and its key to files.
func (a *authority) issue(t testing.TB, names ...string) (cert, key string) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), crypto.Reader)
	require.NoError(t, err)
	a.n++
	der, err := x509.CreateCertificate(crypto.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1 + a.n), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}, a.cert, &own.PublicKey, a.key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(own)
	require.NoError(t, err)
	name := fmt.Sprintf("%s-%d", names[0], a.n)
	return a.write(t, name+".pem", "CERTIFICATE", der), a.write(t, name+".key", "PRIVATE KEY", secret)
}

func (a *authority) write(t testing.TB, name, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(a.dir, name)
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}

// client is what a client needs to trust servers of this name.
func (a *authority) client(name string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}
}

// complaints keeps the last of a server, for the text of a failure. nats-server goes on after Fatalf when that returns.
type complaints struct {
	mu    sync.Mutex
	lines []string
	over  bool
}

func (l *complaints) Noticef(string, ...any)            {}
func (l *complaints) Debugf(string, ...any)             {}
func (l *complaints) Tracef(string, ...any)             {}
func (l *complaints) Warnf(format string, args ...any)  { l.add(format, args) }
func (l *complaints) Errorf(format string, args ...any) { l.add(format, args) }
func (l *complaints) Fatalf(format string, args ...any) {
	l.add(format, args)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}

// fatal says whether the server cannot start.
func (l *complaints) fatal() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

func (l *complaints) add(format string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 20 {
		l.lines = append(l.lines[:0], l.lines[1:]...)
	}
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *complaints) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "; ")
}
