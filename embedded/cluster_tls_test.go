package embedded_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

// authority signs certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authority{key: key, cert: &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}}
	der := a.sign(t, a.cert, &key.PublicKey)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return a
}

func (a *authority) sign(t *testing.T, c *x509.Certificate, of *ecdsa.PublicKey) []byte {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	c.SerialNumber, c.Subject = serial, pkix.Name{CommonName: "of a test"}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, of, a.key)
	require.NoError(t, err)
	return der
}

// pair is where a certificate, its key, and authorities are.
type pair struct{ cert, key, ca string }

func newPair(t *testing.T) pair {
	dir := t.TempDir()
	return pair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")}
}

// write has an authority issue a certificate for a name, or an address, which is shown from then on, and believes these authorities.
func (p pair) write(t *testing.T, a *authority, name string, believed ...*authority) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if ip := net.ParseIP(name); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{name}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	var cas []byte
	for _, each := range believed {
		cas = append(cas, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: each.cert.Raw})...)
	}
	for path, text := range map[string][]byte{
		p.cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.sign(t, c, &key.PublicKey)}),
		p.key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		p.ca:   cas,
	} {
		require.NoError(t, os.WriteFile(path+".new", text, 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	return p
}

func (p pair) cluster() embedded.Option { return embedded.WithClusterTLS(p.cert, p.key, p.ca) }

func TestClusterOfTLSTakesNobodyOfAnotherAuthority(t *testing.T) {
	t.Parallel()
	mine, another := newAuthority(t), newAuthority(t)
	town := newTown(t)
	good := newPair(t).write(t, mine, "127.0.0.1", mine)
	clients := embedded.WithTLS(good.cert, good.key, "")
	secret := embedded.WithSecret(secretOf('s'))
	all := town.form(t, 3, good.cluster(), clients, secret)
	for _, url := range strings.Split(all[0].URL(), ",") {
		require.True(t, strings.HasPrefix(url, "tls://127.0.0.1:"), url)
	}
	canary := sing(t, all[0], nats.RootCAs(good.ca))
	stranger := begin(t, town.strategy(), newPair(t).write(t, another, "127.0.0.1", another).cluster(), secret, embedded.WithName("p8"))
	plain := begin(t, town.strategy(), secret, embedded.WithName("p9"))
	for _, p := range []*process{stranger, plain} {
		until(t, func() bool { return len(p.lines("its TLS does not fit")) >= 3 }, p.log.String)
		require.Equal(t, embedded.Forming, p.State().Part)
	}
	until(t, func() bool { return len(all[0].lines("its TLS does not fit")) == 2 }, all[0].log.String)
	bus, err := all[1].Connect(t.Context(), rolebus.WithNode("a"), rolebus.WithNATS(nats.RootCAs(good.ca)))
	require.NoError(t, err)
	require.NoError(t, bus.Close())
	canary.end(t)
	for _, p := range all {
		require.Len(t, p.lines("its TLS does not fit"), 2, p.log.String())
		require.Empty(t, p.lines("DO NOT USE IN PRODUCTION"))
		require.NotContains(t, p.log.String(), secretOf('s'))
		await(t, p, "whole", whole(3))
	}
}

func TestCertificatesForNamesThatDiscoveryHas(t *testing.T) {
	t.Parallel()
	mine := newAuthority(t)
	files := newPair(t).write(t, mine, "member.example", mine)
	var all []*process
	ports := freePorts(t, 3)
	t.Cleanup(func() { closeAll(all...) })
	var list []rolebus.Address
	for _, p := range ports {
		a := at("127.0.0.1", p)
		a.TLSName = "member.example"
		list = append(list, a)
	}
	for _, p := range ports {
		all = append(all, begin(t, show(list...), embedded.WithClusterPort(p), files.cluster()))
	}
	oneCluster(t, all)
	sing(t, all[0]).end(t)
}
