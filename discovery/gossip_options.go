package discovery

import (
	"crypto/cipher"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
)

// gossipOptions are those of [Gossip] alone.
type gossipOptions struct {
	port       int
	groups     []netip.Addr // or where to broadcast to
	broadcast  bool
	interfaces []string
	listen     netip.Addr
	ttl        int
	goneAfter  time.Duration
	also       []string // secrets

	keys []cipher.AEAD // of all secrets; the first seals
}

var forGossip = []string{
	"Interval", "GossipPort", "MulticastGroup", "Broadcast", "Interfaces", "ListenAddress", "MulticastTTL", "GoneAfter", "AcceptSecrets",
}

// gossipGroups are libcluster's IPv4 group, and one of IPv6 with the same number that is for this link alone, as the other one is with a
// TTL of 1.
var gossipGroups = []string{"233.252.1.32", "ff12::e9fc:120"}

const (
	gossipLeastSecret = 16 // bytes
	gossipMostSecrets = 4
	gossipMostCluster = 64
)

// GossipPort sets the UDP port, the same in all processes. For [Gossip]. Default: 45892, as libcluster's port.
func GossipPort(port int) Option {
	return choice("GossipPort", func(o *options) {
		if o.gossip.port = port; port < 1 || port > 65535 {
			o.wrong("GossipPort %d: 1 to 65535", port)
		}
	})
}

// MulticastGroup sets the groups, the same in all processes: one of IPv4, one of IPv6, or both. It is libcluster's multicast_addr. For
// [Gossip]. Default: 233.252.1.32 and ff12::e9fc:120, which each use where they have an address of its family.
func MulticastGroup(groups ...string) Option {
	return choice("MulticastGroup", func(o *options) {
		o.gossip.groups = o.gossipAddresses("MulticastGroup", groups, "224.0.0.0 to 239.255.255.255, or ff00::/8", netip.Addr.IsMulticast)
		if len(groups) == 0 {
			o.wrong("MulticastGroup: no group")
		}
	})
}

// Broadcast has packets broadcast, for networks without multicast; they are IPv4's, and do not leave the network. It is libcluster's
// broadcast_only; to is its multicast_addr: broadcast addresses, such as "10.0.0.255", or "255.255.255.255" for each interface's network.
// None: the broadcast address of each interface. For [Gossip]. Default: multicast.
func Broadcast(to ...string) Option {
	return choice("Broadcast", func(o *options) {
		o.gossip.broadcast = true
		o.gossip.groups = o.gossipAddresses("Broadcast", to, "an IPv4 address of broadcast", func(a netip.Addr) bool {
			return a.Is4() && !a.IsMulticast() && !a.IsUnspecified()
		})
	})
}

func (o *options) gossipAddresses(option string, texts []string, what string, is func(netip.Addr) bool) (all []netip.Addr) {
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		if a = a.Unmap(); err != nil || !is(a) || a.Zone() != "" {
			o.wrong("%s %q: %s", option, clipped(text), what)
			continue
		}
		all = append(all, a)
	}
	return all
}

// Interfaces sets which interfaces are used, by name or by an address of theirs; it is libcluster's multicast_if. One that is not there,
// or not up, is waited for. For [Gossip]. Default: all that are up and have multicast, or broadcast, and the loopback.
func Interfaces(namesOrAddresses ...string) Option {
	return choice("Interfaces", func(o *options) {
		o.gossip.interfaces = namesOrAddresses
		for _, name := range namesOrAddresses {
			if strings.TrimSpace(name) == "" {
				o.wrong("Interfaces %q: names of interfaces, such as eth0, or addresses", name)
			}
		}
		if len(namesOrAddresses) == 0 {
			o.wrong("Interfaces: none; leave the option out to use all")
		}
	})
}

