package rolebus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority issues certificates for tests.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authority{key: key}
	der := a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, &key.PublicKey)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return a
}

func (a *authority) sign(t *testing.T, of, by *x509.Certificate, key *ecdsa.PublicKey) []byte {
	t.Helper()
	of.SerialNumber, of.NotBefore, of.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if by == nil {
		by = of
	}
	der, err := x509.CreateCertificate(rand.Reader, of, by, key, a.key)
	require.NoError(t, err)
	return der
}

// issue makes the certificate of a server that has a name, or an address.
func (a *authority) issue(t *testing.T, of string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert := &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature}
	if ip := net.ParseIP(of); ip != nil {
		cert.IPAddresses = []net.IP{ip}
	} else {
		cert.DNSNames = []string{of}
	}
	return tls.Certificate{Certificate: [][]byte{a.sign(t, cert, a.cert, &key.PublicKey)}, PrivateKey: key}
}

// shake is a handshake as nats.go makes it, with a server known by this host.
func shake(client *tls.Config, host string, cert tls.Certificate) (resumed bool, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return false, err
	}
	defer listener.Close()
	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return false, err
	}
	defer near.Close()
	go func() {
		far, err := listener.Accept()
		if err != nil {
			return
		}
		defer far.Close()
		config := &tls.Config{Certificates: []tls.Certificate{cert}}
		config.SetSessionTicketKeys([][32]byte{{1}}) // each handshake has a server of its own
		server := tls.Server(far, config)
		if server.Handshake() == nil {
			_, _ = server.Write([]byte{1}) // behind the ticket
		}
	}()
	client = client.Clone()
	client.ServerName = host
	conn := tls.Client(near, client)
	if err := conn.Handshake(); err != nil {
		return false, err
	}
	_, err = conn.Read(make([]byte, 1))
	return conn.ConnectionState().DidResume, err
}

// Whom a certificate must be for.
func TestWhomACertificateIsFor(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	servers := []Address{
		{Host: "10.0.0.1", TLSName: "found.test"},
		{Host: "10.0.0.2"},
		{Host: "plain.test"},
		{Host: "alias.test", TLSName: "real.test"},
		{Host: "both.test", TLSName: "one.test"}, {Host: "both.test", Port: 5},
		{Host: "given.test", TLSName: "not-given.test"},
		{Host: "route.test", Route: true}, {Host: "10.0.0.3", TLSName: "route-too.test", Route: true},
	}
	for name, c := range map[string]struct {
		host, cert string
		ok         bool
	}{
		"an IP address and its TLS name":        {"10.0.0.1", "found.test", true},
		"an IP address and another one's":       {"10.0.0.2", "found.test", true},
		"an IP address and itself":              {"10.0.0.2", "10.0.0.2", true},
		"an IP address and the URL's name":      {"10.0.0.2", "given.test", true},
		"an IP address and a stranger":          {"10.0.0.1", "stranger.test", false},
		"an IP address and a strange one":       {"10.0.0.1", "10.9.9.9", false},
		"an IP address and what a server told":  {"10.0.0.1", "told.test", false},
		"an IP address that a server told":      {"10.9.9.1", "10.9.9.1", false},
		"an IP address and a route":             {"10.0.0.1", "route.test", false},
		"an IP address and a route's TLS name":  {"10.0.0.1", "route-too.test", false},
		"a name and itself":                     {"plain.test", "plain.test", true},
		"a name and itself, written otherwise":  {"Plain.Test.", "plain.test", true},
		"a name and another one":                {"plain.test", "found.test", false},
		"a name with a TLS name and that":       {"alias.test", "real.test", true},
		"a name with a TLS name and itself":     {"alias.test", "alias.test", true},
		"a name with and without one and that":  {"both.test", "one.test", true},
		"a name with and without one, itself":   {"both.test", "both.test", true},
		"a name of the URL that is found, too":  {"given.test", "given.test", true},
		"a name of the URL and what is found":   {"given.test", "not-given.test", true},
		"a name that a server told, and itself": {"told.test", "told.test", true},
		"a name that a server told, and others": {"told.test", "found.test", false},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := serversOf(t, "tls://given.test", servers...)
			// Anybody can say so: before a connection is encrypted, too.
			s.hear([]string{"told.test:4222", "10.9.9.1:4222"})
			_, err := shake(s.verify(&tls.Config{RootCAs: roots}, nil), c.host, ca.issue(t, c.cert))
			if c.ok {
				require.NoError(t, err)
			} else {
				require.ErrorAs(t, err, new(*tls.CertificateVerificationError))
			}
			_, err = shake(s.verify(&tls.Config{RootCAs: roots}, nil), c.host, other.issue(t, c.cert))
			require.ErrorAs(t, err, new(*tls.CertificateVerificationError), "of a stranger's authority")
		})
	}
}

// What the user's configuration says about certificates is kept to: its clock, its own checks, with the chains, also of a session that goes
// on.
func TestTheUsersConfigurationOfTLSIsKeptTo(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	cert := ca.issue(t, "found.test")
	s, _ := serversOf(t, "", Address{Host: "10.0.0.1", TLSName: "found.test"})

	_, err := shake(s.verify(&tls.Config{RootCAs: roots, Time: func() time.Time { return time.Now().Add(2 * time.Hour) }}, nil), "10.0.0.1", cert)
	require.ErrorContains(t, err, "expired")
	_, err = shake(s.verify(nil, func() (*x509.CertPool, error) { return roots, nil }), "10.0.0.1", cert)
	require.NoError(t, err)

	var checks []string
	user := &tls.Config{
		RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(1),
		VerifyPeerCertificate: func(raw [][]byte, chains [][]*x509.Certificate) error {
			checks = append(checks, "certificate")
			require.Len(t, chains, 1)
			return nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			checks = append(checks, "connection")
			require.Len(t, state.VerifiedChains, 1)
			return nil
		},
	}
	config := s.verify(user, nil)
	_, err = shake(config, "10.0.0.1", cert)
	require.NoError(t, err)
	require.Equal(t, []string{"certificate", "connection"}, checks)
	checks = nil
	resumed, err := shake(config, "10.0.0.1", cert)
	require.NoError(t, err)
	require.True(t, resumed)
	require.Equal(t, []string{"connection"}, checks, "as crypto/tls has it: a session that goes on has no certificates sent")
	s.found = []Address{{Host: "10.0.0.1", TLSName: "another.test"}}
	_, err = shake(config, "10.0.0.1", cert)
	require.ErrorContains(t, err, "found.test", "whom it was for before counts no more, also for a session that goes on")

	named := s.verify(&tls.Config{RootCAs: roots, ServerName: "found.test"}, nil)
	require.Equal(t, "found.test", named.ServerName)
	require.Nil(t, named.VerifyConnection)
}
