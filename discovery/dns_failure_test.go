package discovery_test

import (
	"context"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/internal/dnstest"
	"github.com/stretchr/testify/require"
)

// errors returns the texts of all errors told, each once, without the record types that they begin with.
func (w *watched) errors() (texts []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	types := regexp.MustCompile(`^(A and AAAA|A|AAAA|SRV) `)
	for _, err := range w.errs {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if line = types.ReplaceAllString(line, ""); !slices.Contains(texts, line) {
				texts = append(texts, line)
			}
		}
	}
	return texts
}

// What is wrong is told apart, with what to do about it, always in the same words, and takes nothing away.
func TestFailuresOfDNSAreToldApart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		how    dnstest.How
		reason discovery.Reason
		text   string // SERVER is where it listens
		quick  bool   // there is no answer to wait for
	}{
		"NXDOMAIN": {how: dnstest.NXDomain, reason: discovery.ReasonNotFound,
			text: "NAME: there is no such name (NXDOMAIN) (is it spelled right? In Kubernetes the full name is "},
		"NODATA": {how: dnstest.NoData, reason: discovery.ReasonEmpty,
			text: "NAME: the name exists, and has no such records (in Kubernetes: is the service headless (clusterIP: None), with ready pods or publishNotReadyAddresses?)"},
		"SERVFAIL": {how: dnstest.ServFail, reason: discovery.ReasonUnavailable,
			text: "NAME: DNS server SERVER answers SERVFAIL (it cannot learn the answer itself just now; its log says why)"},
		"REFUSED": {how: dnstest.Refused, reason: discovery.ReasonForbidden,
			text: "NAME: DNS server SERVER answers REFUSED (does it answer for this name, and to this machine? Is it the right one, in resolv.conf or the Resolver's Dial?)"},
		"NOTIMP": {how: dnstest.NotImpl, reason: discovery.ReasonUnavailable,
			text: "NAME: DNS server SERVER answers with code 4, see RFC 1035"},
		"no recursion": {how: dnstest.NoRecursion, reason: discovery.ReasonUnavailable,
			text: "NAME: DNS server SERVER does not know the name, and does not ask others (name one that does, in resolv.conf or the Resolver's Dial)"},
		"bad records": {how: dnstest.BadRecords, reason: discovery.ReasonMalformed,
			text: "NAME: DNS server SERVER sends records that cannot be read"},
		"no TCP": {how: dnstest.NoTCP, reason: discovery.ReasonUnavailable,
			text: "NAME: DNS server SERVER has an answer too long for UDP, and could not be asked by TCP (let TCP through to it, port 53, too)"},
		"cut": {how: dnstest.Cut, reason: discovery.ReasonMalformed,
			text: "NAME: DNS server SERVER sent only a part of the answer, by TCP, too (the name has more records than an answer takes)"},
		"silent": {how: dnstest.Silent, reason: discovery.ReasonTimeout, quick: true,
			text: "NAME: no answer from DNS server SERVER (is it up, and is UDP and TCP port 53 let through? Timeout says how long is waited)"},
		"garbage": {how: dnstest.Garbage, reason: discovery.ReasonMalformed, quick: true,
			text: "NAME: DNS server SERVER sends what is no answer to what it was asked (is it a DNS server?)"},
		"wrong id": {how: dnstest.WrongID, reason: discovery.ReasonMalformed, quick: true,
			text: "NAME: DNS server SERVER sends what is no answer to what it was asked"},
		"wrong name": {how: dnstest.WrongName, reason: discovery.ReasonMalformed, quick: true,
			text: "NAME: DNS server SERVER sends what is no answer to what it was asked"},
		"dead": {reason: discovery.ReasonUnavailable,
			text: "NAME: DNS server SERVER: connection refused (is it up, and the right one, in resolv.conf or the Resolver's Dial?)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, kind := range []string{"DNS", "SRV"} {
				s := dnstest.New(t)
				name, set := "nats.example.", func(addresses ...string) { s.Set("nats.example", addresses...) }
				make := discovery.DNS
				first, then, last := "10.0.0.1:4222 10.0.0.2:4222 [fd00::1]:4222", "10.0.0.3:4222", "10.0.0.3:4222 [fd00::1]:4222"
				set("10.0.0.1", "10.0.0.2", "fd00::1")
				if kind == "SRV" {
					name, make = "_nats._tcp.example.", discovery.SRV
					set = func(addresses ...string) {
						var all []dnstest.SRV
						for _, a := range addresses {
							all = append(all, dnstest.SRV{Target: a, Port: 4222})
						}
						s.SetSRV(name, all...)
					}
					set("a.example", "b.example")
					first, then, last = "a.example:4222 b.example:4222", "c.example", "c.example:4222"
				} else {
					then = "10.0.0.3"
				}
				timeout := 20 * time.Second
				if test.quick {
					timeout = 300 * time.Millisecond
				}
				w := watch(t, func(seen ...discovery.Option) discovery.Strategy {
					return make(name, append(often(s, discovery.Timeout(timeout)), seen...)...)
				})
				w.eventually(first)
				if test.how == dnstest.OK {
					s.Stop()
				} else {
					s.Fail("", test.how)
				}
				text := strings.NewReplacer("NAME", name, "SERVER", s.Addr()).Replace(test.text)
				require.ErrorContains(t, w.failed(test.reason), text)
				w.again(5)
				w.stands(first)
				if !test.quick { // a good answer may come too late just once
					require.Len(t, w.errors(), 1)
				}
				working(s)
				if kind == "SRV" {
					set(then)
				} else {
					set(then, "fd00::1")
				}
				w.eventually(last)
			}
		})
	}
}

