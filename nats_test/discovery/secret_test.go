package discovery_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/replaced"
)

// heard are the events of a hook, as text.
type heard struct{ lines }

func (h *heard) add(event any) { _, _ = fmt.Fprintf(h, "%+v\n", event) }

func (h *heard) OnServers(i rolebus.ServersInfo)           { h.add(i) }
func (h *heard) OnConnected(i rolebus.ConnectedInfo)       { h.add(i) }
func (h *heard) OnDisconnected(i rolebus.DisconnectedInfo) { h.add(i) }

// The user and the password of the URL beside the strategy, which may have any letter in it, go to all servers that are found, at first and
// later; and nowhere else: not into a log, a hook or an error.
func TestThePasswordGoesToServersOnly(t *testing.T) {
	t.Parallel()
	c := replaced.New(t, replaced.Shape{})
	ca := nats.RootCAs(c.CAFile())
	known := newBoard(ofDomain(c.Addresses()[:1])...)
	log, hook := &lines{}, &heard{}
	beside := func(password string) string {
		return "tls://" + replaced.User + ":" + escaped(password) + "@127.9.0.1:1" // nobody is there
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := rolebus.Connect(ctx, beside(replaced.Password), rolebus.WithDiscovery(known), rolebus.WithNode("a"), log.option(), rolebus.WithHooks(hook),
		rolebus.WithNATS(ca, nats.IgnoreDiscoveredServers()))
	require.NoError(t, err)
	defer b.Close()
	for i := range 3 {
		now := append(ofDomain(c.Addresses()[i:i+1]), rolebus.Address{Host: "no host"}, rolebus.Address{Host: "127.9.0.2", Port: 1, Scheme: "ws"})
		known.tell(now, fmt.Errorf("the list lacks something"))
		known.tell(now, nil)
		eventually(t, "the server to be in the pool", has(b, now[0]))
		if i > 0 {
			c.Stop(i - 1)
			eventually(t, "it to go there", isAt(b, now[0]))
		}
		if i > 0 {
			c.Return(i - 1)
		}
	}
	require.NoError(t, b.Close())

	refused := []string{}
	for _, password := range []string{"gue/ss@wörk:99", replaced.Password + "x"} {
		_, err = rolebus.Connect(ctx, beside(password), rolebus.WithDiscovery(known), log.option(), rolebus.WithNATS(ca))
		require.ErrorContains(t, err, "Authorization Violation")
		refused = append(refused, err.Error())
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = rolebus.Connect(short, beside(replaced.Password), rolebus.WithDiscovery(newBoard(dead(3)...)), log.option(), rolebus.WithNATS(ca))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	refused = append(refused, err.Error())

	require.Positive(t, hook.count("Servers:"))
	all := log.text() + hook.text() + strings.Join(refused, "\n")
	for _, password := range []string{replaced.Password, "gue/ss@wörk:99"} {
		for _, form := range []string{password, url.QueryEscape(password), url.PathEscape(password), url.UserPassword("", password).String()[1:], escaped(password), password[:5]} {
			require.NotContains(t, all, form)
		}
	}
}

// escaped is a password as it stands in a URL, whatever is in it.
func escaped(password string) string {
	var all strings.Builder
	for _, b := range []byte(password) {
		fmt.Fprintf(&all, "%%%02X", b)
	}
	return all.String()
}
