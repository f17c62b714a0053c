package rolebus

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus/internal/found"
)

// How a connection of our own follows what a strategy finds.

// begin follows the strategy, until stop, which may be called more than once, and waits for its end, not for long.
func (s *servers) begin() (stop func()) {
	if s.strategy == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var finding sync.WaitGroup
	finding.Go(func() { s.find(ctx) })
	return func() {
		cancel()
		finding.Wait()
	}
}

// option has nats.go leave to us what the servers are. It goes behind the user's options.
func (s *servers) option(o *nats.Options) error {
	if s.strategy == nil {
		return nil
	}
	s.noTLS = o.TLSConfig == nil && o.TLSCertCB == nil && o.RootCAsCB == nil && !o.Secure
	s.tls = s.verify(o.TLSConfig, o.RootCAsCB)
	o.TLSConfig = s.tls
	// With a limit on tries nats.go gives up, when there is such a function, once the server that it tried last has had its tries, whatever
	// the others have.
	if !o.IgnoreDiscoveredServers && (o.MaxReconnect < 0 || o.ReconnectToServerCB != nil) {
		chosen := o.ReconnectToServerCB
		o.ReconnectToServerCB = func(pool []nats.Server, last nats.ServerInfo) (*nats.Server, time.Duration) {
			s.hear(last.ConnectURLs)
			if chosen == nil {
				return nil, 0
			}
			return chosen(pool, last)
		}
	}
	return nil
}

// followServers gives nats.go the servers to which the connection may go, whenever that changes, whether it is up or not, until the Bus
// has parted.
func (b *Bus) followServers(stop func()) {
	defer stop()
	s, f := b.dialer.servers, &followed{}
	for {
		next := s.next()
		b.giveServers(f)
		pause := time.NewTimer(calm)
		select {
		case <-pause.C:
		case <-b.parted:
		}
		pause.Stop()
		select {
		case <-next:
		case <-b.parted:
			return
		}
	}
}

const (
	calm = 50 * time.Millisecond // between two lists: nats.go does nothing else meanwhile, and somebody's may change without end
	many = 100                   // servers
)

// followed is what nats.go and the hooks have.
type followed struct {
	nc   *nats.Conn
	had  []string // it has; nil: nothing of us
	told []string // the hooks have

	made   uint64 // how often nats.go had connected again, when it was asked last
	unsure bool   // it did so while it was given a list, and may take the first of that for the one that it is connected to
}

// here returns the URL of the server that nats.go is connected to; "" if there is none, or it may be wrong.
func (f *followed) here() string {
	if made := f.nc.Stats().Reconnects; made != f.made {
		f.made, f.unsure = made, false
	}
	if f.unsure {
		return ""
	}
	return f.nc.ConnectedUrl()
}

// given notes that nats.go was given a list just now.
func (f *followed) given() {
	if made := f.nc.Stats().Reconnects; made != f.made {
		f.made, f.unsure = made, true
	}
}

// giveServers gives nats.go the servers if they are others than those that it had, or if their order is to begin anew.
func (b *Bus) giveServers(f *followed) {
	nc := b.nc.conn()
	if nc != f.nc {
		f.nc, f.had, f.made, f.unsure = nc, nil, 0, false
	}
	s := b.dialer.servers
	turned, here, now := s.hasTurned(), f.here(), nc.ConnectedUrl() // not what was told of the connection, which may be late
	up := now != ""
	if up {
		s.linked(nc.Opts.Secure, isWeb(now)) // nats.go's word for how it is asks without its lock
	}
	urls := s.urls(!b.dialer.keepOrder)
	if here != "" && !slices.Contains(urls, here) {
		// It stays, found or not, for as long as it is connected to: nats.go takes the first one of the list for it otherwise.
		urls = append(urls, here)
	}
	came, went := found.Diff(f.had, urls)
	// While it is connected nats.go turns its list: those of the lowest priority come first again the next time.
	again := turned && up && s.ranked() && len(f.had) > 0
	if len(urls) == 0 || len(came)+len(went) == 0 && !again {
		return
	}
	err := setServers(nc, urls, up)
	f.given()
	if err != nil {
		if !nc.IsClosed() {
			s.log.Warn("NATS does not take the servers that were found, it goes on with those before", "error", err)
		}
		return
	}
	f.had = urls
	if came, went = found.Diff(f.told, urls); len(came)+len(went) == 0 {
		return
	}
	f.told = urls
	info := ServersInfo{Servers: hosts(urls), Came: hosts(came), Went: hosts(went)}
	s.log.Info("the servers that the connection may go to", "servers", len(urls), "came", info.Came, "went", info.Went)
	b.hooks.tellServers(info)
}

