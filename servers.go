package rolebus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolebus/rolebus/internal/found"
)

// servers are those that a connection of our own may go to: of the URL, found by a strategy, and, when there is no connection, those that
// the last server told of. Never none, once there was one: nats.go takes an empty list, and gives up at the next break.
//
//	URL      -> given ---\
//	strategy -> found ----> urls -> nats.go's pool
//	INFO     -> told  ---/
type servers struct {
	strategy Strategy // nil: there is only the URL
	log      *slog.Logger

	given  []string // parts of the URL
	scheme string   // of the first of them; "" if there is none
	user   *url.Userinfo

	tls   *tls.Config // that has certificates be for whom the strategy says
	noTLS bool        // the user says nothing of TLS

	mu      sync.Mutex
	found   []Address
	told    []string // host:port
	why     error    // why nothing is found yet
	logged  found.Complaints
	turned  bool            // the connection was lost, or is back, since that was looked at
	odd     map[string]bool // addresses that the log has, of those that stand now
	plain   bool            // there is a connection that does not insist on TLS
	kind    string          // "nats" or "ws": of the last connection; "" before the first
	changed chan struct{}   // closed when found or told change, or the connection comes or goes
}

func newServers(urls string, o *options) *servers {
	s := &servers{strategy: o.discovery, log: o.log.With("node", o.node), changed: make(chan struct{})}
	for part := range strings.SplitSeq(urls, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if u, err := url.Parse(withScheme(part)); err == nil {
			s.scheme = cmp.Or(s.scheme, u.Scheme)
			if s.user == nil {
				s.user = u.User
			}
			if u.Port() == "" { // as nats.go has it, so that each is known by one URL
				u.Host = Address{Host: u.Hostname(), Scheme: u.Scheme}.HostPort()
			}
			part = u.String()
		}
		s.given = append(s.given, part)
	}
	return s
}

// change lets whoever waits know. The caller holds mu.
func (s *servers) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// next returns a channel that is closed at the next change.
func (s *servers) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// find follows the strategy until ctx is over.
func (s *servers) find(ctx context.Context) {
	found.Following[Address]{
		Name: found.NameOf(s.strategy), Check: Address.Check, Log: s.log,
		// Not s.strategy.Discover: to take that of a nil pointer may panic, here.
		Discover: func(ctx context.Context, found func([]Address, error)) error { return s.strategy.Discover(ctx, found) },
		Changed: func(list []Address) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.found = list
			s.change()
		},
		Failed: func(err error) {
			s.mu.Lock()
			s.why = err
			news := s.logged.Now(time.Now(), err.Error())
			s.mu.Unlock() // whoever writes logs may use the connection, which may ask whom a certificate is for
			if news {
				s.log.Warn("discovery failed, what was found before stays", "strategy", found.NameOf(s.strategy), "error", err)
			}
		},
	}.Follow(ctx)
}

// hear takes in what a server told of others, and no more than any source may.
func (s *servers) hear(told []string) {
	told = told[:min(len(told), found.Most)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.told, told) {
		s.told = slices.Clone(told)
		s.change()
	}
}

// linked takes in that there is a connection, which insists on TLS or not, and is one by WebSocket or not: nats.go decides both once for
// all its servers.
func (s *servers) linked(tls, web bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kind = "nats"
	if web {
		s.kind = "ws"
	}
	s.told = nil // nats.go knows what this server tells
	s.plain = !tls
}

// unlink takes in that another connection is made: it may insist on TLS.
func (s *servers) unlink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plain = false
}

// relink takes in that the connection is lost, or back: to another server, maybe.
func (s *servers) relink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turned = true
	s.change()
}

// hasTurned says whether the connection was lost, or is back, since it was asked last.
func (s *servers) hasTurned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.turned
	s.turned = false
	return was
}

// candidate is one that may be connected to.
type candidate struct {
	url      string
	priority uint16
	weight   float64
}

// urls returns the servers as nats.go takes them, in the order in which they are tried: by priority, and by chance among those of one, if
// they are to be mixed. Those that a server told of come last.
func (s *servers) urls(mix bool) []string {
	urls, unused := s.candidates(mix)
	for _, warn := range unused { // without the lock, see find
		warn()
	}
	return urls
}

