package discovery_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/internal/dnstest"
	"github.com/stretchr/testify/require"
)

// often is how tests against real DNS servers ask: the interval is short, and the time for an answer is not.
func often(s *dnstest.Server, more ...discovery.Option) []discovery.Option {
	return append([]discovery.Option{
		discovery.WithResolver(s.Resolver()), discovery.Interval(20 * time.Millisecond), discovery.MaxBackoff(20 * time.Millisecond),
	}, more...)
}

func watchDNS(t *testing.T, s *dnstest.Server, name string, more ...discovery.Option) *watched {
	return watch(t, func(seen ...discovery.Option) discovery.Strategy {
		return discovery.DNS(name, append(often(s, more...), seen...)...)
	})
}

// list returns what stands now.
func (w *watched) list() []discovery.Address {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kept.List()
}

// logged returns its log.
func (w *watched) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// again waits until it has told something n times more.
func (w *watched) again(n int) {
	w.t.Helper()
	told := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.asked
	}
	before := told()
	w.until(func() bool { return told() >= before+n }, "it does not go on")
}

// wrong requires that a strategy has these mistakes, and does nothing.
func wrong(t *testing.T, s discovery.Strategy, texts ...string) {
	t.Helper()
	err := s.(interface{ Err() error }).Err()
	for _, text := range texts {
		require.ErrorContains(t, err, text)
	}
	require.Equal(t, err, s.Discover(t.Context(), func([]discovery.Address, error) { t.Error("it told something") }))
}

// once follows a strategy until it has told a list.
func once(t *testing.T, s discovery.Strategy) (list []discovery.Address) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_ = s.Discover(ctx, func(told []discovery.Address, err error) {
		if len(told) > 0 && list == nil {
			list = slices.Clone(told)
			cancel()
		}
	})
	require.NotEmpty(t, list, "it found nothing")
	return list
}

func TestDNSListsWhatANameHasAndFollowsIt(t *testing.T) {
	s := dnstest.New(t)
	s.Set("nats.example", "10.0.0.2", "10.0.0.1", "fd00::1")
	w := watchDNS(t, s, "nats.example.", discovery.Port(5222), discovery.Scheme("tls"))
	w.eventually("tls://10.0.0.1:5222 tls://10.0.0.2:5222 tls://[fd00::1]:5222")
	s.Set("nats.example", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2", "10.0.0.3")
	w.eventually("tls://10.0.0.2:5222 tls://10.0.0.3:5222 tls://[fd00::1]:5222 tls://[fd00::2]:5222")
	s.Set("nats.example", "10.0.0.2", "fd00::2")
	w.eventually("tls://10.0.0.2:5222 tls://[fd00::2]:5222")
	require.Empty(t, w.warnings())
}

// What the records do not say the options do; the certificate is for the name that was looked up.
func TestAddressesOfDNSHaveWhatTheOptionsSay(t *testing.T) {
	s := dnstest.New(t)
	s.Set("nats.example", "10.0.0.1")
	for _, test := range []struct {
		options []discovery.Option
		want    discovery.Address
	}{
		{nil, discovery.Address{Host: "10.0.0.1", TLSName: "nats.example"}},
		{[]discovery.Option{discovery.TLSName("nats.internal"), discovery.Port(4223), discovery.Scheme("wss"), discovery.Cluster("c1")},
			discovery.Address{Host: "10.0.0.1", Port: 4223, Scheme: "wss", Cluster: "c1", TLSName: "nats.internal"}},
		{[]discovery.Option{discovery.Routes(), discovery.Scheme("tls")},
			discovery.Address{Host: "10.0.0.1", Route: true, Scheme: "tls", TLSName: "nats.example"}},
	} {
		require.Equal(t, []discovery.Address{test.want}, once(t, discovery.DNS("nats.example.", often(s, test.options...)...)))
	}
}

// A family that a name never had is no failure; one that is not to be looked up is not asked for.
func TestFamilies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, want string
		only       []discovery.Option
		types      []string
	}{
		{"four.example.", "10.0.0.1:4222", nil, []string{"A", "AAAA"}},
		{"six.example.", "[fd00::1]:4222", nil, []string{"A", "AAAA"}},
		{"both.example.", "10.0.0.1:4222 [fd00::1]:4222", nil, []string{"A", "AAAA"}},
		{"both.example.", "10.0.0.1:4222", []discovery.Option{discovery.IPv4Only()}, []string{"A"}},
		{"both.example.", "[fd00::1]:4222", []discovery.Option{discovery.IPv6Only()}, []string{"AAAA"}},
	} {
		s := dnstest.New(t) // its own: a question of the one before may be under way
		s.Set("four.example", "10.0.0.1")
		s.Set("six.example", "fd00::1")
		s.Set("both.example", "10.0.0.1", "fd00::1")
		w := watchDNS(t, s, test.name, test.only...)
		w.eventually(test.want)
		w.until(func() bool { return len(s.Asked()) > 8 }, "it does not ask again")
		w.stop()
		require.Empty(t, w.warnings())
		var types []string
		for _, q := range s.Asked() {
			require.Equal(t, test.name, q.Name)
			types = append(types, q.Type)
		}
		slices.Sort(types)
		require.Equal(t, test.types, slices.Compact(types))
	}
	wrong(t, discovery.DNS("nats.example", discovery.IPv4Only(), discovery.IPv6Only()), "IPv4Only and IPv6Only")
}