// setServers is SetServerPool. That compares each server with each that there was, while the connection stands still: a second for a thousand.
func setServers(nc *nats.Conn, urls []string, up bool) error {
	here := nc.ConnectedUrl()
	if !up || here == "" || len(urls) <= many {
		return nc.SetServerPool(urls)
	}
	var before []string
	for _, one := range nc.ServerPool() {
		before = append(before, one.URL.String())
	}
	if err := nc.SetServerPool([]string{here}); err != nil {
		return err
	}
	err := nc.SetServerPool(urls)
	if err != nil {
		_ = nc.SetServerPool(before) // fails only if the connection is closed
	}
	return err
}

// choose takes the servers that the next try goes to: a few of many, so that it ends in time, until each had its turn; then all is begun anew,
// and it says that the round is over. It waits until there are any; false if ctx is over before.
func (d *dialer) choose(ctx context.Context) bool {
	const few = 8
	for {
		next := d.servers.next()
		d.servers.unlink()
		all := d.servers.urls(!d.keepOrder)
		if d.round { // it is over: all have their turn again, also where new ones come without end
			if !d.keepOrder && !d.servers.ranked() {
				all = slices.Concat(d.those(all, false), d.those(all, true)) // first those that nobody has tried
			}
			d.tried = nil
		}
		left := d.those(all, false)
		if len(left) == 0 {
			left, d.tried = all, nil
		}
		if n := min(len(left), few); n > 0 {
			d.round = n == len(left)
			if d.tried == nil {
				d.tried = map[string]bool{}
			}
			for _, u := range left[:n] {
				d.tried[u] = true
			}
			d.to.Servers = left[:n:n]
			d.to.NoRandomize = d.keepOrder || d.servers.ranked()
			d.to.Secure = d.secure || slices.ContainsFunc(all, secureURL) // whichever of them this try goes to
			if d.to.TLSConfig = d.servers.tls; d.servers.noTLS && !d.to.Secure && strings.HasPrefix(left[0], "ws:") {
				d.to.TLSConfig = nil // by WebSocket nats.go takes one for the wish for TLS; else the server may want it, too
			}
			return true
		}
		d.why.tell(time.Now(), d.servers.none(), "node", d.node)
		timer := time.NewTimer(tellAgain)
		select {
		case <-next:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}

// those returns the URLs that were tried in this round, or those that were not.
func (d *dialer) those(all []string, tried bool) []string {
	return slices.DeleteFunc(slices.Clone(all), func(u string) bool { return d.tried[u] != tried })
}

// await waits for so long, or until other servers are found, but an eighth of it at least: they may be others without end, and whoever
// refuses is not to be asked without end.
func (s *servers) await(ctx context.Context, d time.Duration) {
	next := s.next()
	least, most := time.NewTimer(d/8), time.NewTimer(d)
	defer least.Stop()
	defer most.Stop()
	select {
	case <-least.C:
	case <-ctx.Done():
		return
	}
	select {
	case <-next:
	case <-most.C:
	case <-ctx.Done():
	}
}

// hosts are URLs for people: without users and passwords.
func hosts(urls []string) []string {
	all := make([]string, 0, len(urls))
	for _, u := range urls {
		if u, err := url.Parse(u); err == nil {
			all = append(all, u.Host)
		}
	}
	return all
}
