package rolebus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// How a process finds its NATS servers: what a strategy is, and what it finds. Package discovery has the strategies.

// Address is where a NATS server listens, and what is known about it. Two are the same if all their fields are.
type Address struct {
	// Host is an IP address, without brackets, or a name.
	Host string
	// Port is from 1 to 65535, or 0 for the usual one of Scheme, see [Address.HostPort].
	Port int
	// Scheme is nats, tls, ws or wss; of a route nats-route or tls. "" if it is not known: then it is that of the URL which stands beside the
	// strategy, or nats.
	Scheme string
	// Route says that servers listen there for each other, and not for clients.
	Route bool
	// Server is the server's name, and Cluster that of its cluster; "" if not known.
	Server, Cluster string
	// TLSName is whom the server's certificate is for if it is not Host, as when a name was looked up and Host is what it stands
	// for.
	TLSName string
	// Priority and Weight are those of an SRV record (RFC 2782), 0 otherwise: servers of the lowest priority come first, and among
	// these one of twice the weight twice as often.
	Priority, Weight uint16
}

// Strategy finds NATS servers for [WithDiscovery]. Package discovery has many, and package discoverytest tests yours.
type Strategy interface {
	// Discover tells what there is: soon, and again whenever that has changed, or could not be learnt, until ctx is over. Then it returns
	// within a second, with whatever error. If it returns before, with nil, what it told last stays, as of a list that never changes;
	// with an error, it is called again after a while.
	//
	// found takes a whole list of addresses, in any order, or why there is none. With both, an error says that the list lacks something. It
	// does not keep the list, may be called from any goroutine, by one at a time, and does not wait for anybody. After ctx is over, or
	// Discover has returned, it does nothing.
	//
	// Whoever calls Discover lets nothing go because of an error, or of an empty list: a lookup that fails says nothing about servers.
	//
	// Discover may be called more than once, and at the same time: each call stands for itself.
	Discover(ctx context.Context, found func(addresses []Address, err error)) error
}

// HostPort returns host and port as a dialer takes them. Without a port it is the usual one: 4222; of ws 80, of wss 443; of a route 6222.
func (a Address) HostPort() string {
	port := a.Port
	switch {
	case port != 0:
	case a.Route:
		port = 6222
	case a.Scheme == "ws":
		port = 80
	case a.Scheme == "wss":
		port = 443
	default:
		port = 4222
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(port))
}

// String returns the address as a URL, such as "nats://10.0.0.7:4222"; of a route without a scheme "nats-route://10.0.0.7:6222".
func (a Address) String() string {
	scheme := a.Scheme
	switch {
	case scheme != "":
	case a.Route:
		scheme = "nats-route"
	default:
		scheme = "nats"
	}
	return scheme + "://" + strings.ReplaceAll(a.HostPort(), "%", "%25") // of a zone, as URLs have it (RFC 6874)
}

// Check says what is wrong with the address: no host, or one that cannot be, a port or a scheme that is none. Whoever takes addresses
// from a strategy leaves out what is wrong, says so once, and uses the others.
func (a Address) Check() error {
	schemes := []string{"nats", "tls", "ws", "wss"}
	if a.Route {
		schemes = []string{"nats-route", "tls"}
	}
	var problem error
	switch {
	case strings.Contains(a.Host+a.Scheme+a.TLSName, "@"):
		return errPassword
	case a.Host == "":
		problem = fmt.Errorf("it has no host")
	case !validHost(a.Host):
		problem = fmt.Errorf("host %q is neither a name nor an IP address", clip(a.Host))
	case a.Port < 0 || a.Port > 65535:
		problem = fmt.Errorf("port %d: 1 to 65535, or 0 for the usual one", a.Port)
	case a.Scheme != "" && !slices.Contains(schemes, a.Scheme):
		problem = fmt.Errorf("unknown scheme %q; known are %s", clip(a.Scheme), strings.Join(schemes, ", "))
	case a.TLSName != "" && !validHost(a.TLSName):
		problem = fmt.Errorf("TLS name %q is neither a name nor an IP address", clip(a.TLSName))
	default:
		return nil
	}
	return fmt.Errorf("address %q: %w", clip(net.JoinHostPort(a.Host, strconv.Itoa(a.Port))), problem)
}

