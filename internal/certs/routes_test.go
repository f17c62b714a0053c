package certs_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// The certificates of a cluster and their authority are replaced while it works: what is connected stays, and what connects anew, or starts
// anew, has the new ones.
func TestACertificateAuthorityIsReplacedUnderACluster(t *testing.T) {
	a, b := newAuthority(t, "one"), newAuthority(t, "two")
	all := newMembers(t, 3, a)
	for _, m := range all {
		m.start(all...)
	}
	links := formed(t, all)
	require.Equal(t, []string{"one"}, met(all[0]))
	delivers(t, all)
	var standing []*nats.Conn
	for _, m := range all {
		standing = append(standing, client(t, m))
		defer standing[len(standing)-1].Close()
	}
	stays := func() {
		t.Helper()
		delivers(t, all) // new clients, who look at the files
		require.Equal(t, links, formed(t, all), "%v", logs(all))
	}
	again := func(issuers ...string) {
		t.Helper()
		cut(all)
		links = formed(t, all, links...)
		require.Equal(t, issuers, met(all...))
		delivers(t, all)
	}

	for _, m := range all {
		m.place.trust(a, b)
		stays()
	}
	again("one")
	for i, m := range all {
		m.place.put(b.issue(t, []string{m.host}))
		stays()
		if i == 0 {
			again("one", "two")
		}
	}
	again("two")
	for i, m := range all {
		m.place.trust(b)
		stays()
		if i == 0 {
			again("two")
		}
	}
	again("two")

	for _, nc := range standing {
		require.True(t, nc.IsConnected())
		require.Zero(t, nc.Stats().Reconnects)
		nc.Close()
	}

	// Who starts anew knows only the new ones.
	all[1].stop()
	all[1].start(all...)
	links = formed(t, all)
	require.Equal(t, []string{"two"}, met(all[1]))
	stays()
	for _, m := range all {
		require.Zero(t, m.place.log.count("level=WARN"), m.place.log)
		require.Zero(t, m.log.count("[error]", "TLS", "certificate"), m.log) // a cut may end a handshake otherwise
	}

	// And who has only the old ones is refused, by routes and by clients' ports, and refuses, and all others stay as they are.
	late := newMembers(t, 1, a)[0]
	late.place.files.Names = all[0].place.files.Names
	late.start(all...)
	late.refuses(all[0])
	_, err := nats.Connect(late.ns.ClientURL(), nats.Secure(all[0].pair.Client(late.host)), nats.NoReconnect())
	require.ErrorContains(t, err, "unknown authority")
	_, err = nats.Connect(all[0].ns.ClientURL(), nats.Secure(late.pair.Client(all[0].host)), nats.NoReconnect())
	require.ErrorContains(t, err, "unknown authority")
	stays()
}

// saw waits until one has refused another at least twice, for a reason, and no route is left between any.
func saw(t *testing.T, m *member, told string, other *member) {
	t.Helper()
	before := m.log.count("TLS route handshake error", told)
	require.Eventually(t, func() bool { return m.log.count("[error]", "TLS route handshake error", told) >= before+2 },
		deadline, 10*time.Millisecond, "%s%s", m.log, other.log)
	require.Zero(t, other.ns.NumRoutes())
}

// refuses waits until it has refused the other, or has been refused by it.
func (m *member) refuses(other *member) {
	m.t.Helper()
	require.Eventually(m.t, func() bool {
		return m.log.count("[error]", "TLS route handshake error") >= 2 && other.log.count("[error]", "TLS route handshake error") >= 1
	}, deadline, 10*time.Millisecond, "%s%s", m.log, other.log)
	require.Zero(m.t, m.ns.NumRoutes())
}

// client is one that shows a member's certificate to that member.
func client(t *testing.T, m *member) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(m.ns.ClientURL(), nats.Secure(m.pair.Client(m.host)), nats.Timeout(deadline))
	require.NoError(t, err, "%s%s", m.log, m.place.log)
	return nc
}

// delivers has a client at each member, and a message from each arrive at all.
func delivers(t *testing.T, all []*member) {
	t.Helper()
	var subs []*nats.Subscription
	var conns []*nats.Conn
	for _, m := range all {
		nc := client(t, m)
		defer nc.Close()
		sub, err := nc.SubscribeSync("hello.>")
		require.NoError(t, err)
		require.NoError(t, nc.Flush())
		conns, subs = append(conns, nc), append(subs, sub)
	}
	for i, nc := range conns {
		subject := "hello." + all[i].name
		for j, sub := range subs {
			require.Eventually(t, func() bool { // interest takes a while to be known
				for nc.Publish(subject, nil) == nil {
					msg, err := sub.NextMsg(100 * time.Millisecond)
					if err != nil {
						return false
					}
					if msg.Subject == subject {
						return true
					}
				}
				return false
			}, deadline, time.Millisecond, "%s to %s: %v", all[i].name, all[j].name, logs(all))
		}
	}
}

// By this text who runs nats-server tells its warning from others, and leaves it out: it is not so.
func TestTheWarningOfRoutes(t *testing.T) {
	m := newMembers(t, 1, newAuthority(t, "one"))[0]
	m.start()
	require.Equal(t, 1, m.log.count("[warning] the warning of routes"), m.log)
	require.NoError(t, m.ns.ReloadOptions(m.opts.Clone()))
	require.Equal(t, 2, m.log.count("[warning] the warning of routes"), m.log)
	require.Equal(t, 2, m.log.count("[warning]"), m.log)
}
