//go:build long

package discovery_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/internal/lan"
)

// announced counts what a hook is told of announcing.
type announced struct{ well, failed atomic.Int64 }

func (a *announced) OnAnnounced(info discovery.AnnouncedInfo) {
	if info.Err == nil {
		a.well.Add(1)
	} else {
		a.failed.Add(1)
	}
}

// A program that has the port for itself is named, and once it ends all goes well.
func TestGossipWithoutItsPort(t *testing.T) {
	if !lan.Namespaced(t) {
		return
	}
	l := lan.New(t)
	a, b := l.Host(), l.Host()
	var selfish net.PacketConn
	a.Do(func() (err error) {
		selfish, err = net.ListenPacket("udp4", "0.0.0.0:45892")
		return err
	})
	hook := &announced{}
	opts := []discovery.Option{discovery.Interval(fast), discovery.ListenAddress("0.0.0.0")}
	gossip := discovery.Gossip("one", gossipSecret, opts...)
	client := discovering(t, on{a.Host, gossip})
	announcing(t, on{a.Host, discovery.Gossip("one", gossipSecret, append(opts, discovery.WithHooks(hook))...)}, at(a))
	announcing(t, on{b.Host, gossip}, at(b))
	fails(t, client, "listen on UDP 0.0.0.0:45892: listen udp4 0.0.0.0:45892: bind: address already in use "+
		"(a program has the port for itself, without SO_REUSEADDR or SO_REUSEPORT: end it, or choose another port in all processes, by GossipPort)")
	require.Eventually(t, func() bool { return hook.failed.Load() > 0 }, 20*time.Second, 10*time.Millisecond)
	require.Zero(t, hook.well.Load())
	require.Len(t, client.failures(), 1, "it is told once")
	require.NoError(t, selfish.Close())
	lists(t, client, at(a), at(b))
	require.Eventually(t, func() bool { return hook.well.Load() == 1 }, 20*time.Second, 10*time.Millisecond)
	require.EqualValues(t, 1, hook.failed.Load())
}

func TestGossipOnAnInterfaceWithoutMulticast(t *testing.T) {
	if !lan.Namespaced(t) {
		return
	}
	l := lan.New(t)
	a, b := l.Host(), l.Host()
	multicast := func(on bool) {
		a.Do(func() error {
			index, err := lan.IndexOf("eth0")
			if err != nil {
				return err
			}
			m := lan.Link(index, 0)
			if on {
				binary.NativeEndian.PutUint32(m[8:], unix.IFF_MULTICAST)
			}
			binary.NativeEndian.PutUint32(m[12:], unix.IFF_MULTICAST)
			return lan.Netlink(unix.RTM_NEWLINK, 0, m)
		})
	}
	multicast(false)
	with := func(opts ...discovery.Option) discovery.Strategy {
		return discovery.Gossip("one", gossipSecret, append(opts, discovery.Interval(fast))...)
	}
	announcing(t, on{b.Host, with()}, at(b))
	announcing(t, on{b.Host, with(discovery.Broadcast(), discovery.GossipPort(4589))}, at(b))
	lists(t, discovering(t, on{a.Host, with(discovery.Broadcast(), discovery.GossipPort(4589))}), at(b))
	client := discovering(t, on{a.Host, with(discovery.Interfaces("eth0"))})
	fails(t, client, "interface eth0: it has no multicast (choose another one, or use Broadcast)")
	multicast(true)
	lists(t, client, at(b))
}

func TestGossipTTL(t *testing.T) {
	if !lan.Namespaced(t) {
		return
	}
	for want, opts := range map[int][]discovery.Option{1: nil, 7: {discovery.MulticastTTL(7)}, 0: {discovery.MulticastTTL(0)}} {
		l := lan.New(t)
		a := l.Host()
		s := newStranger(t, l.Host())
		near := newStranger(t, a)
		announcing(t, on{a.Host, discovery.Gossip("one", gossipSecret, append(opts, discovery.Interval(fast), discovery.ListenAddress("0.0.0.0"))...)}, at(a))
		require.Eventually(t, func() bool { return len(near.recorded()) > 10 }, 20*time.Second, 10*time.Millisecond)
		if want == 0 {
			require.Empty(t, s.recorded(), "it stays on the machine")
			continue
		}
		require.Eventually(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.ttl == want
		}, 20*time.Second, 10*time.Millisecond)
	}
}