// errPassword shows nothing of what may be one.
var errPassword = errors.New("an address has no user and no password: give them in the URL of Connect, or by WithNATS")

// validHost says whether a host may stand in a URL and be looked up. Unspecified addresses, which some take for their own machine, are
// where a server listens, not where it is found.
func validHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		ip4 := ip.Unmap()
		zone := strings.ContainsFunc(ip.Zone(), func(r rune) bool { return !inName(r) && r != '.' })
		return !ip4.IsUnspecified() && !ip4.IsMulticast() && !zone
	}
	if len(host) > 253 || strings.Trim(host, ".") == "" {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		if strings.ContainsFunc(label, func(r rune) bool { return !inName(r) }) {
			return false
		}
	}
	// 10.0.0.256 is no name: the last label of one is never a number (RFC 3696).
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	return len(labels) == 1 || strings.ContainsFunc(labels[len(labels)-1], func(r rune) bool { return r < '0' || r > '9' })
}

func inName(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}

// ParseAddress makes an address of text: a host, host:port or a URL such as "tls://nats-0.example:4222"; an IPv6 address that is
// followed by a port stands in brackets. "nats-route://" makes it a route. It must have no user and no password, which belong into the URL
// that stands beside the strategy, or into [WithNATS]; the error then does not show them.
func ParseAddress(text string) (Address, error) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "@") {
		return Address{}, errPassword
	}
	bad := func(err error) (Address, error) {
		return Address{}, fmt.Errorf("address %q: %w", clip(withoutSecret(text)), err)
	}
	var a Address
	bare := text
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		bare = text[1 : len(text)-1]
	}
	if ip, err := netip.ParseAddr(bare); err == nil {
		a.Host = ip.String()
		if err := a.Check(); err != nil {
			return Address{}, err
		}
		return a, nil
	}
	full, isURL := text, strings.Contains(text, "://")
	if !isURL {
		full = "//" + text
	}
	// Only a URL writes the % of a zone as %25; as HostPort has it, %25 is the zone of interface 25.
	if zone := strings.Index(full, "%"); zone >= 0 && !(isURL && strings.HasPrefix(full[zone:], "%25")) && strings.Contains(full, "[") {
		full = full[:zone] + "%25" + full[zone+1:]
	}
	u, err := url.Parse(full)
	switch {
	case err != nil:
		return bad(fmt.Errorf("it is neither host:port nor a URL"))
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return bad(fmt.Errorf("nothing may follow the port"))
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && !validPort(u.Port()):
		return bad(fmt.Errorf("its port must be a number from 1 to 65535"))
	}
	a.Host, a.Scheme = u.Hostname(), strings.ToLower(u.Scheme)
	a.Port, _ = strconv.Atoi(u.Port()) // 0 if there is none
	a.Route = a.Scheme == "nats-route"
	if err := a.Check(); err != nil {
		return Address{}, err
	}
	return a, nil
}

// withoutSecret is a text that is no address without what may be a password in it: of which a slip cut off the @, or wrote it otherwise.
func withoutSecret(text string) string {
	if i := strings.IndexAny(text, "?#"); i >= 0 {
		text = text[:i] + "..."
	}
	from := 0
	if i := strings.Index(text, "://"); i >= 0 {
		from = i + len("://")
	}
	_, after, _ := strings.Cut(text[from:], ":")
	if len(after) > len("65535") && strings.ContainsFunc(after, func(r rune) bool { return (r < '0' || r > '9') && r != ':' }) {
		text = text[:len(text)-len(after)] + "..." // longer than a port, and none
	}
	return text
}
