package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// Gossip finds the servers that make themselves known on the local network, by multicast or broadcast; it is libcluster's Gossip. It is an
// [Announcer]: by it a process makes its own servers known. Whoever has the secret and the cluster's name hears and is heard; every packet
// is encrypted and authenticated with the secret. docs/GOSSIP.md has the protocol, and what strangers cannot do.
//
// The secret has at least 16 bytes, and nobody should be able to guess it: whoever hears packets can try secrets by himself.
// The name keeps apart clusters that share a secret.
//
// Who speaks does so about every [Interval], half of it more or less by chance, and at once when it is asked. A server that says goodbye,
// as it does when Announce's context ends, goes at once; one that is silent goes after [GoneAfter], and only while others of its network
// are heard: if all are silent it is this process that hears nothing, and all stay. The last one stays in any case. What is replayed is
// refused, without clocks: a speaker that is not known must answer a random challenge first. Nobody is asked for more, and nothing is
// connected to, because of a packet that was not sealed with the secret; such packets are counted and told by kind, at growing intervals.
//
// A process that is server and client hears itself, and several processes of a machine hear each other. Up to 1,024 speakers are heard.
//
// Announce takes as many addresses as a packet has room for, about 20; more are an error. It may be called several times.
// While the network does not work, both try again, and say so.
//
// Options: [Interval] (of its own packets; default 5 s), [GossipPort], [MulticastGroup], [Broadcast], [Interfaces], [ListenAddress],
// [MulticastTTL], [GoneAfter], [AcceptSecrets], and those for all.
func Gossip(cluster, secret string, opts ...Option) Strategy {
	o := collect(opts, forGossip)
	g := &o.gossip
	if g.port == 0 {
		g.port = 45892
	}
	if len(g.groups) == 0 && !g.broadcast {
		for _, group := range gossipGroups {
			g.groups = append(g.groups, netip.MustParseAddr(group))
		}
	}
	if !o.has("MulticastTTL") {
		g.ttl = 1
	}
	if g.goneAfter == 0 {
		g.goneAfter = time.Minute
	}
	o.gossipChecked(cluster, secret)
	gossip := &gossip{o: o, cluster: cluster, open: openGossipNet}
	s := made("Gossip", cluster, o, gossip.discover)
	s.announce = gossip.announce
	return announcer{s}
}

type gossip struct {
	o       *options
	cluster string
	open    func(o *gossipOptions, ear *gossipEar, out chan<- gossipHeard, log *slog.Logger) gossipWire // tests have their own
}

const (
	gossipLook       = time.Second           // at the interfaces, and at who is silent
	gossipTogether   = 50 * time.Millisecond // what changes within is told as one
	gossipWaiting    = 64                    // packets
	gossipDeafAgain  = time.Minute
	gossipGoodbyeGap = 20 * time.Millisecond
)

// gossiping is what a loop has, be it of a speaker or a hearer.
type gossiping struct {
	*gossip
	wire    gossipWire
	strange *gossipStrangers
	heard   chan gossipHeard
	look    time.Duration
	next    time.Time // to look
	wrong   [2]error  // with the interfaces, and with what was sent last
	sent    bool
	told    string
	tell    func(trouble error) // or that there is none any more
}

func (g *gossip) begin(t *teller, tell func(trouble error)) *gossiping {
	b := &gossiping{gossip: g, strange: newGossipStrangers(), heard: make(chan gossipHeard, gossipWaiting), tell: tell}
	b.look = min(gossipLook, g.o.interval)
	b.wire = g.open(&g.o.gossip, &gossipEar{keys: g.o.gossip.keys, cluster: g.cluster, strange: b.strange}, b.heard, t.log)
	return b
}

// lookAround looks at the interfaces if it is time to, and says whether there is a new way into the network.
func (b *gossiping) lookAround(now time.Time) (looked, more bool) {
	if now.Before(b.next) {
		return false, false
	}
	b.next = now.Add(b.look)
	more, b.wrong[0] = b.wire.refresh()
	b.note()
	return true, more
}

// send seals and sends.
func (b *gossiping) send(p *gossipPacket) {
	packet, err := p.seal(b.o.gossip.keys[0])
	if err == nil {
		err = b.wire.send(packet)
	}
	b.wrong[1], b.sent = err, true
	b.note()
}

