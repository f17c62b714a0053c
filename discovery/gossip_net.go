package discovery

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// The sockets of gossip: one for each family, on all interfaces that can be used, which come and go.

// gossipWire is the network as the loops see it.
type gossipWire interface {
	// send sends to the group; an error says that it went nowhere.
	send(b []byte) error
	// refresh looks which interfaces there are, mends what broke, and says what is wrong, and whether it sends by more of them than before.
	refresh() (more bool, problem error)
	close()
}

// gossipHeard is a packet that was sealed with a right secret, of the right cluster.
type gossipHeard struct {
	packet *gossipPacket
	side   gossipSide
	from   netip.AddrPort
}

// gossipEar tells packets from noise. It may be used by several at once.
type gossipEar struct {
	keys    []cipher.AEAD
	cluster string
	strange *gossipStrangers
}

// hear opens a packet. Nil: it was noise, and is counted.
func (e *gossipEar) hear(b, scratch []byte, from netip.AddrPort) *gossipPacket {
	p, err := openGossip(e.keys, b, scratch)
	switch {
	case err == nil && p.cluster == e.cluster:
		return p
	case err == nil:
		e.strange.add(gossipOther, from, strconv.Quote(p.cluster))
	case err == errGossipNone:
		e.strange.add(gossipNone, from, "")
	case err == errGossipVersion:
		e.strange.add(gossipVersion, from, "")
	case err == errGossipLong:
		e.strange.add(gossipLong, from, "")
	case err == errGossipForeign:
		e.strange.add(gossipForeign, from, "")
	default:
		e.strange.add(gossipBody, from, err.Error())
	}
	return nil
}

type gossipNet struct {
	o    *gossipOptions
	ear  *gossipEar
	out  chan<- gossipHeard
	log  *slog.Logger
	done chan struct{}
	all  sync.WaitGroup // the readers

	sockets [2]*gossipSocket // of IPv4 and IPv6; nil: not open
	mine    atomic.Pointer[map[netip.Addr]bool]
}

type gossipSocket struct {
	conn *net.UDPConn
	v4   *ipv4.PacketConn // one of the two
	v6   *ipv6.PacketConn
	at   map[int]gossipInterface // by index
	only atomic.Pointer[map[int]bool]
	dead atomic.Bool // it can no longer be read
}

// gossipInterface is where a socket sends.
type gossipInterface struct {
	net.Interface
	to    []netip.AddrPort
	group bool // they are groups
}

const gossipSend = 100 * time.Millisecond // at most, by one socket: who sends also hears, and ends in time

const gossipBuffer = 1 << 20 // of the kernel: so that what comes at once is not lost

func openGossipNet(o *gossipOptions, ear *gossipEar, out chan<- gossipHeard, log *slog.Logger) gossipWire {
	return &gossipNet{o: o, ear: ear, out: out, log: log, done: make(chan struct{})}
}

func (n *gossipNet) close() {
	close(n.done)
	for _, s := range n.sockets {
		if s != nil {
			s.conn.Close()
		}
	}
	n.all.Wait()
}

// refresh implements gossipWire.
func (n *gossipNet) refresh() (more bool, problem error) {
	var wrong, small []error // what must be told; what need be only if nothing works
	wanted, mine, err := n.o.ways()
	if err != nil {
		wrong = append(wrong, err)
	}
	n.mine.Store(&mine)
	ways := 0
	for family := range n.sockets {
		s := n.sockets[family]
		if s != nil && (s.dead.Load() || len(wanted[family]) == 0) {
			s.conn.Close()
			s, n.sockets[family] = nil, nil
		}
		if len(wanted[family]) == 0 {
			continue
		}
		if s == nil {
			if s, err = n.open(family); err != nil {
				if errors.Is(err, syscall.EADDRINUSE) {
					wrong = append(wrong, err)
				} else {
					small = append(small, err)
				}
				continue
			}
			n.sockets[family] = s
		}
		came, problems := s.follow(wanted[family])
		more, small = more || came, append(small, problems...)
		only := map[int]bool{}
		for index := range s.at {
			only[index] = true
		}
		s.only.Store(&only)
		ways += len(s.at)
	}
	switch {
	case ways == 0 && len(wrong) == 0 && len(small) == 0:
		wrong = append(wrong, &Failure{
			Source: n.o.source(), Reason: ReasonUnavailable, Err: errors.New("no interface of this machine is up and can be used"),
			Mend: "it is tried again and again; see that the network is up, and what Interfaces and ListenAddress name",
		})
	case ways == 0 || n.o.chosen():
		wrong = append(wrong, small...)
	case len(small) > 0:
		n.log.Debug("gossip does without some interfaces", "error", errors.Join(small...))
	}
	return more, errors.Join(wrong...)
}

