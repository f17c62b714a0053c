package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// RoutesWarning is what nats-server logs, as a warning without arguments, when it starts and when it reloads its options with what
// [Pair.Mutual] returns. It is not so: all that it says is not verified is verified by the configuration itself.
const RoutesWarning = "TLS certificate chain and hostname of solicited routes will not be verified. DO NOT USE IN PRODUCTION!"

// Server is for a listener. With clients who connects must show a certificate of one of the authorities. Sessions are not resumed: each
// handshake is a whole one, against the authorities of then.
func (p *Pair) Server(clients bool) *tls.Config {
	auth := tls.NoClientCert
	if clients {
		auth = tls.RequireAndVerifyClientCert
	}
	now := func() *tls.Config {
		m := p.kept.Get()
		return &tls.Config{
			MinVersion:             tls.VersionTLS12,
			Certificates:           []tls.Certificate{*m.cert},
			ClientAuth:             auth,
			ClientCAs:              m.pool,
			SessionTicketsDisabled: true,
		}
	}
	// What follows the files is made for each handshake. The rest is for who looks at it, as nats-server does whether clients must show a
	// certificate, or uses a clone without GetConfigForClient, as it does for its monitoring: it is not weaker.
	config := now()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return now(), nil }
	config.Certificates, config.GetCertificate = nil, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.kept.Get().cert, nil }
	return config
}

// Client is for who dials whom that name, or IP address, stands for: the certificate must be for it. This process shows its own
// where the other side asks for it. What is set as ServerName in a clone changes only what is asked for, not what is believed.
func (p *Pair) Client(name string) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name}
	p.dials(config, func(string) []string { return []string{name} })
	return config
}

// Mutual is for nats-server's routes, in server.Options.Cluster.TLSConfig: for all who accept and all who dial, who both must show a
// certificate of one of the authorities. It accepts as Server(true) does. Who dials wants a certificate for the host of the route's URL,
// which nats-server sets as ServerName, or for one of Names(host).
//
// Where the host is an IP address, crypto/tls tells nobody which one it is. Then Names("") is asked, and the certificate must be for one
// of those, be they names or addresses: let it return what the certificates of all members of the cluster may be for. Without Names no
// route to an IP address is made.
//
// InsecureSkipVerify is set in it, as there is no other way to let the authorities change: [RoutesWarning] is what nats-server says of
// that.
func (p *Pair) Mutual() *tls.Config {
	p.both.Store(true)
	_ = p.Look() // which tells what is wrong
	config := p.Server(true)
	p.dials(config, func(host string) []string {
		names := []string{host}
		if p.names != nil {
			names = append(names, p.names(host)...)
		}
		return names
	})
	return config
}

// dials has a configuration check for itself whom it has dialed, with all that crypto/tls does, against the authorities of the moment:
// RootCAs cannot change. It is also called for sessions that are resumed, if a clone has a cache of them.
func (p *Pair) dials(config *tls.Config, names func(host string) []string) {
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("who was dialed has shown no certificate")
		}
		between := x509.NewCertPool()
		for _, cert := range state.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		leaf := state.PeerCertificates[0]
		_, err := leaf.Verify(x509.VerifyOptions{
			Roots:         p.kept.Get().pool,
			Intermediates: between,
			KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		if err == nil {
			err = isFor(leaf, names(state.ServerName))
		}
		if err != nil { // in this form nats-server logs who it was
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.kept.Get().cert, nil }
}

// isFor says why a certificate is for none of the names, of which those that are empty say nothing.
func isFor(leaf *x509.Certificate, names []string) error {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "" })
	if len(names) == 0 {
		return errors.New("nobody says whom the certificate must be for: dial a name, or give the names of who has this address")
	}
	first := leaf.VerifyHostname(names[0])
	if first == nil || slices.ContainsFunc(names[1:], func(name string) bool { return leaf.VerifyHostname(name) == nil }) {
		return nil
	}
	if len(names) > 1 {
		return fmt.Errorf("%w; nor for any other name that is known: %q", first, names[1:])
	}
	return first
}