// Aliases are followed by the server, and by us where it does not.
func TestDNSFollowsAliases(t *testing.T) {
	s := dnstest.New(t)
	s.Alias("nats.example", "a.example")
	s.Alias("a.example", "b.example")
	s.Alias("b.example", "c.example")
	s.Set("c.example", "10.0.0.1")
	for _, how := range []dnstest.How{dnstest.OK, dnstest.AliasAlone} {
		s.Fail("", how)
		w := watchDNS(t, s, "nats.example.")
		w.eventually("10.0.0.1:4222")
		require.Equal(t, "nats.example", w.list()[0].TLSName)
		s.Set("c.example", "10.0.0.2")
		w.eventually("10.0.0.2:4222")
		s.Set("c.example", "10.0.0.1")
		w.eventually("10.0.0.1:4222")
		w.stop()
		require.Empty(t, w.warnings())
	}
	// An alias of something with IPv4 alone costs no more than any name.
	s.Forget()
	s.Fail("", dnstest.OK)
	w := watchDNS(t, s, "nats.example.")
	w.eventually("10.0.0.1:4222")
	w.stop()
	require.NotContains(t, asked(s), "CNAME")

	s.Alias("c.example", "a.example")
	for how, text := range map[dnstest.How]string{
		dnstest.OK:         "answers SERVFAIL",
		dnstest.AliasAlone: "aliases without end: nats.example -> a.example -> b.example -> c.example -> a.example",
	} {
		s.Fail("", how)
		w := watchDNS(t, s, "nats.example.")
		w.until(func() bool { return len(w.warnings()) > 0 }, "it tells nothing")
		require.Contains(t, w.warnings()[0], text)
		w.stop()
	}
	// Alone, of what does not exist, and of what has nothing.
	s.Fail("", dnstest.AliasAlone)
	s.Remove("b.example")
	w = watchDNS(t, s, "nats.example.")
	w.failed(discovery.ReasonNotFound)
	s.Set("b.example")
	w.failed(discovery.ReasonEmpty)
}

func asked(s *dnstest.Server) (types []string) {
	for _, q := range s.Asked() {
		types = append(types, q.Type)
	}
	return types
}

func TestNamesThatDNSCannotLookUp(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, text := range map[string]string{
		"":                        "the name is empty",
		"10.0.0.1":                `"10.0.0.1" is an IP address, and no name: use Static`,
		"[::1]":                   "is an IP address",
		"fd00::1":                 "is an IP address",
		"nats.example:4222":       `"nats.example:4222" has a port: give the name alone, and Port`,
		"nats://nats.example":     "is a URL: give the name alone",
		"nats.example.:4222":      "has a port",
		"two names":               "is no name",
		" nats.example":           "is no name",
		"a..b":                    "is no name",
		".":                       "is no name",
		"..":                      "is no name",
		".nats.example":           "is no name",
		"näts.example":            "in the form xn--",
		"*.example":               "is no name",
		"nats.example\n":          "is no name",
		"a" + long:                "is no name",
		strings.Repeat("a.", 128): "is no name",
	} {
		wrong(t, discovery.DNS(name), text)
	}
	wrong(t, discovery.DNS("nats://user:secret@nats.example"), "a name has no user and no password")
	require.NotContains(t, discovery.DNS("nats://user:secret@nats.example").(interface{ Err() error }).Err().Error(), "secret")
	for _, name := range []string{"nats", "nats.example", "nats.example.", "_nats._tcp.example", "localhost", "1.example", long + ".example"} {
		require.NoError(t, discovery.DNS(name).(interface{ Err() error }).Err(), name)
	}
	wrong(t, discovery.DNS("nats", discovery.WithResolver(nil), discovery.Port(0), discovery.SearchPath("x")), "WithResolver: it is nil", "Port 0", "does not take SearchPath")
}

// The hosts file of the machine counts, as for all programs.
func TestLocalhost(t *testing.T) {
	for _, r := range []*net.Resolver{nil, net.DefaultResolver, {PreferGo: true}} {
		options := []discovery.Option{}
		if r != nil {
			options = append(options, discovery.WithResolver(r))
		}
		for _, a := range once(t, discovery.DNS("localhost", options...)) {
			require.Contains(t, []string{"127.0.0.1", "::1"}, a.Host)
			require.Equal(t, "localhost", a.TLSName)
		}
	}
}