// What is larger than the network's frames comes in pieces, and is nothing either; nor is a packet of nothing.
func TestGossipOfEverySize(t *testing.T) {
	if !lan.Namespaced(t) {
		return
	}
	l := lan.New(t)
	a, b := l.Host(), l.Host()
	s := newStranger(t, l.Host())
	gossip := discovery.Gossip("one", gossipSecret, discovery.Interval(fast))
	client := discovering(t, on{b.Host, gossip})
	stop := announcing(t, on{a.Host, gossip}, at(a))
	lists(t, client, at(a))
	s.send(nil, []byte{}, make([]byte, 65_000), append([]byte("rbg\x01"), make([]byte, 60_000)...), []byte("rbg\x02"+string(make([]byte, 100))))
	fails(t, client, "are no packets of gossip (another program uses this port")
	fails(t, client, "are longer than a packet of gossip may be")
	fails(t, client, "are of another version of gossip (processes with different versions")
	b2 := at(b)
	announcing(t, on{b.Host, gossip}, b2)
	lists(t, client, at(a), b2)
	stop()
	lists(t, client, b2)
}

// Servers that are told of by many at once: the first 1,024 are used, and that is said once.
func TestGossipOfTooMany(t *testing.T) {
	if !lan.Namespaced(t) {
		return
	}
	l := lan.New(t)
	a, b := l.Host(), l.Host()
	gossip := discovery.Gossip("one", gossipSecret)
	log := &logged{}
	client := discovering(t, on{b.Host, discovery.Gossip("one", gossipSecret, discovery.WithHooks(log))})
	const each, speakers = 20, 52
	for n := range speakers {
		var some []discovery.Address
		for i := range each {
			some = append(some, discovery.Address{Host: "10.0.0.1", Port: 1 + n*each + i})
		}
		announcing(t, on{a.Host, gossip}, some...)
	}
	require.Eventually(t, func() bool { return len(client.last()) == each*speakers }, 20*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return log.tooMany.Load() > 0 }, 20*time.Second, 10*time.Millisecond)
	require.EqualValues(t, 1024, log.found.Load())
}

type logged struct{ found, tooMany atomic.Int64 }

func (l *logged) OnFound(discovery.FoundInfo) { l.found.Add(1) }
func (l *logged) OnFailed(info discovery.FailedInfo) {
	if strings.Contains(info.Err.Error(), "it lists too many addresses") {
		l.tooMany.Add(1)
	}
}

// lines counts what is logged.
type lines struct{ n atomic.Int64 }

func (l *lines) Write(b []byte) (int, error) { l.n.Add(1); return len(b), nil }

func TestGossipIsNotFlooded(t *testing.T) {
	if !lan.Namespaced(t) {
		return
	}
	l := lan.New(t)
	a, b, c := l.Host(), l.Host(), l.Host()
	s := newStranger(t, l.Host())
	log := &lines{}
	gossip := discovery.Gossip("one", gossipSecret, discovery.Interval(fast), discovery.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	client := discovering(t, on{c.Host, gossip})
	announcing(t, on{a.Host, gossip}, at(a))
	lists(t, client, at(a))
	genuine := s.recorded()
	flooding := make(chan struct{})
	go func() {
		defer close(flooding)
		garbage := make([]byte, 1400)
		rand.Read(garbage)
		for i := range 100_000 {
			switch p := garbage[i%100 : i%100+i%1300]; i % 4 {
			case 0:
				s.send(p)
			case 1: // a session of its own each time
				s.send(append([]byte("rbg\x01"), append(garbage[i%1000:i%1000+16:i%1000+16], p...)...))
			case 2:
				p := bytes.Clone(genuine[i%len(genuine)])
				p[i%len(p)] ^= 1 << (i % 8)
				s.send(p)
			case 3:
				s.send(genuine[i%len(genuine)])
			}
		}
	}()
	stop := announcing(t, on{b.Host, gossip}, at(b))
	lists(t, client, at(a), at(b))
	late := discovering(t, on{b.Host, gossip})
	lists(t, late, at(a), at(b))
	<-flooding
	stop()
	lists(t, client, at(a))
	lists(t, late, at(a))
	for _, kind := range []string{"are no packets of gossip", "with another secret", "longer than a packet"} {
		fails(t, client, kind)
	}
	require.LessOrEqual(t, len(client.failures()), 40, "%v", client.failures())
	require.LessOrEqual(t, log.n.Load(), int64(200))
}

// A machine with many interfaces, as one has where containers run, is not looked at as many times.
func TestGossipLooksAtManyInterfaces(t *testing.T) {
	if !lan.Namespaced(t) {
		return
	}
	l, h := lan.New(t), lan.NewHost(t)
	interfaces := 0
	more := func(n int) (bytes uint64) { // that it takes to look
		for range n {
			interfaces++
			l.On(h, fmt.Sprintf("eth%d", interfaces), true)
		}
		h.Do(func() error {
			ways, err := discovery.GossipLooks()
			if err == nil && ways != 2*interfaces+2 {
				err = fmt.Errorf("%d ways by %d interfaces with two families, and the loopback", ways, interfaces)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range 5 {
				_, _ = discovery.GossipLooks()
			}
			runtime.ReadMemStats(&after)
			bytes = after.TotalAlloc - before.TotalAlloc
			return err
		})
		return bytes
	}
	few := more(15)
	many := more(45)
	require.Less(t, many, 6*few, "of four times as many")
}
