// Package certs has TLS by certificates in files that may be replaced at any time, and secrets in such files: for servers in the process,
// their routes, and their clients. What is wrong with the files never takes down what works.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rolebus/rolebus/internal/reread"
)

const mostOfFile = 1 << 20 // bytes

// Files says where the certificates are, as PEM.
type Files struct {
	Cert, Key string // what this process shows: its certificate, with those between it and the authority after it, and the key
	CA        string // the authorities that sign the others' certificates: several while one is replaced by another; "" for a server that wants no certificate of who connects

	// Names are further names that the certificate of a dialed route may be for, besides the host of its URL: see [Pair.Mutual]. It is
	// called within handshakes, by several goroutines at once, and must not block. May be nil.
	Names func(host string) []string
}

// Pair is a certificate with its key, and the authorities that others' must be of, as the files have them. Its methods may be called by
// several goroutines at once.
//
// All configurations that it makes follow the files: when a handshake begins and the last look at them was more than a second ago, they
// are read. What has changed counts once it has stood for a second, for all handshakes from then on; what is connected stays. A new
// certificate and its key may be written one after the other: until they fit, the old ones stay in use. So they do whatever else is wrong
// with the files, and a certificate that has expired, or does not count yet, never takes the place of one that is good. What is wrong is
// logged as a warning, once until it is mended, and what has been replaced as information.
type Pair struct {
	kept  *reread.Kept[material]
	names func(host string) []string
	log   *slog.Logger
	both  atomic.Bool // the certificate is shown to who dials and to who is dialed
}

// material is what the files say. It does not change.
type material struct {
	texts []string
	cert  *tls.Certificate
	cas   []*x509.Certificate
	pool  *x509.CertPool
}

// Load reads the files. It returns an error that says of each what is wrong, if they make no pair. A certificate that has expired, or
// does not count yet, is no error but a warning, as it may be mended while the process runs, and so is a key that anybody on the machine
// may read. log may be nil.
func Load(f Files, log *slog.Logger) (*Pair, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f.Cert, f.Key, f.CA = reread.Whole(f.Cert), reread.Whole(f.Key), reread.Whole(f.CA)
	p := &Pair{names: f.Names, log: log}
	files := []reread.File{
		{Path: f.Cert, Most: mostOfFile},
		{Path: f.Key, Most: mostOfFile, Secret: true},
	}
	if f.CA != "" {
		files = append(files, reread.File{Path: f.CA, Most: mostOfFile})
	}
	kept, err := reread.New(log, files, func(now time.Time, texts []string, old *material) (*material, []error) {
		return p.make(f, now, texts, old)
	}, p.changed)
	if err != nil {
		return nil, err
	}
	p.kept = kept
	return p, nil
}

// Look looks at the files now, and returns what is wrong with them, nil if nothing is. For who wants to know before a handshake does.
func (p *Pair) Look() error { return p.kept.Look() }

// Pace sets how often the files are looked at, and for how long a change must have stood. For tests.
func (p *Pair) Pace(every, quiet time.Duration) { p.kept.Pace(every, quiet) }

// make is a reread.MakeFunc.
func (p *Pair) make(f Files, now time.Time, texts []string, old *material) (*material, []error) {
	m := old
	var wrong []error
	if old == nil || !slices.Equal(old.texts, texts) {
		m, wrong = parse(f, now, texts, old)
	}
	if m == nil {
		return nil, wrong
	}
	return m, append(wrong, m.warnings(f, now, p.both.Load())...)
}

func (p *Pair) changed(old, new *material) {
	if leaf := new.cert.Leaf; !leaf.Equal(old.cert.Leaf) {
		p.log.Info("certificate replaced", "serial", leaf.SerialNumber.Text(16), "subject", leaf.Subject.String(), "notAfter", leaf.NotAfter.UTC())
	}
	count := func(in, notIn []*x509.Certificate) (names []string) {
		for _, ca := range in {
			if !slices.ContainsFunc(notIn, ca.Equal) {
				names = append(names, named(ca))
			}
		}
		return names
	}
	if added, removed := count(new.cas, old.cas), count(old.cas, new.cas); len(added)+len(removed) > 0 {
		p.log.Info("certificate authorities replaced", "added", added, "removed", removed)
	}
}

// named is how a certificate is told.
func named(cert *x509.Certificate) string {
	return cert.Subject.String() + ", serial " + cert.SerialNumber.Text(16)
}
