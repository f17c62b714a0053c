package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/embedded"
)

// The Go code of docs/DISCOVERY.md stands here, too, word for word.

// A bus that has no URL. It goes to the servers of a name and of a file, and follows both.
func Example() {
	ctx := context.Background()

	servers := discovery.Combine(
		discovery.DNS("nats.example.com."),
		discovery.File("nats-servers"), // one address a line
	)
	bus, err := rolebus.Connect(ctx, "", rolebus.WithDiscovery(servers))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
}

// resolver looks names up in itself.
type resolver map[string][]netip.Addr

func (r resolver) LookupNetIP(_ context.Context, network, host string) (all []netip.Addr, err error) {
	for _, ip := range r[host] {
		if ip.Is4() == (network == "ip4") {
			all = append(all, ip)
		}
	}
	if len(all) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return all, nil
}

func (r resolver) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", nil, errors.New("it has no services")
}

// What looks names up can be another one: a DNS server of your own, by a *net.Resolver with a Dial, or anything at all.
func ExampleDNS() {
	zone := resolver{"nats.example.com.": {netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fd00::7")}}

	servers := discovery.DNS("nats.example.com.", discovery.WithResolver(zone), discovery.Scheme("tls"))
	ctx, cancel := context.WithCancel(context.Background())
	_ = servers.Discover(ctx, func(addresses []discovery.Address, _ error) {
		fmt.Println(addresses, "with certificates for", addresses[0].TLSName)
		cancel()
	})
	// Output: [tls://10.0.0.7:4222 tls://[fd00::7]:4222] with certificates for nats.example.com
}

// A file with one address a line, which is followed as it changes.
func ExampleFile() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	hosts := filepath.Join(dir, "nats-servers")
	if err := os.WriteFile(hosts, []byte("nats-0.example.com # the old one\nnats-1.example.com:4333\n"), 0o600); err != nil {
		log.Fatal(err)
	}

	servers := discovery.File(hosts)
	ctx, cancel := context.WithCancel(context.Background())
	_ = servers.Discover(ctx, func(addresses []discovery.Address, _ error) {
		if len(addresses) == 2 {
			fmt.Println(addresses)
			cancel()
		}
	})
	// Output: [nats://nats-0.example.com:4222 nats://nats-1.example.com:4333]
}

// In Kubernetes without any right to ask its API: the headless service's name.
func ExampleServiceName() {
	fmt.Println(discovery.ServiceName("nats", "nats", "default", "cluster.local"))
	servers := discovery.SRV(discovery.ServiceName("nats", "nats", "default", "cluster.local"))
	fmt.Println(servers)
	// Output:
	// _nats._tcp.nats.default.svc.cluster.local.
	// SRV _nats._tcp.nats.default.svc.cluster.local.
}

// What is given to a strategy is checked before anything starts, and told at once.
func ExampleStatic() {
	servers := discovery.Static([]string{"nats-0.example:4222", "http://nats-1.example"}, discovery.Interval(time.Second))
	_, err := rolebus.Connect(context.Background(), "", rolebus.WithDiscovery(servers))
	fmt.Println(err)
	// Output:
	// rolebus: connect: discovery: Static: it does not take Interval; it takes Cluster, Name, Port, Routes, Scheme, TLSName, WithHooks, WithLogger
	// address "nats-1.example:0": unknown scheme "http"; known are nats, tls, ws, wss
}

// Several as one: it asks two sources, and one of them is enough.
func ExampleCombine() {
	server, err := embedded.Start()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	registry := func(context.Context) ([]discovery.Address, error) { return nil, errors.New("the registry is down") }

	servers := discovery.Combine(
		discovery.Static([]string{server.URL()}),
		discovery.Poll("registry", registry),
	)
	bus, err := rolebus.Connect(ctx, "", rolebus.WithDiscovery(servers), rolebus.WithNode("api-1"))
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	fmt.Println(bus.Name(), "is connected:", bus.Connected())
	// Output: api-1 is connected: true
}

// A function that is asked again and again.
func ExamplePoll() {
	inventory := func(context.Context, string) ([]string, error) { return []string{"10.0.0.7", "10.0.0.8:4333"}, nil }

	servers := discovery.Poll("inventory", func(ctx context.Context) ([]discovery.Address, error) {
		hosts, err := inventory(ctx, "nats")
		if err != nil {
			return nil, &discovery.Failure{Source: "inventory", Reason: discovery.ReasonUnavailable, Mend: "is the VPN up?", Err: err}
		}
		var all []discovery.Address
		for _, host := range hosts {
			a, err := discovery.ParseAddress(host)
			if err != nil {
				return all, err // the list lacks something, so that it lets nothing go
			}
			all = append(all, a)
		}
		return all, nil
	}, discovery.Interval(30*time.Second), discovery.Scheme("tls"))

	ctx, cancel := context.WithCancel(context.Background())
	_ = servers.Discover(ctx, func(addresses []discovery.Address, _ error) {
		fmt.Println(addresses)
		cancel()
	})
	// Output: [tls://10.0.0.7:4222 tls://10.0.0.8:4333]
}

// A strategy that learns by itself when something changes.
func ExampleFunc() {
	changes := make(chan []string, 1)
	changes <- []string{"10.0.0.7"}
	close(changes)

	servers := discovery.Func(func(ctx context.Context, found func([]discovery.Address, error)) error {
		for {
			select {
			case hosts, ok := <-changes:
				if !ok {
					return errors.New("the stream ended") // it is called again after a while, and what was found stays
				}
				var all []discovery.Address
				for _, host := range hosts {
					all = append(all, discovery.Address{Host: host})
				}
				found(all, nil)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	err := servers.Discover(context.Background(), func(addresses []discovery.Address, _ error) { fmt.Println(addresses) })
	fmt.Println(err)
	// Output:
	// [nats://10.0.0.7:4222]
	// the stream ended
}

// counter counts the servers that a strategy lists, and what fails.
type counter struct {
	servers atomic.Int64
	failed  atomic.Int64
}

func (c *counter) OnFound(discovery.FoundInfo) { c.servers.Add(1) }
func (c *counter) OnGone(discovery.GoneInfo)   { c.servers.Add(-1) }

func (c *counter) OnFailed(info discovery.FailedInfo) {
	c.failed.Add(1)
	log.Printf("%s: %s, %d times in a row: %v", info.Strategy, info.Reason, info.InARow, info.Err)
}

// Hooks, for metrics.
func ExampleWithHooks() {
	c := &counter{}
	servers := discovery.Static([]string{"10.0.0.7", "10.0.0.8"}, discovery.WithHooks(c))

	_ = servers.Discover(context.Background(), func([]discovery.Address, error) {})
	for c.servers.Load() < 2 { // hooks are told on a goroutine of their own: the pause of a loop that waits for it
		time.Sleep(time.Millisecond)
	}
	fmt.Println(c.servers.Load(), "servers,", c.failed.Load(), "failures")
	// Output: 2 servers, 0 failures
}

// One's own strategy, with hooks and a log.
func ExampleWith() {
	mine := discovery.Func(func(_ context.Context, found func([]discovery.Address, error)) error {
		found([]discovery.Address{{Host: "10.0.0.7"}}, nil)
		return nil // a list that never changes
	})
	c := &counter{}
	servers := discovery.With(mine, discovery.Name("mine"), discovery.WithHooks(c))

	ctx, cancel := context.WithCancel(context.Background())
	_ = servers.Discover(ctx, func(addresses []discovery.Address, _ error) {
		fmt.Println(servers, addresses)
		cancel()
	})
	// Output: mine [nats://10.0.0.7:4222]
}

// A strategy that waits for changes by requests that the source answers when there is one, and tells a mistake of whoever makes it.
func ExampleWatch() {
	// wait asks a registry that answers when something has changed.
	wait := func(ctx context.Context, url string) ([]discovery.Address, error) {
		return nil, &discovery.Failure{Source: url, Reason: discovery.ReasonOfStatus(503), Err: errors.New("503 Service Unavailable")}
	}
	registry := func(url string) discovery.Strategy {
		var wrong error
		if !strings.HasPrefix(url, "https://") {
			wrong = fmt.Errorf("URL %q: it must begin with https://", url)
		}
		return discovery.Watch("registry", func(ctx context.Context, w *discovery.Watching) error {
			for failures := 0; ctx.Err() == nil; {
				list, err := wait(ctx, url)
				if err != nil {
					failures++
					w.Fail(err)
				} else {
					failures = 0
					w.List(list)
				}
				select {
				case <-time.After(w.Backoff(failures)):
				case <-ctx.Done():
				}
			}
			return ctx.Err()
		}, discovery.Mistake(wrong))
	}
	_, err := rolebus.Connect(context.Background(), "", rolebus.WithDiscovery(registry("http://registry.example")))
	fmt.Println(err)

	ctx, cancel := context.WithCancel(context.Background())
	_ = registry("https://registry.example").Discover(ctx, func(_ []discovery.Address, err error) {
		fmt.Println(discovery.ReasonOf(err), err)
		cancel()
	})
	// Output:
	// rolebus: connect: discovery: registry: URL "http://registry.example": it must begin with https://
	// unavailable https://registry.example: 503 Service Unavailable
}
