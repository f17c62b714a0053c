package embedded

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/rolebus/rolebus/internal/certs"
)

// security is how processes and servers know each other.
type security struct {
	secrets   func() []string
	cluster   *certs.Pair // nil: none
	clientTLS *certs.Pair
	clients   bool // show a certificate

	names atomic.Pointer[[]string] // that the certificates of members may be for: nats-server does not say which host of several a route leads to
}

func newSecurity(cfg *config, log *slog.Logger) (*security, error) {
	s := &security{secrets: func() []string { return cfg.cluster.secrets }}
	s.names.Store(&[]string{})
	cfg.cluster.routeTLS.Names = func(string) []string { return *s.names.Load() }
	var errs []error
	if cfg.cluster.secretFile != "" {
		file, err := certs.Secrets(cfg.cluster.secretFile, log)
		if err == nil {
			s.secrets = file.Secrets
		}
		errs = append(errs, err)
	}
	for _, tls := range []struct {
		files certs.Files
		to    **certs.Pair
	}{{cfg.cluster.routeTLS, &s.cluster}, {cfg.cluster.clientTLS, &s.clientTLS}} {
		if tls.files.Cert == "" {
			continue
		}
		var err error
		*tls.to, err = certs.Load(tls.files, log)
		errs = append(errs, err)
	}
	s.clients = cfg.cluster.clientTLS.CA != ""
	return s, errors.Join(errs...)
}

// look looks at the files until ctx is over: connections last, and without new ones nobody would, nor be told that something is wrong, as that a
// certificate is about to be of no use.
func (s *security) look(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, pair := range []*certs.Pair{s.cluster, s.clientTLS} {
				if pair != nil {
					_ = pair.Look() // which tells what is wrong
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

const lookEvery = 2 * time.Second

func (s *security) routes(cluster string) *routeAuth {
	a := &routeAuth{secrets: s.secrets, cluster: cluster}
	if s.cluster != nil {
		a.routeTLS = s.cluster.Mutual()
	}
	if s.clientTLS != nil {
		a.clientTLS = s.clientTLS.Server(s.clients)
	}
	return a
}
