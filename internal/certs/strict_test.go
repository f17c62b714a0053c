package certs_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who dials believes exactly whom crypto/tls would believe with the same authorities and name.
func TestWhoDialsIsAsStrictAsTLS(t *testing.T) {
	a, b := newAuthority(t, "one"), newAuthority(t, "two")
	between := newBetween(t, a)
	for name, c := range map[string]struct {
		by     *authority
		names  []string
		host   string
		change []func(*x509.Certificate)
		good   bool
	}{
		"good":                {a, []string{"host.test"}, "host.test", nil, true},
		"another case":        {a, []string{"host.test"}, "HOST.test", nil, true},
		"wildcard":            {a, []string{"*.host.test"}, "one.host.test", nil, true},
		"wildcard, deeper":    {a, []string{"*.host.test"}, "one.two.host.test", nil, false},
		"address":             {a, []string{"127.0.0.9"}, "127.0.0.9", nil, true},
		"IPv6":                {a, []string{"::1"}, "::1", nil, true},
		"IPv6 in brackets":    {a, []string{"::1"}, "[::1]", nil, true},
		"another address":     {a, []string{"127.0.0.8"}, "127.0.0.9", nil, false},
		"a name like it":      {a, []string{"127-0-0-9"}, "127.0.0.9", nil, false},
		"any usage":           {a, []string{"host.test"}, "host.test", []func(*x509.Certificate){usage(x509.ExtKeyUsageAny)}, true},
		"no usage":            {a, []string{"host.test"}, "host.test", []func(*x509.Certificate){usage()}, true},
		"another name":        {a, []string{"other.test"}, "host.test", nil, false},
		"no name":             {a, nil, "host.test", nil, false},
		"only a common name":  {a, nil, "member", nil, false},
		"expired":             {a, []string{"host.test"}, "host.test", []func(*x509.Certificate){expired}, false},
		"not yet":             {a, []string{"host.test"}, "host.test", []func(*x509.Certificate){unripe}, false},
		"for clients":         {a, []string{"host.test"}, "host.test", []func(*x509.Certificate){usage(x509.ExtKeyUsageClientAuth)}, false},
		"another authority":   {b, []string{"host.test"}, "host.test", nil, false},
		"with one in between": {between, []string{"host.test"}, "host.test", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			cert, key := c.by.issue(t, c.names, c.change...)
			if c.by == between {
				cert += between.pem
			}
			pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
			require.NoError(t, err)
			server := &tls.Config{Certificates: []tls.Certificate{pair}}
			roots := x509.NewCertPool()
			roots.AddCert(a.cert)

			theirs := shake(t, &tls.Config{RootCAs: roots, ServerName: c.host}, server)
			ours := shake(t, newPlace(t, a, []string{"me.test"}).load().Client(c.host), server)
			require.Equal(t, c.good, theirs.client == nil, "%v", theirs.client)
			require.Equal(t, c.good, ours.client == nil, "%v", ours.client)
			if !c.good {
				require.Equal(t, theirs.client.Error(), ours.client.Error())
				_, is := errors.AsType[*tls.CertificateVerificationError](ours.client)
				require.True(t, is, "%T", ours.client)
			}
		})
	}
}

// newBetween is an authority that another one has signed.
func newBetween(t *testing.T, a *authority) *authority {
	between := newAuthority(t, "between")
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: between.cert.SerialNumber, Subject: between.cert.Subject, NotBefore: between.cert.NotBefore, NotAfter: between.cert.NotAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a.cert, &between.key.PublicKey, a.key)
	require.NoError(t, err)
	between.pem = block("CERTIFICATE", der)
	between.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return between
}

// Who accepts wants a certificate of the authorities, for clients, that is good now; or none at all.
func TestWhomAListenerAccepts(t *testing.T) {
	a, b := newAuthority(t, "one"), newAuthority(t, "two")
	pair := newPlace(t, a, []string{"host.test"}).load()
	for name, c := range map[string]struct {
		by     *authority
		change []func(*x509.Certificate)
		good   bool
	}{
		"good":              {a, nil, true},
		"none":              {nil, nil, false},
		"another authority": {b, nil, false},
		"expired":           {a, []func(*x509.Certificate){expired}, false},
		"for servers":       {a, []func(*x509.Certificate){usage(x509.ExtKeyUsageServerAuth)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			client := pair.Client("host.test")
			client.GetClientCertificate = nil
			if c.by != nil {
				own, err := tls.X509KeyPair(pems(c.by.issue(t, []string{"client.test"}, c.change...)))
				require.NoError(t, err)
				client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
			}
			for _, server := range []*tls.Config{pair.Server(true), pair.Mutual()} {
				s := shake(t, client, server)
				require.Equal(t, c.good, s.server == nil, "%v", s.server)
				require.Equal(t, c.good, s.client == nil, "%v", s.client)
			}
			alone := pair.Server(true) // what is left of it as in a clone of nats-server's monitoring
			alone.GetConfigForClient = nil
			require.Equal(t, c.good, shake(t, client, alone).client == nil)
			shake(t, client, pair.Server(false)).well(t)
		})
	}
}

