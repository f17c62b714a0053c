package dnstest_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/rolebus/rolebus/internal/dnstest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func lookup(t *testing.T, s *dnstest.Server, network string) ([]string, error) {
	t.Helper()
	ips, err := s.Resolver().LookupNetIP(within(t, 10*time.Second), network, "nats.example.")
	var all []string
	for _, ip := range ips {
		all = append(all, ip.String())
	}
	return all, err
}

// What a test sets is what a resolver gets, at once.
func TestAZoneChangesWhileTheServerRuns(t *testing.T) {
	s := dnstest.New(t)
	_, err := lookup(t, s, "ip4")
	var failure *net.DNSError
	require.ErrorAs(t, err, &failure)
	require.True(t, failure.IsNotFound)
	s.Set("NATS.example", "127.0.0.1", "127.0.0.2", "::1")
	got, err := lookup(t, s, "ip4")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"127.0.0.1", "127.0.0.2"}, got)
	got, err = lookup(t, s, "ip6")
	require.NoError(t, err)
	require.Equal(t, []string{"::1"}, got)
	s.Alias("nats.example.", "other.example")
	s.Set("other.example", "127.0.0.9")
	got, err = lookup(t, s, "ip4")
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.9"}, got)
	s.Remove("nats.example")
	_, err = lookup(t, s, "ip4")
	require.Error(t, err)

	s.SetSRV("_nats._tcp.example", dnstest.SRV{Target: "a.example", Port: 4222, Priority: 1, Weight: 2}, dnstest.SRV{Target: "", Priority: 9})
	_, srvs, err := s.Resolver().LookupSRV(within(t, 10*time.Second), "", "", "_nats._tcp.example.")
	require.NoError(t, err)
	require.Equal(t, []*net.SRV{{Target: "a.example.", Port: 4222, Priority: 1, Weight: 2}, {Target: ".", Priority: 9}}, srvs)
	require.Equal(t, dnstest.Question{Name: "nats.example.", Type: "A", Network: "udp"}, s.Asked()[0])
	s.Forget()
	require.Empty(t, s.Asked())
}

// Each way to fail is one that a resolver sees.
func TestItFailsAsItIsTold(t *testing.T) {
	s := dnstest.New(t)
	s.Set("nats.example", "127.0.0.1", "127.0.0.2")
	for _, how := range []dnstest.How{
		dnstest.NXDomain, dnstest.NoData, dnstest.ServFail, dnstest.Refused, dnstest.NotImpl, dnstest.BadRecords, dnstest.NoTCP, dnstest.NoRecursion,
	} {
		s.Fail("A", how)
		_, err := lookup(t, s, "ip4")
		require.Error(t, err, "how %d", how)
	}
	for _, how := range []dnstest.How{dnstest.Silent, dnstest.Garbage, dnstest.WrongID, dnstest.WrongName} {
		s.Fail("A", how)
		_, err := s.Resolver().LookupNetIP(within(t, 100*time.Millisecond), "ip4", "nats.example.")
		require.ErrorIs(t, err, context.DeadlineExceeded, "how %d", how)
	}
	s.Fail("A", dnstest.Truncated)
	s.Forget()
	got, err := lookup(t, s, "ip4")
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, []string{"udp", "tcp"}, []string{s.Asked()[0].Network, s.Asked()[1].Network})
	s.Fail("A", dnstest.Cut)
	got, err = lookup(t, s, "ip4")
	require.NoError(t, err, "nobody is told")
	require.Len(t, got, 1)
	s.Fail("A", dnstest.OK)
	s.Fail("", dnstest.ServFail)
	_, err = lookup(t, s, "ip4")
	require.Error(t, err)
	s.Fail("", dnstest.OK)
	s.Alias("nats.example", "b.example")
	s.Alias("b.example", "nats.example")
	_, err = lookup(t, s, "ip4")
	require.Error(t, err)
	s.Set("b.example", "127.0.0.1")
	s.Fail("A", dnstest.AliasAlone)
	_, err = lookup(t, s, "ip4")
	require.Error(t, err)
}

// A server that dies closes its port, and comes back on the same one; what was held back is not answered.
func TestItDiesAndComesBack(t *testing.T) {
	s := dnstest.New(t)
	s.Set("nats.example", dnstest.Loopback(1500)...)
	addr := s.Addr()
	got, err := lookup(t, s, "ip4")
	require.NoError(t, err)
	require.Len(t, got, 1500)
	s.Delay(time.Hour)
	s.Forget()
	done := make(chan error, 1)
	go func() {
		_, err := s.Resolver().LookupNetIP(within(t, time.Second), "ip4", "nats.example.")
		done <- err
	}()
	require.Eventually(t, func() bool { return len(s.Asked()) > 0 }, 10*time.Second, time.Millisecond)
	s.Stop()
	s.Stop()
	var failure *net.DNSError
	require.True(t, errors.As(<-done, &failure))
	s.Delay(0)
	s.Start()
	s.Start()
	require.Equal(t, addr, s.Addr())
	got, err = lookup(t, s, "ip4")
	require.NoError(t, err)
	require.Len(t, got, 1500)
	require.True(t, netip.MustParseAddr(got[0]).IsLoopback())
}