// open opens the socket of a family, and reads it.
func (n *gossipNet) open(family int) (*gossipSocket, error) {
	network, host := [2]string{"udp4", "udp6"}[family], [2]string{"0.0.0.0", "::"}[family]
	address := net.JoinHostPort(host, strconv.Itoa(n.o.port))
	listening := net.ListenConfig{Control: gossipShare}
	conn, err := listening.ListenPacket(context.Background(), network, address)
	if err != nil {
		f := &Failure{Source: "listen on UDP " + address, Reason: ReasonUnavailable, Err: err, Mend: "it is tried again and again"}
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			f.Mend = "a program has the port for itself, without SO_REUSEADDR or SO_REUSEPORT: end it, or choose another port in all processes, by GossipPort"
		case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
			f.Reason, f.Mend = ReasonForbidden, "choose a port from 1024 on in all processes, by GossipPort, or allow this one"
		}
		return nil, f
	}
	s := &gossipSocket{conn: conn.(*net.UDPConn), at: map[int]gossipInterface{}}
	s.conn.SetReadBuffer(gossipBuffer) // as much as the system allows
	// Where the system cannot say which interface a packet came in by, all are taken.
	if family == 0 {
		s.v4 = ipv4.NewPacketConn(s.conn)
		err = errors.Join(s.v4.SetMulticastTTL(n.o.ttl), s.v4.SetMulticastLoopback(true))
		_ = s.v4.SetControlMessage(ipv4.FlagInterface, true)
	} else {
		s.v6 = ipv6.NewPacketConn(s.conn)
		err = errors.Join(s.v6.SetMulticastHopLimit(n.o.ttl), s.v6.SetMulticastLoopback(true))
		_ = s.v6.SetControlMessage(ipv6.FlagInterface, true)
	}
	if err != nil {
		s.conn.Close()
		return nil, &Failure{Source: "set up UDP " + address, Reason: ReasonUnavailable, Err: err}
	}
	n.all.Go(func() { n.read(s) })
	return s, nil
}

// read hears what comes until the socket is closed, or cannot be read any more.
func (n *gossipNet) read(s *gossipSocket) {
	defer s.dead.Store(true)
	b, oob, scratch := make([]byte, gossipMost+1), make([]byte, 128), make([]byte, 0, gossipMost)
	for failures := 0; failures < 100; {
		size, extra, _, from, err := s.conn.ReadMsgUDPAddrPort(b, oob)
		if err != nil && size <= 0 { // with a size it was only too long
			if errors.Is(err, net.ErrClosed) {
				return
			}
			failures++ // such as what a router says of something sent before
			select {
			case <-time.After(10 * time.Millisecond):
			case <-n.done:
				return
			}
			continue
		}
		failures = 0
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		p := n.ear.hear(b[:size], scratch, from)
		if p == nil {
			continue
		}
		index := s.cameBy(oob[:extra])
		if only := s.only.Load(); index != 0 && n.o.chosen() && only != nil && !(*only)[index] {
			continue // another program of this machine has joined there
		}
		side := gossipSide{index: index}
		if mine := n.mine.Load(); mine != nil {
			side.local = (*mine)[from.Addr().WithZone("")]
		}
		select {
		case n.out <- gossipHeard{p, side, from}:
		case <-n.done:
			return
		}
	}
}