// ListenAddress uses only IPv4 ("0.0.0.0"), only IPv6 ("::"), or only the interface that has this address, and only its family. It is
// libcluster's if_addr, but that one with an address of an interface hears no multicast on Linux. For [Gossip]. Default: both families.
func ListenAddress(ip string) Option {
	return choice("ListenAddress", func(o *options) {
		a, err := netip.ParseAddr(ip)
		if err != nil || a.IsMulticast() {
			o.wrong("ListenAddress %q: an address of this machine, 0.0.0.0 or ::", clipped(ip))
			return
		}
		o.gossip.listen = a.Unmap().WithZone("")
	})
}

// MulticastTTL sets over how many networks multicast goes, where routers carry it: 0 stays on this machine, 1 on this network. It is
// libcluster's multicast_ttl. For [Gossip]. Default: 1; most: 255. For more than 1 an IPv6 group of a wider scope must be given, too:
// see [MulticastGroup].
func MulticastTTL(hops int) Option {
	return choice("MulticastTTL", func(o *options) {
		if o.gossip.ttl = hops; hops < 0 || hops > 255 {
			o.wrong("MulticastTTL %d: 0 to 255", hops)
		}
	})
}

// GoneAfter sets for how long a server must have been silent to be let go, but never less than 4 of the intervals at which it speaks, and
// only while others are heard on its network. For [Gossip]. Default: 1 min; least: 10 ms, most: 24 h.
func GoneAfter(silence time.Duration) Option {
	return choice("GoneAfter", func(o *options) {
		o.gossip.goneAfter = o.between("GoneAfter", silence, minInterval, maxInterval)
	})
}

// AcceptSecrets has packets with these secrets believed, too, up to 3. To change a secret without a gap, all processes go, one after
// another, from the old one to the old one that accepts the new one, to the new one that accepts the old one, to the new one; each step
// begins when all have made the step before. For [Gossip]. Default: none.
func AcceptSecrets(secrets ...string) Option {
	return choice("AcceptSecrets", func(o *options) { o.gossip.also = secrets })
}

// gossipChecked checks what the options are together, and makes the keys.
func (o *options) gossipChecked(cluster, secret string) {
	g := &o.gossip
	if cluster == "" || len(cluster) > gossipMostCluster || !gossipPrintable(cluster) {
		o.wrong("cluster %q: 1 to %d bytes of UTF-8 that can be printed", clipped(cluster), gossipMostCluster)
	}
	if o.has("Broadcast") && o.has("MulticastGroup") {
		o.wrong("MulticastGroup and Broadcast: one of them")
	}
	if g.broadcast && g.listen.Is6() {
		o.wrong("Broadcast is of IPv4, and ListenAddress of IPv6: leave one of them out")
	}
	secrets := append([]string{secret}, g.also...)
	if len(secrets) > gossipMostSecrets {
		o.wrong("AcceptSecrets: %d of them; at most %d beside the first", len(g.also), gossipMostSecrets-1)
		return
	}
	for i, s := range secrets {
		if err := gossipSecretErr(s); err != nil {
			o.wrong("%s: %w", [2]string{"the secret", "AcceptSecrets"}[min(i, 1)], err)
			continue
		}
		key, err := gossipKey(s)
		if err != nil {
			o.errs = append(o.errs, err)
		}
		g.keys = append(g.keys, key)
	}
}

// gossipSecretErr says what is wrong with a secret, and does not tell it. Whoever hears a packet can try secrets at home, as fast as he
// can.
func gossipSecretErr(secret string) error {
	const mend = `make one with "openssl rand -base64 24", and give the same to all processes`
	different := map[byte]bool{}
	for i := range len(secret) {
		different[secret[i]] = true
	}
	switch {
	case secret == "":
		return fmt.Errorf("it is empty: %s", mend)
	case strings.TrimFunc(secret, unicode.IsSpace) != secret:
		return fmt.Errorf("it begins or ends with white space, as what is read from a file does: use strings.TrimSpace")
	case len(secret) < gossipLeastSecret:
		return fmt.Errorf("it has %d bytes, at least %d: %s", len(secret), gossipLeastSecret, mend)
	case len(different) < 6:
		return fmt.Errorf("it has only %d different bytes, and is soon guessed: %s", len(different), mend)
	}
	return nil
}