func (s *servers) candidates(mix bool) (urls []string, unused []func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []candidate
	for _, part := range s.given {
		all = append(all, candidate{url: part})
	}
	scheme, odd := s.usual(), map[string]bool{}
	leave := func(a Address, why string) {
		if odd[a.String()] = true; !s.odd[a.String()] { // once, when it appears
			unused = append(unused, func() { s.log.Warn("a server that was found is not used", "address", a.String(), "reason", why) })
		}
	}
	for _, a := range s.found {
		if a.Route {
			leave(a, "it is a route: servers listen there for each other, not for clients")
			continue
		}
		switch {
		case isWeb(cmp.Or(a.Scheme, scheme)) != isWeb(scheme):
			leave(a, "its scheme is "+a.Scheme+", and connections with "+scheme+" go to nats and tls, or to ws and wss, only")
		case s.plain && wantsTLS(a.Scheme):
			leave(a, "it wants TLS, on which the connection does not insist: give a URL with tls, or nats.Secure by WithNATS")
		default:
			a.Scheme = cmp.Or(a.Scheme, scheme) // which says the usual port, too
			u := url.URL{Scheme: a.Scheme, User: s.user, Host: a.HostPort()}
			all = append(all, candidate{url: u.String(), priority: a.Priority, weight: float64(a.Weight)})
		}
	}
	if len(all) == 0 && len(s.found) > 0 {
		s.why = errors.New("no client can use any of the addresses that were found")
	}
	s.odd = odd
	if mix {
		byWeight(all)
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(a.priority, b.priority) })
	for _, one := range all {
		urls = append(urls, one.url)
	}
	for _, host := range s.told {
		// nats.go refuses all of a list for one that is none.
		if a, err := ParseAddress(host); err == nil && a.Port != 0 && a.Scheme == "" {
			u := url.URL{Scheme: scheme, User: s.user, Host: a.HostPort()}
			urls = append(urls, u.String())
		}
	}
	return withoutTwins(urls), unused
}

// usual is the scheme of servers that have none, and so says whether they are ws: that of the URL, else that of the first one found, of those
// to which a connection that there is, or was, may go. The caller holds mu.
func (s *servers) usual() string {
	if s.scheme != "" {
		return s.scheme
	}
	otherwise := "nats"
	if s.kind == "ws" {
		otherwise = s.kind
	}
	for _, a := range s.found {
		scheme := cmp.Or(a.Scheme, otherwise)
		if !a.Route && (s.kind == "" || isWeb(scheme) == isWeb(s.kind)) && !(s.plain && wantsTLS(scheme)) {
			return scheme
		}
	}
	return otherwise
}

// byWeight brings servers into an order by chance in which one of twice the weight is twice as often before another. A weight of 0 is a small
// one where others have some (RFC 2782), and the same for all where none has.
func byWeight(all []candidate) {
	keys := make(map[string]float64, len(all))
	for _, one := range all {
		keys[one.url] = rand.ExpFloat64() / max(one.weight, 0.1)
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(keys[a.url], keys[b.url]) })
}

func withoutTwins(urls []string) []string {
	seen := make(map[string]bool, len(urls))
	return slices.DeleteFunc(urls, func(u string) bool {
		was := seen[u]
		seen[u] = true
		return was
	})
}

// ranked says whether some servers come before others.
func (s *servers) ranked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.found, func(a Address) bool { return a.Priority+a.Weight > 0 })
}

// none says why there is no server to connect to.
func (s *servers) none() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != nil {
		return fmt.Errorf("no NATS server is found yet: %s: %w", found.NameOf(s.strategy), s.why)
	}
	return fmt.Errorf("no NATS server is found yet: %s has told nothing", found.NameOf(s.strategy))
}

// names are those that the certificate of a server may be for: its host, and what the addresses with that host say; of one whose host is
// an IP address, which crypto/tls does not tell and "" stands for, all by which the servers are known. What a server told is not among them: it
// tells it before anybody knows who it is.
func (s *servers) names(host string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if host != "" {
		names := []string{host}
		for _, a := range s.found {
			if a.TLSName != "" && !a.Route && strings.EqualFold(strings.TrimSuffix(a.Host, "."), host) {
				names = append(names, a.TLSName)
			}
		}
		return names
	}
	var names []string
	for _, part := range s.given {
		if u, err := url.Parse(withScheme(part)); err == nil {
			names = append(names, u.Hostname())
		}
	}
	for _, a := range s.found {
		if !a.Route {
			names = append(names, a.TLSName, a.Host)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}
