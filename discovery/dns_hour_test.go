package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/stretchr/testify/require"
)

// ownResolver is one of a program's own, which answers as it is told.
type ownResolver struct {
	mu     sync.Mutex
	hosts  []netip.Addr
	srvs   []*net.SRV
	fail   func(ctx context.Context) error // nil: it works
	lookup map[string]int
}

func (r *ownResolver) is(hosts ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail, r.hosts, r.srvs = nil, nil, nil
	for _, host := range hosts {
		r.hosts = append(r.hosts, netip.MustParseAddr(host))
		r.srvs = append(r.srvs, &net.SRV{Target: host + ".", Port: 4222})
	}
}

func (r *ownResolver) fails(fail func(ctx context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = fail
}

func (r *ownResolver) count(what string) func(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lookup == nil {
		r.lookup = map[string]int{}
	}
	r.lookup[what]++
	return r.fail
}

func (r *ownResolver) lookups() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.lookup
	r.lookup = nil
	return got
}

func (r *ownResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if fail := r.count(network + " " + host); fail != nil {
		return nil, fail(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hosts, nil // of both families, whatever was asked for
}

func (r *ownResolver) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if fail := r.count("SRV " + service + proto + name); fail != nil {
		return "", nil, fail(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return name, r.srvs, nil
}

// failures counts what hooks are told, by its reason.
type failures struct {
	mu      sync.Mutex
	reasons map[discovery.Reason]int
	last    discovery.FailedInfo
}

func (f *failures) OnFailed(info discovery.FailedInfo) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reasons[info.Reason]++
	f.last = info
}

// lookingUp are the strategies that look names up, by a resolver of the test's.
var lookingUp = map[string]func(r *ownResolver, opts ...discovery.Option) discovery.Strategy{
	"DNS": func(r *ownResolver, opts ...discovery.Option) discovery.Strategy {
		return discovery.DNS("nats.example", append(opts, discovery.WithResolver(r))...)
	},
	"SRV": func(r *ownResolver, opts ...discovery.Option) discovery.Strategy {
		return discovery.SRV("_nats._tcp.example", append(opts, discovery.WithResolver(r))...)
	},
}

// Discovery that fails in any way for an hour changes nothing, is told, floods no log, and is over once it works again.
func TestAnHourOfFailedLookups(t *testing.T) {
	dns := func(e net.DNSError) func(context.Context) error {
		e.Name = "nats.example"
		return func(context.Context) error { return &e }
	}
	for name, test := range map[string]struct {
		fail   func(ctx context.Context) error
		reason discovery.Reason
		least  int // failures in an hour
		most   int
	}{
		// What says that there is nothing is asked as ever: about 720 times.
		"no such host": {dns(net.DNSError{Err: "no such host", IsNotFound: true}), discovery.ReasonNotFound, 650, 800},
		"nothing":      {func(context.Context) error { return nil }, discovery.ReasonEmpty, 650, 800},
		"hosts file":   {func(context.Context) error { return &net.AddrError{Err: "no suitable address"} }, discovery.ReasonEmpty, 650, 800},
		// What fails is asked less and less often: every minute, in the end.
		"misbehaves":  {dns(net.DNSError{Err: "server misbehaving", IsTemporary: true}), discovery.ReasonUnavailable, 55, 75},
		"refuses":     {dns(net.DNSError{Err: "server misbehaving"}), discovery.ReasonUnavailable, 55, 75},
		"times out":   {dns(net.DNSError{Err: "i/o timeout", IsTimeout: true}), discovery.ReasonTimeout, 55, 75},
		"other error": {func(context.Context) error { return errors.New("out of order") }, discovery.ReasonOther, 55, 75},
		"says itself": {func(context.Context) error {
			return &discovery.Failure{Reason: discovery.ReasonThrottled, Err: errors.New("not so often")}
		}, discovery.ReasonThrottled, 55, 75},
		"waits":  {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, discovery.ReasonTimeout, 45, 75},
		"panics": {func(context.Context) error { panic("out of order") }, discovery.ReasonOther, 55, 75},
		"exits":  {func(context.Context) error { runtime.Goexit(); return nil }, discovery.ReasonOther, 55, 75},
	} {
		for kind, make := range lookingUp {
			t.Run(name+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r, told := &ownResolver{}, &failures{reasons: map[discovery.Reason]int{}}
					r.is("10.0.0.1", "fd00::1")
					if kind == "SRV" {
						r.is("10.0.0.1", "10.0.0.2")
					}
					w := watch(t, func(seen ...discovery.Option) discovery.Strategy {
						return make(r, append(seen, discovery.WithHooks(told))...)
					})
					synctest.Wait()
					before := w.now()
					require.Len(t, before, 2)
					r.fails(test.fail)
					time.Sleep(time.Hour)
					synctest.Wait()
					require.Equal(t, before, w.now())
					told.mu.Lock()
					require.Len(t, told.reasons, 1, "%v", told.reasons)
					n := told.reasons[test.reason]
					require.GreaterOrEqual(t, n, test.least)
					require.LessOrEqual(t, n, test.most)
					require.Equal(t, n, told.last.InARow, "each is told once")
					if kind == "DNS" {
						require.Regexp(t, "^A and AAAA nats.example: [^\n]*$", told.last.Err.Error(), "and what both families say, too")
					}
					told.mu.Unlock()
					if name != "panics" { // whose stack is logged each time, as everywhere
						require.LessOrEqual(t, len(w.warnings()), 20, "%q", w.warnings())
					}
					require.NotEmpty(t, w.warnings())
					require.NotContains(t, w.logged(), "works again")
					require.NotContains(t, w.logged(), "msg=gone")
					r.is("10.0.0.9", "fd00::1")
					time.Sleep(70 * time.Second)
					synctest.Wait()
					require.Contains(t, w.now(), "10.0.0.9:4222")
					require.Contains(t, w.logged(), "works again")
				})
			})
		}
	}
}

