//go:build long

package discovery_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/internal/lan"
)

// on is a strategy that is used on a host: all that it opens it opens on the goroutine that calls it.
type on struct {
	lan.Host
	s discovery.Strategy
}

func (o on) Discover(ctx context.Context, found func([]discovery.Address, error)) (err error) {
	lan.OnThread(func() {
		if err = unix.Setns(o.NS, unix.CLONE_NEWNET); err == nil {
			err = o.s.Discover(ctx, found)
		}
	})
	return err
}

func (o on) Announce(ctx context.Context, addresses []discovery.Address) (err error) {
	lan.OnThread(func() {
		if err = unix.Setns(o.NS, unix.CLONE_NEWNET); err == nil {
			err = o.s.(discovery.Announcer).Announce(ctx, addresses)
		}
	})
	return err
}

func at(p *lan.Port) discovery.Address { return discovery.Address{Host: p.V4.String(), Port: 4222} }

func TestGossipOnNetworks(t *testing.T) {
	if !lan.Namespaced(t) {
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
			l := lan.New(t)
			a, b, c := l.Host(), l.Host(), l.Host()
			s := discovery.Gossip("test", gossipSecret, opts...)
			onC := discovering(t, on{c.Host, s})
			stop := announcing(t, on{a.Host, s}, at(a))
			announcing(t, on{b.Host, s}, at(b))
			lists(t, onC, at(a), at(b))
			onB := discovering(t, on{b.Host, s}) // itself, too
			again := discovering(t, on{c.Host, s})
			lists(t, again, at(a), at(b))
			lists(t, onB, at(a), at(b))
			stop()
			lists(t, onC, at(b))
			lists(t, again, at(b))
			lists(t, onB, at(b))
		})
	}
}

func TestGossipIsWhereItIsTold(t *testing.T) {
	if !lan.Namespaced(t) {
		return
	}
	one, two := lan.New(t), lan.New(t)
	a, b := one.Host(), two.Host()
	h := lan.NewHost(t)
	r1, r2 := one.On(h, "eth0", true), two.On(h, "eth1", true)
	s := discovery.Gossip("test", gossipSecret, discovery.Interval(100*time.Millisecond))
	announcing(t, on{a.Host, s}, at(a))
	announcing(t, on{b.Host, s}, at(b))
	with := func(opts ...discovery.Option) *listing {
		return discovering(t, on{h, discovery.Gossip("test", gossipSecret, append(opts, discovery.Interval(100*time.Millisecond))...)})
	}
	all := with()
	lists(t, all, at(a), at(b))
	for name, l := range map[string]*listing{
		"by name":           with(discovery.Interfaces("eth1")),
		"by address":        with(discovery.Interfaces(r2.V4.String())),
		"by IPv6 address":   with(discovery.Interfaces(r2.V6.String())),
		"ListenAddress":     with(discovery.ListenAddress(r2.V4.String())),
		"ListenAddress, v6": with(discovery.ListenAddress(r2.V6.String())),
	} {
		lists(t, l, at(b))
		require.Len(t, l.last(), 1, name)
	}
	lists(t, with(discovery.Interfaces("eth0", "eth1")), at(a), at(b))
	lists(t, with(discovery.Interfaces(r1.V4.String(), "eth1")), at(a), at(b))
}