// Each family keeps what it had while it fails, and the other one is followed.
func TestOneFamilyFailsAndTheOtherIsFollowed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fails, stays, source string
	}{{"A", "10.0.0.1", "A nats.example.: "}, {"AAAA", "fd00::1", "AAAA nats.example.: "}} {
		for _, how := range []dnstest.How{dnstest.ServFail, dnstest.Refused, dnstest.NXDomain, dnstest.NoData, dnstest.Silent} {
			t.Run(test.fails, func(t *testing.T) {
				t.Parallel()
				s := dnstest.New(t)
				timeout := 20 * time.Second
				if how == dnstest.Silent {
					timeout = 300 * time.Millisecond
				}
				s.Set("nats.example", "10.0.0.1", "fd00::1")
				w := watchDNS(t, s, "nats.example.", discovery.Timeout(timeout))
				w.eventually("10.0.0.1:4222 [fd00::1]:4222")
				s.Fail(test.fails, how)
				other, want := "fd00::2", "10.0.0.1:4222 [fd00::2]:4222"
				if test.fails == "AAAA" {
					other, want = "10.0.0.2", "10.0.0.2:4222 [fd00::1]:4222"
				}
				s.Set("nats.example", other)
				w.eventually(want)
				w.until(func() bool { return strings.Contains(strings.Join(w.warnings(), ""), test.source) }, "not told")
				w.again(5)
				w.stands(want)
				s.Set("nats.example", other, test.stays)
				s.Fail(test.fails, dnstest.OK)
				n := strings.Count(w.logged(), "works again")
				w.until(func() bool { return strings.Count(w.logged(), "works again") > n }, "that it works again is not told")
				w.stands(want)
			})
		}
	}
}

// Where questions for one family are never answered, as firewalls have it, the other's addresses are found before that is over.
func TestAFamilyThatIsSilentKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	for _, silent := range []string{"A", "AAAA"} {
		s := dnstest.New(t)
		s.Set("nats.example", "10.0.0.1", "fd00::1")
		s.Fail(silent, dnstest.Silent)
		w := watchDNS(t, s, "nats.example.", discovery.Timeout(time.Hour))
		w.eventually(map[string]string{"A": "[fd00::1]:4222", "AAAA": "10.0.0.1:4222"}[silent])
		require.Empty(t, w.warnings())
		w.stop()
	}
}

// A family that a name never had may be refused by a server that knows nothing of it: then that is told, as nobody knows what it has.
func TestAServerThatKnowsNothingOfIPv6(t *testing.T) {
	t.Parallel()
	s := dnstest.New(t)
	s.Set("nats.example", "10.0.0.1")
	for how, told := range map[dnstest.How]bool{dnstest.NXDomain: false, dnstest.NoData: false, dnstest.NotImpl: true, dnstest.Refused: true} {
		s.Fail("AAAA", how)
		w := watchDNS(t, s, "nats.example.")
		w.eventually("10.0.0.1:4222")
		w.again(5)
		w.stop()
		require.Equal(t, told, len(w.warnings()) > 0, "%d: %q", how, w.warnings())
	}
}

// More than NATS has use for, duplicates, and answers that are too long for UDP.
func TestDNSOfVeryManyAddresses(t *testing.T) {
	t.Parallel()
	s := dnstest.New(t)
	many := dnstest.Loopback(1500)
	s.Set("nats.example", append(slices.Clone(many), many...)...)
	w := watchDNS(t, s, "nats.example.")
	w.until(func() bool { return len(w.now()) > 0 }, "nothing")
	require.Len(t, w.now(), 1024)
	before := w.now()
	w.again(10)
	require.Equal(t, before, w.now(), "always the same")
	w.warned("it lists too many addresses")
	require.True(t, slices.ContainsFunc(s.Asked(), func(q dnstest.Question) bool { return q.Network == "tcp" }))
	s.Set("nats.example", many[7:9]...)
	w.eventually("127.1.0.8:4222 127.1.0.9:4222")
}