// cameBy returns the index of the interface by which a packet came, 0 if the system does not say.
func (s *gossipSocket) cameBy(oob []byte) int {
	if s.v4 != nil {
		var m ipv4.ControlMessage
		if m.Parse(oob) == nil {
			return m.IfIndex
		}
		return 0
	}
	var m ipv6.ControlMessage
	if m.Parse(oob) == nil {
		return m.IfIndex
	}
	return 0
}

// follow joins the group where it is wanted, and leaves it where it is not any more.
func (s *gossipSocket) follow(wanted []gossipInterface) (came bool, problems []error) {
	for index, at := range s.at {
		if !slices.ContainsFunc(wanted, func(w gossipInterface) bool { return w.Index == index }) {
			delete(s.at, index)
			for _, to := range at.to {
				_ = s.join(at, to, false) // a limited number is allowed, also of interfaces that are gone
			}
		}
	}
	for _, w := range wanted {
		_, ok := s.at[w.Index]
		if !ok && w.group {
			var err error
			for _, to := range w.to {
				if err = s.join(w, to, true); err != nil && !errors.Is(err, syscall.EADDRINUSE) { // we are in it
					break
				}
				err = nil
			}
			if err != nil {
				problems = append(problems, &Failure{
					Source: "join the group on " + w.Name, Reason: ReasonUnavailable, Err: err,
					Mend: "it is tried again and again; if it is for the number of groups, name the interfaces that are to be used, by Interfaces",
				})
				continue
			}
		}
		came = came || !ok
		s.at[w.Index] = w
	}
	return came, problems
}

func (s *gossipSocket) join(at gossipInterface, group netip.AddrPort, in bool) error {
	to := net.UDPAddrFromAddrPort(group)
	switch {
	case !at.group:
		return nil
	case s.v4 != nil && in:
		return s.v4.JoinGroup(&at.Interface, to)
	case s.v4 != nil:
		return s.v4.LeaveGroup(&at.Interface, to)
	case in:
		return s.v6.JoinGroup(&at.Interface, to)
	}
	return s.v6.LeaveGroup(&at.Interface, to)
}

// send implements gossipWire.
func (n *gossipNet) send(b []byte) error {
	sent := false
	var errs []error
	for _, s := range n.sockets {
		if s == nil {
			continue
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(gossipSend))
		for _, at := range s.at {
			for _, to := range at.to {
				if err := s.sendBy(at, b, to); err != nil {
					errs = append(errs, fmt.Errorf("by %s: %w", at.Name, err))
				} else {
					sent = true
				}
			}
		}
	}
	if sent || len(errs) == 0 { // without a socket refresh has said why
		return nil
	}
	f := &Failure{Source: n.o.source(), Reason: ReasonUnavailable, Err: errors.Join(errs...), Mend: "it is tried again and again; see that the network is up"}
	for _, err := range errs {
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
			f.Reason, f.Mend = ReasonForbidden, "the system refuses to send: see what its firewall says of UDP to the group, and whether a broadcast address is given by Broadcast"
		}
	}
	return f
}

func (s *gossipSocket) sendBy(at gossipInterface, b []byte, to netip.AddrPort) error {
	switch {
	case !at.group && at.Index != 0: // a broadcast, by this interface
		if _, err := s.v4.WriteTo(b, &ipv4.ControlMessage{IfIndex: at.Index}, net.UDPAddrFromAddrPort(to)); err == nil || runtime.GOOS == "linux" {
			return err
		} // elsewhere the system may not take the interface, and chooses it by the address
	case at.group && s.v4 != nil:
		if err := s.v4.SetMulticastInterface(&at.Interface); err != nil {
			return err
		}
	case at.group:
		if err := s.v6.SetMulticastInterface(&at.Interface); err != nil {
			return err
		}
	}
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	return err
}
