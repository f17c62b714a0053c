package discovery_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/internal/dnstest"
	"github.com/rolebus/rolebus/internal/replaced"
)

// often is how often strategies ask here.
var often = []discovery.Option{discovery.Interval(100 * time.Millisecond), discovery.MaxBackoff(100 * time.Millisecond)}

func with(more ...discovery.Option) []discovery.Option { return append(more, often...) }

func byBoard(*testing.T, *replaced.Cluster) replaced.Source {
	b := newBoard()
	return replaced.Source{
		Strategy: func() rolebus.Strategy { return b },
		Tell:     func(list []rolebus.Address) { b.tell(ofDomain(list), nil) },
	}
}

// write puts a file into its place as a whole.
func write(t *testing.T, file, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(file+".new", file))
}

func text(list []rolebus.Address) string {
	var lines strings.Builder
	for _, a := range list {
		lines.WriteString(a.HostPort() + "\n")
	}
	return lines.String()
}

func byFile(t *testing.T, _ *replaced.Cluster) replaced.Source {
	src, _ := fileSource(t)
	return src
}

func fileSource(t *testing.T, opts ...discovery.Option) (src replaced.Source, file string) {
	file = filepath.Join(t.TempDir(), "servers")
	opts = with(append(opts, discovery.TLSName(replaced.Domain))...)
	return replaced.Source{
		Strategy: func() rolebus.Strategy { return discovery.File(file, opts...) },
		Tell:     func(list []rolebus.Address) { write(t, file, text(list)) },
	}, file
}

// byDNS has the name of the certificates stand for all servers. It is the name that is looked up, so nobody has to say it again.
func byDNS(t *testing.T, c *replaced.Cluster) replaced.Source { return dnsSource(c, dnstest.New(t)) }

func dnsSource(c *replaced.Cluster, d *dnstest.Server, opts ...discovery.Option) replaced.Source {
	opts = with(append(opts, discovery.WithResolver(d.Resolver()), discovery.Port(c.Port()))...)
	return replaced.Source{
		Strategy: func() rolebus.Strategy { return discovery.DNS(replaced.Domain+".", opts...) },
		Tell: func(list []rolebus.Address) {
			var ips []string
			for _, a := range list {
				ips = append(ips, a.Host)
			}
			d.Set(replaced.Domain, ips...)
		},
	}
}

// bySRV has each server be known by its own name and port. Its address is looked up by who connects.
func bySRV(t *testing.T, _ *replaced.Cluster) replaced.Source {
	d := dnstest.New(t)
	const service = "_nats._tcp." + replaced.Domain + "."
	host := func(a rolebus.Address) string { return a.Server + "." + replaced.Domain }
	return replaced.Source{
		Strategy: func() rolebus.Strategy { return discovery.SRV(service, with(discovery.WithResolver(d.Resolver()))...) },
		Tell: func(list []rolebus.Address) {
			var records []dnstest.SRV
			for i, a := range list {
				d.Set(host(a), a.Host)
				records = append(records, dnstest.SRV{Target: host(a), Port: uint16(a.Port), Priority: 1, Weight: uint16(10 * i)})
			}
			d.SetSRV(service, records...)
		},
		Known: func(a rolebus.Address) string {
			a.Host = host(a)
			return a.HostPort()
		},
		NATS: []nats.Option{nats.SkipHostLookup(), nats.SetCustomDialer(&resolving{d.Resolver()})},
	}
}

// resolving connects as a machine does whose DNS server is that of the test.
type resolving struct{ resolver *net.Resolver }

func (r *resolving) Dial(network, address string) (net.Conn, error) {
	return (&net.Dialer{Resolver: r.resolver, Timeout: 5 * time.Second}).Dial(network, address)
}

// byGossip has each server be made known by a process beside it, as long as it runs.
func byGossip(t *testing.T, _ *replaced.Cluster) replaced.Source {
	return announcedSource(t, discovery.Gossip("replaced", "a secret of this test",
		discovery.ListenAddress("127.0.0.1"), discovery.GossipPort(udpPort(t)), discovery.Interval(100*time.Millisecond)))
}

func announcedSource(t *testing.T, by rolebus.Strategy) replaced.Source {
	speaking := map[rolebus.Address]func(){}
	t.Cleanup(func() {
		for _, stop := range speaking {
			stop()
		}
	})
	return replaced.Source{
		Strategy: func() rolebus.Strategy { return by },
		Tell: func(list []rolebus.Address) {
			now := map[rolebus.Address]func(){}
			for _, a := range ofDomain(list) {
				if now[a] = speaking[a]; now[a] == nil {
					now[a] = announce(t, by, a)
				}
				delete(speaking, a)
			}
			for _, stop := range speaking {
				stop()
			}
			speaking = now
		},
	}
}

// announce makes an address known until stop.
func announce(t *testing.T, by rolebus.Strategy, a rolebus.Address) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var announcing sync.WaitGroup
	announcing.Go(func() {
		if err := by.(discovery.Announcer).Announce(ctx, []rolebus.Address{a}); err != nil {
			t.Error(err)
		}
	})
	return func() {
		cancel()
		announcing.Wait()
	}
}

// udpPort is one that nobody has.
func udpPort(t *testing.T) int {
	t.Helper()
	conn, err := net.ListenUDP("udp", nil)
	require.NoError(t, err)
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).Port
}
