package hello

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{}
	a.certificate, a.key = certify(t, nil, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func certify(t *testing.T, by *authority, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.SerialNumber = big.NewInt(1)
	template.Subject = pkix.Name{CommonName: "of a test"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return c, key
}

// config is of one who has a certificate by a, and trusts those by b.
func (a *authority) config(t *testing.T, b *authority) *tls.Config {
	c, key := certify(t, a, &x509.Certificate{DNSNames: []string{"one"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	pool := x509.NewCertPool()
	pool.AddCert(b.certificate)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{c.Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool, RootCAs: pool,
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t), newAuthority(t)
	with := func(c *tls.Config) func(string) *tls.Config { return func(string) *tls.Config { return c } }
	good, unknown := ours.config(t, ours), others.config(t, ours)
	old := ours.config(t, ours)
	old.MaxVersion = tls.VersionTLS12
	bare := ours.config(t, ours)
	bare.Certificates = nil
	for name, c := range map[string]struct {
		server *tls.Config
		asker  func(string) *tls.Config
		name   string
		text   string
	}{
		"both":                           {good, with(good), "", ""},
		"both, by name":                  {good, with(good), "one", ""},
		"the server 1.2":                 {old, with(good), "", ""},
		"the asker 1.2":                  {good, with(old), "", ""},
		"neither, for this name":         {nil, with(nil), "", ""},
		"another name":                   {good, with(good), "two", "certificate is valid for one, not two"},
		"the server alone":               {good, nil, "", "the other wants TLS, and this side does not speak it"},
		"the server alone, by name":      {good, with(nil), "", "the other wants TLS, and this side does not speak it"},
		"the asker alone":                {nil, with(good), "", "this side speaks it, and the other does not"},
		"a server of others":             {unknown, with(good), "", "unknown authority"},
		"an asker of others":             {good, with(unknown), "", "remote error: tls: "},
		"an asker without a certificate": {good, with(bare), "", "remote error: tls: "},
		"the same in 1.2":                {old, with(bare), "", "remote error: tls: "},
	} {
		for kind, secrets := range map[string]func() []string{"sealed": these(secret), "in the clear": nil} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				p := newPlace(t, &Server{Secrets: secrets, TLS: c.server})
				a := newAsker(t, &Asker{Secrets: secrets, TLS: c.asker})
				for range 2 {
					answer, err := a.Ask(within(t), p.at, c.name, []byte("?"))
					if c.text == "" {
						require.NoError(t, err)
						require.Equal(t, "? too", string(answer))
						require.Empty(t, p.told(t, 0))
						continue
					}
					require.ErrorIs(t, err, ErrTLS)
					require.ErrorContains(t, err, c.text)
					require.ErrorIs(t, p.told(t, 1)[0], ErrTLS)
					require.Zero(t, p.asked.Load())
				}
			})
		}
	}
}

func TestWrongSecretInTLS(t *testing.T) {
	t.Parallel()
	config := newAuthority(t)
	c := config.config(t, config)
	p := newPlace(t, &Server{Secrets: these(secret), TLS: c})
	a := newAsker(t, &Asker{Secrets: these(other), TLS: func(name string) *tls.Config {
		require.Equal(t, "one", name)
		return c
	}})
	_, err := a.Ask(within(t), p.at, "one", nil)
	require.ErrorIs(t, err, ErrForeign)
	require.ErrorIs(t, p.told(t, 1)[0], ErrForeign)

	conn, err := tls.Dial("tcp", p.at, &tls.Config{RootCAs: c.RootCAs, Certificates: c.Certificates})
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(opens(3, 1))
	require.NoError(t, err)
	o, err := readOpening(conn)
	require.NoError(t, err, "another version is answered in TLS")
	require.Equal(t, sealed, o.mode())
}

func TestStrangersLearnNothingFromTLS(t *testing.T) {
	t.Parallel()
	by := newAuthority(t)
	p := newPlace(t, &Server{TLS: by.config(t, by)})
	for i, c := range []struct {
		says, hears string
		is          error
	}{
		{"GET / HTTP/1.1\r\n\r\n", "", ErrNone},
		{"rb", "", ErrSilent},
		{"random", "", ErrNone},
		{string(opens(1, 0)), "rbh\x01\x02", ErrTLS},
		{"rbh\x07", "rbh\x01\x02", ErrTLS},
		{"\x16\x03\x01\x00\x05hello", "\x15", ErrTLS}, // an alert
	} {
		got := stranger(t, p.at, []byte(c.says))
		if c.hears == "" {
			require.Empty(t, got, c.says)
		}
		require.Equal(t, c.hears, string(got[:min(len(got), len(c.hears))]), c.says)
		require.ErrorIs(t, p.told(t, i+1)[i], c.is, c.says)
	}
}
