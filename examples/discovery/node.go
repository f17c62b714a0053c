package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/discovery"
)

// interval is how often a node looks: more often than it need be, so that nobody waits for this program.
const interval = 200 * time.Millisecond

// byDNS asks the zone for SRV records.
func (n *node) byDNS(z *zone) discovery.Strategy {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, z.addr()) // and not the DNS server of this machine
	}}
	return discovery.SRV(service, discovery.WithResolver(resolver), discovery.Interval(interval), discovery.MaxBackoff(time.Second), discovery.WithHooks(n))
}

// byFile reads the hosts file.
func (n *node) byFile(file string) discovery.Strategy {
	return discovery.File(file, discovery.Interval(interval), discovery.WithHooks(n))
}

// start has the node find a server, and take its place in the fleet. It returns at once.
func (n *node) start(ctx context.Context, servers discovery.Strategy) {
	n.starting.Go(func() {
		bus, err := rolebus.Connect(ctx, "", // no URL
			rolebus.WithDiscovery(servers),
			rolebus.WithNode(n.name), rolebus.WithRoles("follower"), rolebus.WithHooks(n))
		n.mu.Lock()
		defer n.mu.Unlock()
		n.bus, n.err = bus, err
	})
}

// node is one of the fleet, and what it was told by its hooks.
type node struct {
	name, by string
	nameOf   func(port int) string // of a server
	starting sync.WaitGroup

	mu          sync.Mutex
	bus         *rolebus.Bus // nil while it has found nothing
	err         error
	pool        []string        // to which its connection may go
	on          string          // the server to which it is connected
	news        []string        // of this step, such as "+a"
	failures    map[string]bool // of this step, reasons
	connections []string
	found, gone int
	failed      int
	lost        int // verdicts on others
}

func newNode(name, by string, nameOf func(int) string) *node {
	return &node{name: name, by: by, nameOf: nameOf, failures: map[string]bool{}}
}

// server is the name of one that is told by host and port.
func (n *node) server(address string) string {
	_, text, _ := net.SplitHostPort(address)
	port, _ := strconv.Atoi(text)
	return n.nameOf(port)
}

// OnFound hears what a strategy found.
func (n *node) OnFound(info discovery.FoundInfo) { n.hear("+", info.Address, &n.found) }

// OnGone hears what a strategy does not find any more.
func (n *node) OnGone(info discovery.GoneInfo) { n.hear("-", info.Address, &n.gone) }

func (n *node) hear(sign string, a discovery.Address, count *int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	*count++
	if news := sign + n.server(a.HostPort()); !slices.Contains(n.news, news) {
		n.news = append(n.news, news)
	}
}

// OnFailed hears why a strategy could not learn what there is.
func (n *node) OnFailed(info discovery.FailedInfo) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failed++
	n.failures[string(info.Reason)] = true
}

// OnServers hears to which servers the connection may go.
func (n *node) OnServers(info rolebus.ServersInfo) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pool = nil
	for _, address := range info.Servers {
		n.pool = append(n.pool, n.server(address))
	}
	slices.Sort(n.pool)
}

// OnConnected hears to which server it is connected.
func (n *node) OnConnected(info rolebus.ConnectedInfo) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.on = info.Server
	n.connections = append(n.connections, info.Server)
}

// OnDisconnected hears that it is not any more.
func (n *node) OnDisconnected(rolebus.DisconnectedInfo) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.on = ""
}

// OnNodeDown hears that another node is gone. One that cannot be reached for a moment is only suspected.
func (n *node) OnNodeDown(info rolebus.NodeDownInfo) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if info.Reason != rolebus.ReasonUnreachable {
		n.lost++
	}
}

// sees says whether the node may go to these servers, is on one of them, and sees a whole fleet.
func (n *node) sees(fleet int, servers ...string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bus != nil && slices.Equal(n.pool, servers) && slices.Contains(servers, n.on) && n.bus.Nodes("follower").Len() == fleet
}

// hasHeard says whether all its strategies have told of so many servers that came and went.
func (n *node) hasHeard(came, went int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	sources := 1
	if n.by == "both" {
		sources = 2
	}
	return n.found == sources*came && n.gone == sources*went
}

// settled waits until the hub knows all to which the node has subscribed: an answer from there comes after that.
func (n *node) settled(ctx context.Context) error {
	n.mu.Lock()
	bus := n.bus
	n.mu.Unlock()
	if bus == nil {
		return nil
	}
	js, err := jetstream.New(bus.Conn())
	if err != nil {
		return err
	}
	_, err = js.AccountInfo(ctx)
	return err
}

func (n *node) isOn(server string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.on == server
}

// hears says whether lookups failed for all these reasons.
func (n *node) hears(reasons ...discovery.Reason) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range reasons {
		if !n.failures[string(r)] {
			return false
		}
	}
	return true
}

// begin begins a step.
func (n *node) begin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.news, n.failures = nil, map[string]bool{}
}

// tell tells what is new, and how the node is.
func (n *node) tell() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	slices.Sort(n.news)
	news := strings.Join(n.news, " ")
	if len(n.failures) > 0 {
		var reasons []string
		for r := range n.failures {
			reasons = append(reasons, r)
		}
		slices.Sort(reasons)
		news = strings.TrimSpace(news + " failed: " + strings.Join(reasons, ", "))
	}
	line := fmt.Sprintf("%10s  %-7s %-6s %-28s", "", n.name, n.by, news)
	if n.on == "" {
		return line + " waits"
	}
	return line + fmt.Sprintf(" may go to %-6s is on %s", strings.Join(n.pool, " "), n.on)
}

func (n *node) close() error {
	n.starting.Wait()
	if n.bus == nil {
		return nil
	}
	return n.bus.Close()
}
