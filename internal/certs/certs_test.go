package certs_test

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/internal/certs"
)

// What is wrong at first is an error, which says which file, what it is, and what mends it.
func TestLoadSaysAtOnceWhatIsWrong(t *testing.T) {
	a := newAuthority(t, "one")
	cert, key := a.issue(t, []string{"host.test"})
	_, otherKey := a.issue(t, []string{"host.test"})
	for name, wrong := range map[string]struct {
		change func(p *place)
		told   []string
	}{
		"no certificate file": {func(p *place) { os.Remove(p.files.Cert) }, []string{"tls.crt", "file does not exist", "create it"}},
		"no path":             {func(p *place) { p.files.Key = "" }, []string{"the path of a file is empty"}},
		"a directory":         {func(p *place) { p.files.Key = t.TempDir() }, []string{"no regular file but a directory", "put a regular file there"}},
		"empty CA":            {func(p *place) { write(t, p.files.CA, "") }, []string{"ca.crt", "no certificate in it", "PEM"}},
		"CA of words":         {func(p *place) { write(t, p.files.CA, "hello") }, []string{"ca.crt", "no certificate in it"}},
		"CA cut off": {func(p *place) { write(t, p.files.CA, a.pem+a.pem[:len(a.pem)/2]) },
			[]string{"ca.crt", "1 of 2 PEM blocks cannot be read", "is it whole"}},
		"CA damaged": {func(p *place) { write(t, p.files.CA, a.pem+block("CERTIFICATE", []byte("no"))) },
			[]string{"ca.crt", "certificate 2: ", "openssl x509"}},
		"a key of another certificate": {func(p *place) { p.put(cert, otherKey) },
			[]string{"tls.key", "does not match", "it must be the key of the first certificate in file", "tls.crt"}},
		"no key":           {func(p *place) { p.put(cert, cert) }, []string{"tls.key", "it must be the key of"}},
		"a key of words":   {func(p *place) { p.put(cert, "secret words") }, []string{"tls.key", "no key in it"}},
		"an encrypted key": {func(p *place) { p.put(cert, block("ENCRYPTED PRIVATE KEY", []byte("x"))) }, []string{"tls.key", "encrypted", "openssl pkey"}},
		"a huge file":      {func(p *place) { write(t, p.files.Cert, strings.Repeat("#", 1<<20+1)) }, []string{"tls.crt", "too large", "1024 KiB"}},
		"everything": {func(p *place) { p.put(key, cert); p.trust() },
			[]string{"tls.crt: it has no certificate in it", "ca.crt: it has no certificate in it"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, a, []string{"host.test"})
			wrong.change(p)
			pair, err := certs.Load(p.files, nil)
			require.Nil(t, pair)
			require.Error(t, err)
			for _, part := range wrong.told {
				require.Contains(t, err.Error(), part)
			}
			require.NotContains(t, err.Error(), "secret words")
		})
	}
}

// What may be mended while the process runs is a warning.
func TestWhatOthersMayRefuseIsAWarning(t *testing.T) {
	a, b := newAuthority(t, "one"), newAuthority(t, "two")
	for name, warned := range map[string]struct {
		change func(of *x509.Certificate)
		then   func(p *place)
		told   string
	}{
		"expired":       {expired, nil, "expired at"},
		"not yet valid": {unripe, nil, "counts only from"},
		"server only":   {usage(x509.ExtKeyUsageServerAuth), nil, "extended key usage is not for TLS clients"},
		"client only":   {usage(x509.ExtKeyUsageClientAuth), nil, "extended key usage is not for TLS servers"},
		"of no authority here": {func(*x509.Certificate) {}, func(p *place) { p.trust(b) },
			"none of the authorities here has signed it"},
		"readable": {func(*x509.Certificate) {}, func(p *place) { require.NoError(t, os.Chmod(p.files.Key, 0o644)) }, "every user of this machine may read it"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, a, []string{"host.test"}, warned.change)
			if warned.then != nil {
				warned.then(p)
			}
			pair := p.load()
			pair.Pace(time.Hour, 0)
			pair.Client("host.test")
			pair.Server(true)
			pair.Mutual() // does not wait for the next look
			require.Equal(t, 1, p.log.count("level=WARN", warned.told), p.log)
			require.ErrorContains(t, pair.Look(), warned.told)
			require.Equal(t, 1, p.log.count("level=WARN", warned.told), p.log)
			require.Equal(t, 1, p.log.count("level="), p.log)

			p.put(a.issue(t, []string{"host.test"}, usage(x509.ExtKeyUsageAny)))
			require.NoError(t, os.Chmod(p.files.Key, 0o600))
			p.trust(a)
			require.NoError(t, pair.Look())
			require.Equal(t, 1, p.log.count("level=INFO", "nothing is wrong with the files any more", warned.told), p.log)
		})
	}
}

