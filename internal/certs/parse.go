package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rolebus/rolebus/internal/reread"
)

// parse makes of what is in the files what can be used. The certificate and the authorities stand for themselves: the one that is good is
// taken, and the other one stays as it was. Without an old one both must be good.
func parse(f Files, now time.Time, texts []string, old *material) (*material, []error) {
	m := &material{texts: texts}
	var wrong []error
	var err error
	if m.cert, err = parsePair(f, texts[0], texts[1]); err == nil && old != nil {
		err = worse(f, now, m.cert.Leaf, old.cert.Leaf)
	}
	if err != nil {
		wrong = append(wrong, err)
	}
	certWrong := err != nil
	err = nil
	if f.CA != "" {
		if m.cas, err = parseCerts(f.CA, texts[2]); err != nil {
			wrong = append(wrong, err)
		}
	}
	if len(wrong) > 0 {
		if old == nil {
			return nil, wrong
		}
		m.texts = nil // so they are parsed again at the next look: what is not good now may be then
		if certWrong {
			m.cert = old.cert
		}
		if err != nil {
			m.cas = old.cas
		}
		if m.says(old) {
			return old, wrong
		}
	}
	m.pool = x509.NewCertPool()
	for _, ca := range m.cas {
		m.pool.AddCert(ca)
	}
	return m, wrong
}

func (m *material) says(other *material) bool {
	return slices.EqualFunc(m.cert.Certificate, other.cert.Certificate, bytes.Equal) && slices.EqualFunc(m.cas, other.cas, (*x509.Certificate).Equal)
}

// parsePair returns a certificate with its key.
func parsePair(f Files, cert, key string) (*tls.Certificate, error) {
	if _, err := parseCerts(f.Cert, cert); err != nil {
		return nil, err
	}
	switch {
	case !strings.Contains(key, "-----BEGIN "):
		return nil, reread.Wrong(f.Key, "put the key of file "+f.Cert+" there, as PEM", "it has no key in it")
	case strings.Contains(key, "ENCRYPTED"): // by the type of its block, or by its header
		return nil, reread.Wrong(f.Key, "openssl pkey -in FILE -out FILE takes the password away", "its key is encrypted")
	}
	pair, err := tls.X509KeyPair([]byte(noMark(cert)), []byte(noMark(key)))
	if err != nil {
		return nil, reread.Wrong(f.Key, "it must be the key of the first certificate in file "+f.Cert+", as PEM", "%s", strings.TrimPrefix(err.Error(), "tls: "))
	}
	return &pair, nil
}

// parseCerts returns all certificates of a file. Where crypto/x509 would pass over what it cannot read, it is an error: else a file in which
// an authority is damaged would be one in which it is not.
func parseCerts(path, text string) (certs []*x509.Certificate, err error) {
	text = noMark(text)
	blocks, rest := 0, []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		blocks++
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, reread.Wrong(path, "openssl x509 -in FILE -text shows what it is", "certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	switch begun := strings.Count(text, "-----BEGIN "); {
	case begun != blocks:
		return nil, reread.Wrong(path, "is it whole? each must begin and end with a line of its own", "%d of %d PEM blocks cannot be read", begun-blocks, begun)
	case len(certs) == 0:
		return nil, reread.Wrong(path, "put it there as PEM: openssl x509 -inform der makes that of another form", "it has no certificate in it")
	}
	return certs, nil
}

// noMark is without that with which some editors begin UTF-8.
func noMark(text string) string { return strings.TrimPrefix(text, "\xef\xbb\xbf") }

// counts says why a certificate does not count now.
func counts(now time.Time, cert *x509.Certificate) error {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Errorf("the certificate of %s expired at %s", named(cert), cert.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("the certificate of %s counts only from %s on", named(cert), cert.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// worse says that a certificate does not count, and that it must not take the place of one that does.
func worse(f Files, now time.Time, cert, old *x509.Certificate) error {
	err := counts(now, cert)
	if err == nil || counts(now, old) != nil {
		return nil
	}
	return reread.Wrong(f.Cert, "that of before stays in use: put one there that is good", "%w", err)
}

// warnings are what others may find wrong with what is in use.
func (m *material) warnings(f Files, now time.Time, both bool) (wrong []error) {
	leaf := m.cert.Leaf
	if err := counts(now, leaf); err != nil {
		wrong = append(wrong, reread.Wrong(f.Cert, "others refuse it: replace it, or see to the clock of this machine", "%w", err))
	}
	for _, ca := range m.cas {
		if err := counts(now, ca); err != nil {
			wrong = append(wrong, reread.Wrong(f.CA, "whom it signed is refused: replace it", "%w", err))
		}
	}
	if !both {
		return wrong
	}
	for usage, name := range map[x509.ExtKeyUsage]string{x509.ExtKeyUsageServerAuth: "server", x509.ExtKeyUsageClientAuth: "client"} {
		if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, usage) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
			wrong = append(wrong, reread.Wrong(f.Cert, "routes are dialed and accepted with it: have it made for server auth and client auth",
				"its extended key usage is not for TLS %ss", name))
		}
	}
	between := x509.NewCertPool()
	for _, der := range m.cert.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(cert)
		}
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: m.pool, Intermediates: between, CurrentTime: leaf.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		wrong = append(wrong, reread.Wrong(f.Cert, "others refuse it, if they have the same authorities: add its own to file "+f.CA+" everywhere before it is used",
			"none of the authorities here has signed it"))
	}
	return wrong
}