func pems(cert, key string) ([]byte, []byte) { return []byte(cert), []byte(key) }

func TestOnlyModernTLS(t *testing.T) {
	pair := newPlace(t, newAuthority(t, "one"), []string{"host.test"}).load()
	old := pair.Client("host.test")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	for _, server := range []*tls.Config{pair.Server(false), pair.Server(true), pair.Mutual()} {
		require.ErrorContains(t, shake(t, old, server).server, "unsupported versions")
	}
	server := pair.Server(false)
	server.GetConfigForClient, server.MinVersion, server.MaxVersion = nil, tls.VersionTLS10, tls.VersionTLS11
	for _, client := range []*tls.Config{pair.Client("host.test"), dial(pair.Mutual(), "host.test")} {
		require.Error(t, shake(t, client, server).client)
	}
}

// Of routes the certificate must be for the host, or for what is known of it. Which IP address is dialed nobody tells.
func TestWhomARouteIsFor(t *testing.T) {
	a := newAuthority(t, "one")
	for name, c := range map[string]struct {
		names []string // of the certificate
		host  string
		known map[string][]string
		told  string // "" where it is believed
	}{
		"its name":                   {[]string{"a.test"}, "a.test", nil, ""},
		"another name":               {[]string{"b.test"}, "a.test", nil, "not a.test"},
		"another that is known":      {[]string{"b.test"}, "a.test", map[string][]string{"a.test": {"b.test"}}, ""},
		"one that another has":       {[]string{"b.test"}, "a.test", map[string][]string{"c.test": {"b.test"}}, "not a.test"},
		"an address, nothing known":  {[]string{"127.0.0.1"}, "127.0.0.1", nil, "nobody says whom the certificate must be for"},
		"an address, empty names":    {[]string{"127.0.0.1"}, "127.0.0.1", map[string][]string{"": {""}}, "nobody says whom"},
		"an address that is known":   {[]string{"127.0.0.1"}, "127.0.0.1", map[string][]string{"": {"127.0.0.2", "127.0.0.1"}}, ""},
		"an address, a known name":   {[]string{"b.test"}, "127.0.0.1", map[string][]string{"": {"127.0.0.1", "b.test"}}, ""},
		"an address, other names":    {[]string{"c.test"}, "::1", map[string][]string{"": {"::1", "b.test"}}, "nor for any other name that is known"},
		"no host, as in nobody's":    {[]string{"a.test"}, "", nil, "nobody says whom"},
		"a name, known for the rest": {[]string{"b.test"}, "a.test", map[string][]string{"": {"b.test"}}, "not a.test"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, a, c.names)
			if c.known != nil {
				p.files.Names = func(host string) []string { return c.known[host] }
			}
			pair := p.load()
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				config := dial(pair.Mutual(), c.host)
				config.MaxVersion = version
				s := shake(t, config, pair.Mutual())
				if c.told == "" {
					s.well(t)
					continue
				}
				require.ErrorContains(t, s.client, c.told)
				require.Error(t, s.server)
			}
		})
	}
}

// A session of before is not believed more than a certificate.
func TestASessionIsNoWayAround(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		a, b := newAuthority(t, "one"), newAuthority(t, "two")
		p := newPlace(t, a, []string{"host.test"})
		pair := p.load()
		client := pair.Client("host.test")
		client.MaxVersion, client.ClientSessionCache = version, tls.NewLRUClientSessionCache(8)

		// A server that resumes sessions, as others do.
		own, err := tls.X509KeyPair(pems(a.issue(t, []string{"host.test"})))
		require.NoError(t, err)
		other := &tls.Config{Certificates: []tls.Certificate{own}}
		shake(t, client, other).well(t)
		again := shake(t, client, other)
		again.well(t)
		require.True(t, again.resumed)
		p.trust(b)
		gone := shake(t, client, other)
		_, is := errors.AsType[x509.UnknownAuthorityError](gone.client)
		require.True(t, is, "%v", gone.client)

		// Ours does not, so nobody is accepted by what counted once.
		p.trust(a)
		client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		for _, server := range []*tls.Config{pair.Server(true), pair.Server(false), pair.Mutual()} {
			for range 3 {
				s := shake(t, client, server)
				s.well(t)
				require.False(t, s.resumed)
			}
		}
	}
}

// Whom a client believes is said once, whatever a clone asks for.
func TestWhomAClientBelievesIsSaidOnce(t *testing.T) {
	pair := newPlace(t, newAuthority(t, "one"), []string{"host.test"}).load()
	shake(t, dial(pair.Client("host.test"), "other.test"), pair.Server(false)).well(t)
	require.ErrorContains(t, shake(t, dial(pair.Client("other.test"), "host.test"), pair.Server(false)).client, "not other.test")
	require.ErrorContains(t, shake(t, dial(pair.Client(""), "host.test"), pair.Server(false)).client, "nobody says whom")
}
