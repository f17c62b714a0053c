//go:build long

package discovery_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/internal/lan"
)

// fails waits until a failure with the text was told.
func fails(t *testing.T, l *listing, text string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return errors.Join(l.failures()...) != nil && strings.Contains(errors.Join(l.failures()...).Error(), text)
	},
		20*time.Second, 10*time.Millisecond, "%s", text)
}

// ever says whether a list had the address.
func (l *listing) ever(a discovery.Address, since int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range l.lists[since:] {
		for _, each := range list {
			if each == a {
				return true
			}
		}
	}
	return false
}

func (l *listing) told() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lists)
}

// stranger is on the network, hears all, and sends what it likes. It has no secret.
type stranger struct {
	conn *net.UDPConn
	to   *net.UDPAddr

	mu    sync.Mutex
	heard [][]byte
	ttl   int // of the last one
}

func newStranger(t testing.TB, p *lan.Port) *stranger {
	var p4 *ipv4.PacketConn
	s := &stranger{to: &net.UDPAddr{IP: net.IPv4(233, 252, 1, 32), Port: 45892}}
	p.Do(func() error {
		ifi, err := net.InterfaceByName(p.Name)
		if err != nil {
			return err
		}
		listening := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		}}
		conn, err := listening.ListenPacket(t.Context(), "udp4", "0.0.0.0:45892")
		if err != nil {
			return err
		}
		s.conn = conn.(*net.UDPConn)
		p4 = ipv4.NewPacketConn(conn)
		return errors.Join(p4.SetControlMessage(ipv4.FlagTTL, true), p4.JoinGroup(ifi, s.to), p4.SetMulticastInterface(ifi), p4.SetMulticastLoopback(false))
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2000)
		for {
			n, m, _, err := p4.ReadFrom(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			if m != nil {
				s.ttl = m.TTL
			}
			s.heard = append(s.heard, bytes.Clone(b[:n]))
			s.mu.Unlock()
		}
	}()
	t.Cleanup(func() { s.conn.Close(); <-done })
	return s
}

func (s *stranger) recorded() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte(nil), s.heard...)
}

func (s *stranger) send(packets ...[]byte) {
	for _, p := range packets {
		_, _ = s.conn.WriteToUDP(p, s.to)
	}
}

const fast = 100 * time.Millisecond

func TestGossipClustersOnOneNetwork(t *testing.T) {
	if !lan.Namespaced(t) {
		return
	}
	l := lan.New(t)
	a, b, c := l.Host(), l.Host(), l.Host()
	mine := discovery.Gossip("one", gossipSecret, discovery.Interval(fast))
	foreign := discovery.Gossip("one", gossipSecret+"-another", discovery.Interval(fast))
	other := discovery.Gossip("two", gossipSecret, discovery.Interval(fast))
	onMine, onForeign, onOther := discovering(t, on{c.Host, mine}), discovering(t, on{c.Host, foreign}), discovering(t, on{b.Host, other})
	announcing(t, on{a.Host, mine}, at(a))
	announcing(t, on{b.Host, foreign}, at(b))
	announcing(t, on{b.Host, other}, at(c))
	lists(t, onMine, at(a))
	lists(t, onForeign, at(b))
	lists(t, onOther, at(c))
	fails(t, onMine, `are sealed with another secret, or were changed on their way (if it is one of yours`)
	fails(t, onMine, `are of another cluster, with the same secret: "two" (give the clusters`)
	fails(t, onOther, `are of another cluster, with the same secret: "one"`)
	for _, l := range []*listing{onMine, onForeign, onOther} {
		require.LessOrEqual(t, len(l.failures()), 6, "%v", l.failures())
		require.Len(t, l.last(), 1)
	}
}

func TestGossipIsNotReplayed(t *testing.T) {
	if !lan.Namespaced(t) {
		return
	}
	l := lan.New(t)
	a, b, c := l.Host(), l.Host(), l.Host()
	s := newStranger(t, l.Host())
	gossip := discovery.Gossip("one", gossipSecret, discovery.Interval(fast))
	client := discovering(t, on{c.Host, gossip})
	stopA := announcing(t, on{a.Host, gossip}, at(a))
	lists(t, client, at(a))
	announcing(t, on{b.Host, gossip}, at(b))
	lists(t, client, at(a), at(b))
	require.Eventually(t, func() bool { return len(s.recorded()) > 20 }, 20*time.Second, 10*time.Millisecond)
	stopA()
	lists(t, client, at(b))
	after := client.told()
	tape := s.recorded() // states, questions of clients, answers to them, and a's goodbye

	// Whoever starts only now has never heard any of it.
	late := discovering(t, on{a.Host, gossip})
	for range 20 {
		s.send(tape...)
	}
	lists(t, late, at(b))
	for i := range 3 { // each has gone through all that was sent before
		x := at(c)
		x.Port += i
		stop := announcing(t, on{c.Host, gossip}, x)
		lists(t, late, at(b), x)
		lists(t, client, at(b), x)
		s.send(tape...)
		stop()
		s.send(s.recorded()...)
		lists(t, late, at(b))
		lists(t, client, at(b))
	}
	require.False(t, client.ever(at(a), after), "it came back")
	require.False(t, late.ever(at(a), 0))

	// The same address in a new life does not go by the goodbye of the old one.
	announcing(t, on{a.Host, gossip}, at(a))
	lists(t, client, at(a), at(b))
	before := client.told()
	s.send(s.recorded()...)
	s.send(tape...)
	announcing(t, on{c.Host, gossip}, at(c))
	lists(t, client, at(a), at(b), at(c))
	require.Equal(t, before+1, client.told(), "nothing else changed")
}

