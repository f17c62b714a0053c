package discovery

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Which interfaces gossip uses, and where it sends on each.

// ways returns where to send, for IPv4 and IPv6, and which addresses this machine has. Its error says what was asked for and is not there.
func (o *gossipOptions) ways() (ways [2][]gossipInterface, mine map[netip.Addr]bool, problem error) {
	all, err := net.Interfaces()
	if err != nil {
		return ways, nil, &Failure{Source: o.source(), Reason: ReasonUnavailable, Err: fmt.Errorf("list interfaces: %w", err)}
	}
	mine = map[netip.Addr]bool{}
	seen := map[string]bool{} // of those that were asked for
	var errs []error
	known := allAddresses()
	for _, ifi := range all {
		addresses := known[ifi.Index]
		if known == nil {
			addresses = addressesOf(ifi)
		}
		for _, a := range addresses {
			mine[a.Addr()] = true
		}
		if ifi.Flags&net.FlagUp == 0 || !o.wants(ifi, addresses, seen) {
			continue
		}
		for family := range ways {
			w := gossipInterface{Interface: ifi, group: !o.broadcast}
			switch {
			case !slices.ContainsFunc(addresses, func(a netip.Prefix) bool { return a.Addr().Is4() == (family == 0) }):
			case o.broadcast && family == 0:
				w.to = o.broadcasts(ifi, addresses)
			case !o.broadcast && ifi.Flags&(net.FlagMulticast|net.FlagLoopback) != 0:
				for _, g := range o.groups {
					if g.Is4() == (family == 0) && o.speaks(family) {
						w.to = append(w.to, netip.AddrPortFrom(g, uint16(o.port)))
					}
				}
			case !o.broadcast && o.chosen():
				errs = append(errs, &Failure{
					Source: "interface " + ifi.Name, Reason: ReasonUnavailable, Err: errors.New("it has no multicast"), Mend: "choose another one, or use Broadcast",
				})
			}
			if len(w.to) > 0 {
				ways[family] = append(ways[family], w)
			}
		}
	}
	if far := o.far(ways[0]); len(far) > 0 {
		ways[0] = append(ways[0], gossipInterface{Interface: net.Interface{Name: "the routing table"}, to: far})
	}
	for _, name := range o.interfaces {
		if !seen[name] {
			errs = append(errs, noInterface(name, "Interfaces"))
		}
	}
	if o.listen.IsValid() && !o.listen.IsUnspecified() && !seen[o.listen.String()] {
		errs = append(errs, noInterface(o.listen.String(), "ListenAddress"))
	}
	return ways, mine, errors.Join(errs...)
}

func noInterface(name, option string) error {
	return &Failure{
		Source: "interface " + strconv.Quote(name), Reason: ReasonUnavailable, Err: errors.New("this machine has none with this name or address that is up"),
		Mend: "it is tried again and again; see what " + option + " says, and what the machine has (ip addr)",
	}
}

// chosen says whether only some interfaces are to be used.
func (o *gossipOptions) chosen() bool {
	return len(o.interfaces) > 0 || o.listen.IsValid() && !o.listen.IsUnspecified()
}

// speaks says whether a family is to be used.
func (o *gossipOptions) speaks(family int) bool {
	return !o.listen.IsValid() || o.listen.Is4() == (family == 0)
}

// wants says whether an interface is to be used, and notes what asked for it.
func (o *gossipOptions) wants(ifi net.Interface, addresses []netip.Prefix, seen map[string]bool) bool {
	has := func(name string) bool {
		ip, err := netip.ParseAddr(name)
		is := name == ifi.Name || err == nil && slices.ContainsFunc(addresses, func(a netip.Prefix) bool { return a.Addr() == ip.WithZone("") })
		if is {
			seen[name] = true
		}
		return is
	}
	wanted := !o.chosen()
	for _, name := range o.interfaces {
		wanted = has(name) || wanted
	}
	if o.listen.IsValid() && !o.listen.IsUnspecified() {
		wanted = has(o.listen.String()) || wanted
	}
	return wanted
}

// broadcasts returns where to send by an interface so that all of its network hear it.
func (o *gossipOptions) broadcasts(ifi net.Interface, addresses []netip.Prefix) (to []netip.AddrPort) {
	if ifi.Flags&(net.FlagBroadcast|net.FlagLoopback) == 0 {
		return nil
	}
	for _, a := range addresses {
		if !a.Addr().Is4() || a.Bits() > 30 {
			continue
		}
		own := broadcastOf(a)
		if len(o.groups) == 0 {
			to = append(to, netip.AddrPortFrom(own, uint16(o.port)))
		}
		for _, g := range o.groups {
			limited := g == netip.AddrFrom4([4]byte{255, 255, 255, 255}) && ifi.Flags&net.FlagBroadcast != 0
			if at := netip.AddrPortFrom(g, uint16(o.port)); (limited || g == own) && !slices.Contains(to, at) {
				to = append(to, at)
			}
		}
	}
	return to
}

// far returns the broadcast addresses that are those of other networks: routers may let them through.
func (o *gossipOptions) far(ways []gossipInterface) (far []netip.AddrPort) {
	if !o.broadcast {
		return nil
	}
	for _, g := range o.groups {
		at := netip.AddrPortFrom(g, uint16(o.port))
		if !slices.ContainsFunc(ways, func(w gossipInterface) bool { return slices.Contains(w.to, at) }) {
			far = append(far, at)
		}
	}
	return far
}

// broadcastOf returns the last address of a network.
func broadcastOf(a netip.Prefix) netip.Addr {
	b := a.Addr().As4()
	for bit := a.Bits(); bit < 32; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(b)
}

func addressesOf(ifi net.Interface) (addresses []netip.Prefix) {
	all, err := ifi.Addrs()
	if err != nil {
		return nil // it is gone in the meantime
	}
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			addresses = append(addresses, netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()))
		}
	}
	return addresses
}

// source is what failures say of where gossip is.
func (o *gossipOptions) source() string {
	var at []string
	for _, g := range o.groups {
		at = append(at, g.String())
	}
	switch {
	case o.broadcast && len(at) == 0:
		at = []string{"the broadcast address of each interface"}
	case o.broadcast:
		at = append([]string{"broadcast to"}, strings.Join(at, ", "))
	default:
		at = []string{strings.Join(at, " and ")}
	}
	return "gossip on " + strings.Join(at, " ") + ", UDP port " + strconv.Itoa(o.port)
}
