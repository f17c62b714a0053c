package certs_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/internal/certs"
)

// member is a nats-server in the process, with an address of its own, whose routes and clients have TLS by files.
type member struct {
	t     testing.TB
	name  string
	host  string
	port  int // of routes
	place *place
	opts  *server.Options
	ns    *server.Server
	pair  *certs.Pair
	log   *serverLog

	mu       sync.Mutex
	accepted []net.Conn // of routes
	issuers  []string   // of the certificates of whom it met
}

// newMembers are n that do not run yet, each with a place that change may fill otherwise.
func newMembers(t testing.TB, n int, a *authority) (all []*member) {
	block := fmt.Sprintf("127.%d.%d.", 10+rand.IntN(240), 1+rand.IntN(250))
	for i := range n {
		m := &member{t: t, name: fmt.Sprintf("member-%d", i+1), host: block + strconv.Itoa(i+1), log: &serverLog{}}
		l, err := net.Listen("tcp", m.host+":0")
		require.NoError(t, err)
		m.port = l.Addr().(*net.TCPAddr).Port
		require.NoError(t, l.Close())
		m.place = newPlace(t, a, []string{m.host})
		all = append(all, m)
	}
	for _, m := range all {
		m.place.files.Names = func(host string) (names []string) {
			if host == "" {
				for _, other := range all {
					names = append(names, other.host)
				}
			}
			return names
		}
	}
	return all
}

// start starts it, with routes to these, and has it stopped at the test's end.
func (m *member) start(routes ...*member) {
	m.t.Helper()
	m.pair = m.place.load()
	o := &server.Options{
		ServerName: m.name, Host: m.host, Port: -1, NoSigs: true, TLSConfig: m.pair.Server(true), TLSTimeout: deadline.Seconds(),
		Cluster: server.ClusterOpts{
			Name: "certs", Host: m.host, Port: m.port, PoolSize: -1, TLSConfig: m.watched(m.pair.Mutual()), TLSTimeout: deadline.Seconds(),
		},
	}
	for _, other := range routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort(other.host, strconv.Itoa(other.port))})
	}
	ns, err := server.NewServer(o)
	require.NoError(m.t, err)
	ns.SetLoggerV2(m.log, false, false, false)
	m.ns, m.opts = ns, o
	ns.Start()
	m.t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	require.True(m.t, ns.ReadyForConnections(deadline), "%s", m.log)
}

// watched is the same configuration, of which the test learns who meets whom.
func (m *member) watched(config *tls.Config) *tls.Config {
	met := func(state tls.ConnectionState) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.issuers = append(m.issuers, state.PeerCertificates[0].Issuer.CommonName)
	}
	verify, forClient := config.VerifyConnection, config.GetConfigForClient
	config.VerifyConnection = func(state tls.ConnectionState) error {
		err := verify(state)
		if err == nil {
			met(state)
		}
		return err
	}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		m.mu.Lock()
		m.accepted = append(m.accepted, hello.Conn)
		m.mu.Unlock()
		now, err := forClient(hello)
		if err == nil {
			now.VerifyConnection = func(state tls.ConnectionState) error { met(state); return nil }
		}
		return now, err
	}
	return config
}

func (m *member) stop() {
	m.ns.Shutdown()
	m.ns.WaitForShutdown()
}

// cut closes all routes, and has all forget whom they met.
func cut(all []*member) {
	for _, m := range all {
		m.mu.Lock()
		m.issuers = nil
		m.mu.Unlock()
	}
	for _, m := range all {
		m.mu.Lock()
		for _, conn := range m.accepted {
			conn.Close()
		}
		m.accepted = nil
		m.mu.Unlock()
	}
}

// met is who issued the certificates of those whom they met since the last cut.
func met(all ...*member) (issuers []string) {
	for _, m := range all {
		m.mu.Lock()
		issuers = append(issuers, m.issuers...)
		m.mu.Unlock()
	}
	slices.Sort(issuers)
	return slices.Compact(issuers)
}

// link is a route of one to another, as one end has it.
type link struct {
	from, to string
	id       uint64 // which the server has given it: another one is another connection
	dialed   bool
}

// formed waits until each has one route to each other, and none of those of before, and returns them.
func formed(t testing.TB, all []*member, before ...link) (links []link) {
	t.Helper()
	require.Eventually(t, func() bool {
		links = nil
		dialed := map[string]int{} // by pair
		for _, m := range all {
			rz, err := m.ns.Routez(nil)
			if err != nil || len(rz.Routes) != len(all)-1 {
				return false
			}
			for _, route := range rz.Routes {
				i := slices.IndexFunc(all, func(other *member) bool { return other.name == route.RemoteName })
				if i < 0 {
					return false
				}
				l := link{m.name, route.RemoteName, route.Rid, route.Port == all[i].port}
				if slices.Contains(before, l) {
					return false
				}
				links = append(links, l)
				pair := []string{l.from, l.to}
				slices.Sort(pair)
				if l.dialed {
					dialed[strings.Join(pair, " ")]++
				} else {
					dialed[strings.Join(pair, " ")] += 0
				}
			}
		}
		for _, ends := range dialed {
			// Servers that dial each other at once may each keep the connection that the other one closes, and begin anew.
			if ends != 1 {
				return false
			}
		}
		return len(dialed) == len(all)*(len(all)-1)/2
	}, deadline, 10*time.Millisecond, "%v", logs(all))
	slices.SortFunc(links, func(a, b link) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return links
}

func logs(all []*member) (text []string) {
	for _, m := range all {
		text = append(text, m.name, m.log.String(), m.place.log.String())
	}
	return text
}

// serverLog keeps what a server logs.
type serverLog struct{ lines }

func (l *serverLog) log(level, format string, args []any) {
	fmt.Fprintf(l, "["+level+"] "+format+"\n", args...)
}
func (l *serverLog) Noticef(format string, args ...any) { l.log("notice", format, args) }
func (l *serverLog) Warnf(format string, args ...any) {
	if format == certs.RoutesWarning && len(args) == 0 {
		format = "the warning of routes"
	}
	l.log("warning", format, args)
}
func (l *serverLog) Errorf(format string, args ...any) { l.log("error", format, args) }
func (l *serverLog) Fatalf(format string, args ...any) { l.log("fatal", format, args) }
func (l *serverLog) Debugf(string, ...any)             {}
func (l *serverLog) Tracef(string, ...any)             {}