func TestGossipWhenTheNetworkGoesAndComes(t *testing.T) {
	if !lan.Namespaced(t) {
		return
	}
	l := lan.New(t)
	a, b := l.Host(), l.Host()
	c := l.On(lan.NewHost(t), "eth0", false)
	opts := []discovery.Option{discovery.Interval(fast), discovery.GoneAfter(time.Second), discovery.Interfaces("eth0")}
	gossip := discovery.Gossip("one", gossipSecret, opts...)
	stopA := announcing(t, on{a.Host, gossip}, at(a))
	announcing(t, on{b.Host, gossip}, at(b))
	client := discovering(t, on{c.Host, gossip})
	fails(t, client, `interface "eth0": this machine has none with this name or address that is up (it is tried again`)
	announcing(t, on{c.Host, gossip}, at(c))
	c.Up(true)
	lists(t, client, at(a), at(b), at(c))

	// All others fall silent: that is this process, whose cable is out. Its own server, which is heard as ever, says nothing about them.
	told := client.told()
	l.Up(c.Cable, false)
	require.Eventually(t, func() bool { return !carried(c) }, 10*time.Second, 10*time.Millisecond)
	stopA()
	onC := discovering(t, on{c.Host, discovery.Gossip("one", gossipSecret, discovery.Interval(fast), discovery.GoneAfter(fast))})
	lists(t, onC, at(c))
	require.Equal(t, told, client.told())
	l.Up(c.Cable, true)
	lists(t, client, at(b), at(c)) // a is silent, and b is heard

	c.Up(false)
	c.Up(true)
	announcing(t, on{a.Host, gossip}, at(a))
	lists(t, client, at(a), at(b), at(c))
}

// carried says whether the port has a carrier.
func carried(p *lan.Port) (running bool) {
	p.Do(func() error {
		ifi, err := net.InterfaceByName(p.Name)
		running = err == nil && ifi.Flags&net.FlagRunning != 0
		return err
	})
	return running
}

func TestGossipWhenAllAreSilent(t *testing.T) {
	if !lan.Namespaced(t) {
		return
	}
	l := lan.New(t)
	a, b, c := l.Host(), l.Host(), l.Host()
	gossip := discovery.Gossip("one", gossipSecret, discovery.Interval(fast), discovery.GoneAfter(time.Second))
	client := discovering(t, on{c.Host, gossip})
	kill := process(t, a, at(a))
	announcing(t, on{b.Host, gossip}, at(b))
	lists(t, client, at(a), at(b))
	kill() // without a goodbye
	lists(t, client, at(b))
	told := client.told()
	l.Up(b.Cable, false)
	fails(t, client, `nobody of cluster "one" was heard for`)
	require.Equal(t, told, client.told(), "the last one stays")
	l.Up(b.Cable, true)
	process(t, a, at(a))
	lists(t, client, at(a), at(b))
}

// process has a process of its own announce an address on a host, until it is killed.
func process(t *testing.T, p *lan.Port, a discovery.Address) (kill func()) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestGossipSpeakerProcess$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), "ROLEBUS_TEST_ANNOUNCE="+a.String())
	p.Do(cmd.Start)
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	return kill
}

// TestGossipSpeakerProcess is no test: it is what process starts.
func TestGossipSpeakerProcess(t *testing.T) {
	text := os.Getenv("ROLEBUS_TEST_ANNOUNCE")
	if text == "" {
		return
	}
	a, err := discovery.ParseAddress(text)
	require.NoError(t, err)
	a.Scheme = ""
	gossip := discovery.Gossip("one", gossipSecret, discovery.Interval(fast))
	require.NoError(t, gossip.(discovery.Announcer).Announce(context.Background(), []discovery.Address{a}))
}