// Half of an hour of failures in one family floods no log, either, and the other one is followed.
func TestAnHourWithoutOneFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, told := &oneFamily{}, &failures{reasons: map[discovery.Reason]int{}}
		w := watch(t, func(seen ...discovery.Option) discovery.Strategy {
			return discovery.DNS("nats.example", append(seen, discovery.WithResolver(r), discovery.WithHooks(told))...)
		})
		synctest.Wait()
		w.stands("10.0.0.1:4222 [fd00::1]:4222")
		r.fails(true)
		time.Sleep(30 * time.Minute)
		r.is("10.0.0.2")
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		w.stands("10.0.0.2:4222 [fd00::1]:4222")
		require.LessOrEqual(t, len(w.warnings()), 20)
		told.mu.Lock()
		defer told.mu.Unlock()
		require.InDelta(t, 720, told.reasons[discovery.ReasonUnavailable], 40, "no backoff: IPv4 works")
		require.Len(t, told.reasons, 1)
	})
}

// oneFamily is a resolver whose IPv6 may fail.
type oneFamily struct {
	ownResolver
	mu   sync.Mutex
	v4   string
	fail bool
}

func (r *oneFamily) fails(fail bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = fail
}

func (r *oneFamily) is(v4 string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.v4 = v4
}

func (r *oneFamily) LookupNetIP(_ context.Context, network, _ string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case network == "ip6" && r.fail:
		return nil, &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	case network == "ip6":
		return []netip.Addr{netip.MustParseAddr("fd00::1")}, nil
	case r.v4 == "":
		return []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.1")}, nil
	}
	return []netip.Addr{netip.MustParseAddr(r.v4)}, nil
}

// An interval is what it says: each record type is asked for once.
func TestLookupsOfAnInterval(t *testing.T) {
	for kind, make := range lookingUp {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &ownResolver{}
				r.is("10.0.0.1", "fd00::1")
				w := watch(t, func(seen ...discovery.Option) discovery.Strategy {
					return make(r, append(seen, discovery.Interval(5*time.Second))...)
				})
				time.Sleep(1000 * 5 * time.Second)
				synctest.Wait()
				w.stop()
				want := []string{"ip4 nats.example", "ip6 nats.example"}
				if kind == "SRV" {
					want = []string{"SRV _nats._tcp.example"}
				}
				got := r.lookups()
				require.Len(t, got, len(want))
				for _, what := range want {
					require.InDelta(t, 1000, got[what], 20, what)
				}
			})
		})
	}
}

// A program's own resolver may give anything.
func TestStrangeResultsOfAResolver(t *testing.T) {
	for name, test := range map[string]struct {
		ips  []netip.Addr
		srvs []*net.SRV
		err  error
		want string // of DNS, and of SRV
		text string
	}{
		"addresses that are none": {[]netip.Addr{{}, netip.MustParseAddr("10.0.0.1")}, []*net.SRV{nil, {Target: "a", Port: 1}}, nil, "10.0.0.1:4222|a:1", ""},
		"a part and an error": {[]netip.Addr{netip.MustParseAddr("10.0.0.1")}, []*net.SRV{{Target: "a.", Port: 1}}, errors.New("not all"),
			"10.0.0.1:4222|a:1", "not all"},
		"nil in place of all":     {nil, []*net.SRV{nil, nil}, nil, "|", "no such records"},
		"a target that is none":   {[]netip.Addr{netip.IPv4Unspecified()}, []*net.SRV{{Target: "a b.", Port: 1}}, nil, "|", "neither a name nor an IP address"},
		"a target with a port":    {[]netip.Addr{netip.IPv6Unspecified()}, []*net.SRV{{Target: "a:1", Port: 1}}, nil, "|", "neither a name nor an IP address"},
		"an address of a machine": {[]netip.Addr{netip.MustParseAddr("10.0.0.1")}, []*net.SRV{{Target: "10.0.0.1.", Port: 1}}, nil, "10.0.0.1:4222|10.0.0.1:1", ""},
	} {
		for kind := range lookingUp {
			t.Run(fmt.Sprint(name, "/", kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := fixed{test.ips, test.srvs, test.err}
					w := watch(t, func(seen ...discovery.Option) discovery.Strategy {
						if kind == "SRV" {
							return discovery.SRV("_nats._tcp.example", append(seen, discovery.WithResolver(r))...)
						}
						return discovery.DNS("nats.example", append(seen, discovery.WithResolver(r), discovery.IPv4Only())...)
					})
					text := test.text
					if kind == "DNS" && name == "a target with a port" {
						text = "no such records" // of the other family
					}
					synctest.Wait()
					want4, wantSRV, _ := strings.Cut(test.want, "|")
					w.stands(map[string]string{"DNS": want4, "SRV": wantSRV}[kind])
					if text == "" {
						require.Empty(t, w.warnings())
					} else {
						w.warned(text)
					}
				})
			})
		}
	}
}

type fixed struct {
	ips  []netip.Addr
	srvs []*net.SRV
	err  error
}

func (r fixed) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return r.ips, r.err
}

func (r fixed) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", r.srvs, r.err
}