func (b *gossiping) trouble() error { return errors.Join(b.wrong[:]...) }

// note tells what is wrong with the network when that has changed.
func (b *gossiping) note() {
	trouble, text := b.trouble(), ""
	if trouble != nil {
		text = trouble.Error()
	}
	if text != b.told && (b.sent || trouble != nil) {
		b.told = text
		b.tell(trouble)
	}
}

func (g *gossip) discover(ctx context.Context, t *teller) error {
	b := g.begin(t, func(trouble error) {
		if trouble != nil {
			t.failed(trouble)
		}
	})
	defer b.wire.close()
	h := newGossipHearer(time.Now(), g.cluster, g.o.gossip.goneAfter, g.o.interval, b.strange)
	var tellAt, tellDeaf time.Time // zero: there is nothing to tell
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-b.heard:
			changed = h.take(time.Now(), m.packet, m.side, m.from)
		case <-b.strange.any:
		case <-timer.C:
		}
		now := time.Now()
		looked, more := b.lookAround(now)
		if more {
			h.anew(now)
		}
		if looked {
			changed = h.sweep(now) || changed
		}
		for _, failure := range b.strange.due(now, g.o.gossip.source()) {
			t.failed(failure)
		}
		if p := h.due(now); p != nil {
			b.send(p)
		}
		silence, deaf := h.deaf(now)
		switch {
		case !deaf && !tellDeaf.IsZero():
			tellDeaf = time.Time{}
			changed = true // it works again: that is to be told
		case deaf && now.After(tellDeaf) && b.trouble() == nil:
			tellDeaf = now.Add(gossipDeafAgain)
			t.failed(g.nobody(silence, len(h.known)))
		}
		if changed && tellAt.IsZero() {
			tellAt = now.Add(gossipTogether)
		}
		if !tellAt.IsZero() && !now.Before(tellAt) {
			tellAt = time.Time{}
			if list := h.list(); len(list) > 0 {
				t.list(list)
			} else {
				t.failed(empty(g.o.gossip.source(), "the last server of the cluster has said goodbye"))
			}
		}
		next := earlier(b.next, h.next())
		if !tellAt.IsZero() {
			next = earlier(next, tellAt)
		}
		timer.Reset(time.Until(next))
	}
}

// nobody says that nobody is heard.
func (g *gossip) nobody(silence time.Duration, known int) error {
	source := g.o.gossip.source()
	if known > 0 {
		return &Failure{
			Source: source, Reason: ReasonTimeout, Err: fmt.Errorf("nobody of cluster %q was heard for %v; all that were found stay", g.cluster, silence.Round(time.Second)),
			Mend: "see whether this machine is cut off from the others, or all servers are gone",
		}
	}
	return &Failure{
		Source: source, Reason: ReasonEmpty, Err: fmt.Errorf("no server of cluster %q makes itself known", g.cluster),
		Mend: "see that servers announce themselves with this cluster, secret, port and group, that firewalls let UDP to the port through, and that the network has multicast; if it has not, use Broadcast, or another strategy",
	}
}

// announce speaks until ctx is over, and then says goodbye.
func (g *gossip) announce(ctx context.Context, t *teller, addresses []Address) error {
	s := newGossipSpeaker(time.Now(), g.cluster, g.o.interval, slices.Clone(addresses))
	if err := s.fits(g.o.gossip.keys[0]); err != nil {
		return fmt.Errorf("discovery: %s: announce: %w (announce fewer addresses at once: several calls of Announce can each have some)", t.name, err)
	}
	b := g.begin(t, func(trouble error) {
		t.announced(addresses, trouble)
	})
	b.told = "not yet" // so that also the first time that it goes well is told
	defer b.wire.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			for range gossipGoodbyes {
				b.send(s.packet(gossipGoodbye))
				time.Sleep(gossipGoodbyeGap)
			}
			return nil
		case m := <-b.heard:
			s.take(time.Now(), m.packet)
		case <-b.strange.any:
		case <-timer.C:
		}
		now := time.Now()
		if _, more := b.lookAround(now); more {
			s.nextState = now
		}
		for _, failure := range b.strange.due(now, g.o.gossip.source()) {
			t.failed(failure)
		}
		if p := s.due(now); p != nil {
			b.send(p)
		}
		timer.Reset(time.Until(earlier(b.next, s.next())))
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