// Addresses that none can be, as of a DNS server that blocks names, are left out, and take nothing away.
func TestDNSOfAddressesThatCannotBe(t *testing.T) {
	t.Parallel()
	s := dnstest.New(t)
	s.Set("nats.example", "10.0.0.1", "0.0.0.0", "224.0.0.1")
	w := watchDNS(t, s, "nats.example.")
	w.eventually("10.0.0.1:4222")
	require.ErrorContains(t, w.failed(discovery.ReasonMalformed), `A nats.example.: 2 of 3 cannot be used: the first: address`)
	s.Set("nats.example", "0.0.0.0", "::")
	w.again(5)
	w.stands("10.0.0.1:4222")
	require.NotContains(t, w.logged(), "msg=gone")
	s.Set("nats.example", "10.0.0.2")
	w.eventually("10.0.0.2:4222")
}

// asking counts lookups.
type asking struct{ n, addresses atomic.Int64 }

func (a *asking) OnLookup(info discovery.LookupInfo) {
	a.n.Add(1)
	a.addresses.Store(int64(info.Addresses))
}

// A name with a dot at its end costs a query for each record type and lookup, and nothing else.
func TestQueriesOfALookup(t *testing.T) {
	t.Parallel()
	for kind, types := range map[string][]string{"DNS": {"A", "AAAA"}, "IPv4": {"A"}, "SRV": {"SRV"}} {
		s := dnstest.New(t)
		s.Set("nats.example", "10.0.0.1", "fd00::1")
		s.SetSRV("_nats._tcp.example", dnstest.SRV{Target: "nats.example", Port: 4222})
		lookups := &asking{}
		options := often(s, discovery.WithHooks(lookups))
		strategy := discovery.DNS("nats.example.", options...)
		switch kind {
		case "IPv4":
			strategy = discovery.DNS("nats.example.", append(options, discovery.IPv4Only())...)
		case "SRV":
			strategy = discovery.SRV("_nats._tcp.example.", options...)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		told := 0
		_ = strategy.Discover(ctx, func(list []discovery.Address, err error) {
			require.NoError(t, err)
			if told++; told == 20 {
				cancel() // within found: no lookup runs
			}
		})
		require.Eventually(t, func() bool { return lookups.n.Load() >= 20 }, 20*time.Second, time.Millisecond)
		require.EqualValues(t, 20, lookups.n.Load())
		require.Len(t, s.Asked(), 20*len(types))
		for _, of := range types {
			n := 0
			for _, got := range asked(s) {
				if got == of {
					n++
				}
			}
			require.Equal(t, 20, n, of)
		}
	}
}

// One of the machine's DNS servers that is dead does not take all of the time, nor does a packet that is lost.
func TestADeadDNSServerLeavesTimeForTheOthers(t *testing.T) {
	t.Parallel()
	dead, s := dnstest.New(t), dnstest.New(t)
	dead.Fail("", dnstest.Silent)
	s.Set("nats.example", "10.0.0.1")
	var dials atomic.Int64
	to := []*dnstest.Server{dead, s}
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		return to[dials.Add(1)%2].Resolver().Dial(ctx, network, address)
	}}
	dials.Store(1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := false
	strategy := discovery.DNS("nats.example.", discovery.WithResolver(r), discovery.IPv4Only(), discovery.Timeout(2*time.Second))
	_ = strategy.Discover(ctx, func(list []discovery.Address, err error) {
		if !told { // by the first lookup
			require.NoError(t, err)
			require.Equal(t, "10.0.0.1", list[0].Host)
		}
		told = true
		cancel()
	})
	require.True(t, told)
	require.Len(t, dead.Asked(), 1)
	require.Len(t, s.Asked(), 1)
}

// Who no longer waits for an answer leaves nothing behind: not the socket on which it would come, either.
func TestALookupThatIsCancelledClosesItsConnection(t *testing.T) {
	s := dnstest.New(t)
	s.Delay(time.Hour)
	var open atomic.Int64
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := net.Dial(network, s.Addr())
		open.Add(1)
		return &counted{conn.(*net.UDPConn), &open}, err
	}}
	for _, strategy := range []discovery.Strategy{
		discovery.DNS("nats.example.", discovery.WithResolver(r), discovery.Timeout(time.Minute)),
		discovery.SRV("_nats._tcp.example.", discovery.WithResolver(r), discovery.Timeout(time.Minute)),
	} {
		s.Forget()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- strategy.Discover(ctx, func([]discovery.Address, error) { t.Error("it told something") })
		}()
		require.Eventually(t, func() bool { return len(s.Asked()) > 0 }, 20*time.Second, time.Millisecond)
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.Eventually(t, func() bool { return open.Load() == 0 }, 20*time.Second, time.Millisecond)
	}
}

// counted is a connection that counts as open until it is closed.
type counted struct {
	*net.UDPConn
	open *atomic.Int64
}

// SetDeadline sets none: Go's resolver would wait for ever.
func (c *counted) SetDeadline(time.Time) error { return nil }

func (c *counted) Close() error {
	err := c.UDPConn.Close()
	if err == nil {
		c.open.Add(-1)
	}
	return err
}

// working lets a server work again.
func working(s *dnstest.Server) {
	s.Start()
	s.Delay(0)
	s.Fail("", dnstest.OK)
}
