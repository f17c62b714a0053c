package rolebus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Whom a certificate must be for. nats.go asks for the host of the server's URL, and lets nobody say another name for one server alone. Of
// those that are found many are IP addresses, and their certificates are for the name that was looked up, or for that in the URL beside the
// strategy.

// verify has the certificate of a server whose host is an IP address be for any name by which the servers are known; that of another one
// for its host, as ever, or for the TLSName of an address with that host. What the user's own configuration says about names, or that nothing is checked, stays.
func (s *servers) verify(user *tls.Config, roots func() (*x509.CertPool, error)) *tls.Config {
	if user == nil {
		user = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if user.ServerName != "" || user.InsecureSkipVerify {
		return user
	}
	ours := user.Clone()
	ours.InsecureSkipVerify = true // it is done here, with all that crypto/tls would do
	ours.VerifyConnection = func(state tls.ConnectionState) error {
		chains := x509.VerifyOptions{Roots: user.RootCAs, Intermediates: x509.NewCertPool()}
		if user.Time != nil {
			chains.CurrentTime = user.Time()
		}
		if roots != nil {
			pool, err := roots()
			if err != nil {
				return err
			}
			chains.Roots = pool
		}
		for _, cert := range state.PeerCertificates[1:] {
			chains.Intermediates.AddCert(cert)
		}
		leaf := state.PeerCertificates[0]
		verified, err := leaf.Verify(chains)
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		if err := isFor(leaf, s.names(state.ServerName)); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		state.VerifiedChains = verified
		if user.VerifyPeerCertificate != nil && !state.DidResume { // as crypto/tls has it
			raw := make([][]byte, len(state.PeerCertificates))
			for i, cert := range state.PeerCertificates {
				raw[i] = cert.Raw
			}
			if err := user.VerifyPeerCertificate(raw, verified); err != nil {
				return err
			}
		}
		if user.VerifyConnection != nil {
			return user.VerifyConnection(state)
		}
		return nil
	}
	ours.VerifyPeerCertificate = nil // called above, with the chains that it expects
	return ours
}

// isFor says why a certificate is for none of the names.
func isFor(leaf *x509.Certificate, names []string) error {
	var first error
	for _, name := range names {
		err := leaf.VerifyHostname(name)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = errors.New("no name is known for the server")
	}
	return fmt.Errorf("%w; nor for any other name of the servers: give the name by discovery.TLSName, or as tls.Config.ServerName", first)
}