// What is in use stays whatever happens to the files, and each thing is told once.
func TestTheLastGoodOnesStay(t *testing.T) {
	a, b := newAuthority(t, "one"), newAuthority(t, "two")
	p := newPlace(t, a, []string{"host.test"})
	pair := p.load()
	client, server := pair.Client("host.test"), pair.Server(true)
	first := shake(t, client, server)
	first.well(t)
	_, otherKey := a.issue(t, []string{"host.test"})
	old, err := os.ReadFile(p.files.Cert)
	require.NoError(t, err)
	for _, bad := range []struct {
		change func()
		told   string
	}{
		{func() { os.Remove(p.files.Cert) }, "tls.crt: file does not exist"},
		{func() { write(t, p.files.Cert, "") }, "tls.crt: it has no certificate in it"},
		{func() { write(t, p.files.Cert, string(old)[:len(old)-20]) }, "tls.crt: 1 of 1 PEM blocks cannot be read"},
		{func() { p.put(string(old), otherKey) }, "tls.key: private key does not match"},
		{func() { p.put(a.issue(t, []string{"host.test"}, expired)) }, "that of before stays in use"},
		{func() { p.put(a.issue(t, []string{"host.test"}, unripe)) }, "counts only from"},
		{func() { write(t, p.files.CA, "") }, "ca.crt: it has no certificate in it"},
		{func() { write(t, p.files.CA, a.pem[:300]) }, "ca.crt: 1 of 1 PEM blocks cannot be read"},
		{func() { os.Remove(p.files.CA); os.Mkdir(p.files.CA, 0o700) }, "ca.crt: it is no regular file but a directory"},
	} {
		bad.change()
		for range 3 {
			now := shake(t, client, server)
			now.well(t)
			require.True(t, now.seen.Equal(first.seen))
		}
		require.Equal(t, 1, p.log.count("level=WARN", bad.told), "%s\n%s", bad.told, p.log)
	}
	require.Zero(t, p.log.count("replaced"), p.log)

	// The certificate is bad still: new authorities do not wait for it. It is of a, so it is refused when only b counts.
	require.NoError(t, os.Remove(p.files.CA))
	p.trust(b)
	require.Error(t, shake(t, client, server).client)
	require.Equal(t, 1, p.log.count("certificate authorities replaced", "CN=one", "CN=two"), p.log)
	for range 3 {
		require.ErrorContains(t, pair.Look(), "counts only from")
	}
	require.Equal(t, 1, p.log.count("level=WARN", "counts only from"), p.log)

	// Nor does a new certificate wait for authorities that can be read.
	write(t, p.files.CA, b.pem+a.pem[:300])
	p.put(b.issue(t, []string{"host.test"}))
	now := shake(t, client, server)
	now.well(t)
	require.False(t, now.seen.Equal(first.seen))
	require.Error(t, pair.Look())
	p.trust(b)
	shake(t, client, server).well(t)
	require.Equal(t, 1, p.log.count("level=INFO", "certificate replaced", "serial="+now.seen.SerialNumber.Text(16), "notAfter="), p.log)
	require.Equal(t, 1, p.log.count("nothing is wrong with the files any more"), p.log)
}

// A certificate and its key that are written one after the other are taken when they fit.
func TestACertificateIsTakenWhenItsKeyFits(t *testing.T) {
	a := newAuthority(t, "one")
	for _, keyFirst := range []bool{false, true} {
		p := newPlace(t, a, []string{"host.test"})
		pair := p.load()
		client, server := pair.Client("host.test"), pair.Server(false)
		before := shake(t, client, server)
		before.well(t)

		cert, key := a.issue(t, []string{"host.test"})
		steps := []func(){func() { write(t, p.files.Cert, cert) }, func() { write(t, p.files.Key, key) }}
		if keyFirst {
			steps[0], steps[1] = steps[1], steps[0]
		}
		steps[0]()
		for range 3 {
			half := shake(t, client, server)
			half.well(t)
			require.True(t, half.seen.Equal(before.seen))
		}
		require.Equal(t, 1, p.log.count("level=WARN"), p.log)
		steps[1]()
		after := shake(t, client, server)
		after.well(t)
		require.False(t, after.seen.Equal(before.seen))
		require.Equal(t, 1, p.log.count("certificate replaced"), p.log)
	}
}

// Kubernetes replaces the files of a volume by a link to another directory.
func TestFilesBehindALinkThatIsSwapped(t *testing.T) {
	a, b := newAuthority(t, "one"), newAuthority(t, "two")
	dir := t.TempDir()
	put := func(version string, a *authority) {
		require.NoError(t, os.Mkdir(dir+"/"+version, 0o700))
		cert, key := a.issue(t, []string{"host.test"})
		write(t, dir+"/"+version+"/tls.crt", cert)
		write(t, dir+"/"+version+"/tls.key", key)
		write(t, dir+"/"+version+"/ca.crt", a.pem)
		require.NoError(t, os.Symlink(version, dir+"/..tmp"))
		require.NoError(t, os.Rename(dir+"/..tmp", dir+"/..data"))
	}
	put("..1", a)
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		require.NoError(t, os.Symlink("..data/"+name, dir+"/"+name))
	}
	log := &lines{}
	pair, err := certs.Load(certs.Files{Cert: dir + "/tls.crt", Key: dir + "/tls.key", CA: dir + "/ca.crt"}, log.logger())
	require.NoError(t, err)
	pair.Pace(0, 0)
	client, server := pair.Client("host.test"), pair.Server(true)
	shake(t, client, server).well(t)
	put("..2", b)
	require.NoError(t, os.RemoveAll(dir+"/..1"))
	now := shake(t, client, server)
	now.well(t)
	require.Equal(t, "CN=two", now.seen.Issuer.String())
	require.Zero(t, log.count("level=WARN"), log)
}
