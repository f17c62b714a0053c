//go:build long

package discovery_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rolebus/rolebus/discovery"
)

// on is a strategy that is used on a host: all that it opens it opens on the goroutine that calls it.
type on struct {
	host
	s discovery.Strategy
}

func (o on) Discover(ctx context.Context, found func([]discovery.Address, error)) (err error) {
	onThread(func() {
		if err = unix.Setns(o.ns, unix.CLONE_NEWNET); err == nil {
			err = o.s.Discover(ctx, found)
		}
	})
	return err
}

func (o on) Announce(ctx context.Context, addresses []discovery.Address) (err error) {
	onThread(func() {
		if err = unix.Setns(o.ns, unix.CLONE_NEWNET); err == nil {
			err = o.s.(discovery.Announcer).Announce(ctx, addresses)
		}
	})
	return err
}

func (p *port) server() discovery.Address { return discovery.Address{Host: p.v4.String(), Port: 4222} }

func TestGossipOnNetworks(t *testing.T) {
	if !namespaced(t) {
		return
	}
	for name, opts := range map[string][]discovery.Option{
		"as it is":                     nil,
		"IPv4":                         {discovery.ListenAddress("0.0.0.0")},
		"IPv6":                         {discovery.ListenAddress("::")},
		"IPv4, another group":          {discovery.MulticastGroup("239.1.2.3")},
		"IPv6, site-local":             {discovery.MulticastGroup("ff15::726f:6c65")},
		"both":                         {discovery.MulticastGroup("239.1.2.3", "ff12::1234")},
		"broadcast":                    {discovery.Broadcast()},
		"broadcast to everybody":       {discovery.Broadcast("255.255.255.255")},
		"another port":                 {discovery.GossipPort(777)},
		"an interface by name":         {discovery.Interfaces("eth0")},
		"broadcast on an interface":    {discovery.Broadcast("255.255.255.255"), discovery.Interfaces("eth0")},
		"more hops than one, and IPv6": {discovery.MulticastTTL(3), discovery.MulticastGroup("ff15::1")},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLAN(t)
			a, b, c := l.host(), l.host(), l.host()
			s := discovery.Gossip("test", gossipSecret, opts...)
			onC := discovering(t, on{c.host, s})
			stop := announcing(t, on{a.host, s}, a.server())
			announcing(t, on{b.host, s}, b.server())
			lists(t, onC, a.server(), b.server())
			onB := discovering(t, on{b.host, s}) // itself, too
			again := discovering(t, on{c.host, s})
			lists(t, again, a.server(), b.server())
			lists(t, onB, a.server(), b.server())
			stop()
			lists(t, onC, b.server())
			lists(t, again, b.server())
			lists(t, onB, b.server())
		})
	}
}

func TestGossipIsWhereItIsTold(t *testing.T) {
	if !namespaced(t) {
		return
	}
	one, two := newLAN(t), newLAN(t)
	a, b := one.host(), two.host()
	h := newHost(t)
	r1, r2 := one.on(h, "eth0", true), two.on(h, "eth1", true)
	s := discovery.Gossip("test", gossipSecret, discovery.Interval(100*time.Millisecond))
	announcing(t, on{a.host, s}, a.server())
	announcing(t, on{b.host, s}, b.server())
	with := func(opts ...discovery.Option) *listing {
		return discovering(t, on{h, discovery.Gossip("test", gossipSecret, append(opts, discovery.Interval(100*time.Millisecond))...)})
	}
	all := with()
	lists(t, all, a.server(), b.server())
	for name, l := range map[string]*listing{
		"by name":           with(discovery.Interfaces("eth1")),
		"by address":        with(discovery.Interfaces(r2.v4.String())),
		"by IPv6 address":   with(discovery.Interfaces(r2.v6.String())),
		"ListenAddress":     with(discovery.ListenAddress(r2.v4.String())),
		"ListenAddress, v6": with(discovery.ListenAddress(r2.v6.String())),
	} {
		lists(t, l, b.server())
		require.Len(t, l.last(), 1, name)
	}
	lists(t, with(discovery.Interfaces("eth0", "eth1")), a.server(), b.server())
	lists(t, with(discovery.Interfaces(r1.v4.String(), "eth1")), a.server(), b.server())
}
