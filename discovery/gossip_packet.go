package discovery

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/chacha20poly1305"
)

// The packets of gossip, and nothing of the network: docs/GOSSIP.md has the format, and a packet to hold other programs against.
//
//	"rbg" version | session 16 | counter 8 | sealed: kind, cluster, what the kind has

const (
	gossipMagic   = "rbg\x01" // the last byte is the version
	gossipHead    = len(gossipMagic) + 16 + 8
	gossipMost    = 1200 // of a packet, in bytes: it fits into every network's frame, IPv6 and tunnels included
	gossipAnswers = 32   // challenges that one packet answers
	gossipAsked   = 16   // sessions that one packet asks
	gossipInfo    = "rolebus gossip 1"
)

// gossipSession is one life of a speaker or a hearer: random, and so no two have the same, nor does a packet's nonce ever return.
type gossipSession [16]byte

// gossipChallenge is what somebody must answer who was not heard before: what was recorded earlier cannot.
type gossipChallenge [8]byte

type gossipKind byte

const (
	gossipQuery   gossipKind = 1 // who is there?
	gossipState   gossipKind = 2 // I am, with these addresses
	gossipGoodbye gossipKind = 3 // I am no more
)

type gossipPacket struct {
	session gossipSession
	counter uint64 // larger than that of any packet of the session before
	kind    gossipKind
	cluster string

	challenge gossipChallenge // of a query
	asked     []gossipSession // of a query: only these are to answer; none: everybody

	every     time.Duration // of a state: another one comes about so often
	answers   []gossipChallenge
	addresses []Address
}

// What a packet is that is none of ours.
var (
	errGossipNone    = errors.New("no packet of gossip")
	errGossipVersion = errors.New("a packet of another version")
	errGossipLong    = errors.New("a packet that is too long")
	errGossipForeign = errors.New("a packet with another secret, or that somebody changed on its way")
	errGossipBody    = errors.New("a packet with the right secret that cannot be read")
)

// gossipKey is what seals and opens packets of a secret.
func gossipKey(secret string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, gossipInfo, chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.NewX(key) // its nonce has room for a session and a counter
}

// seal makes a packet of p.
func (p *gossipPacket) seal(key cipher.AEAD) ([]byte, error) {
	head := append(make([]byte, 0, gossipMost), gossipMagic...)
	head = append(head, p.session[:]...)
	head = binary.BigEndian.AppendUint64(head, p.counter)
	body, err := p.body()
	if err != nil {
		return nil, err
	}
	if n := gossipHead + len(body) + key.Overhead(); n > gossipMost {
		return nil, fmt.Errorf("the packet would have %d bytes, and may have %d", n, gossipMost)
	}
	return key.Seal(head, head[len(gossipMagic):], body, head[:len(gossipMagic)]), nil
}

var gossipSchemes = []string{"", "nats", "tls", "ws", "wss", "nats-route"}

func (p *gossipPacket) body() ([]byte, error) {
	var problem error
	b := make([]byte, 0, gossipMost)
	text := func(what, s string) {
		if len(s) > 255 || !gossipPrintable(s) {
			problem = fmt.Errorf("%s %q: at most 255 bytes of UTF-8 that can be printed", what, clipped(s))
			return
		}
		b = append(append(b, byte(len(s))), s...)
	}
	count := func(what string, n, most int) {
		if n > most {
			problem = fmt.Errorf("%d %s, and a packet has room for %d", n, what, most)
		}
		b = append(b, byte(n))
	}
	b = append(b, byte(p.kind))
	text("cluster", p.cluster)
	switch p.kind {
	case gossipQuery:
		b = append(b, p.challenge[:]...)
		count("sessions", len(p.asked), gossipAsked)
		for _, s := range p.asked {
			b = append(b, s[:]...)
		}
	case gossipState:
		b = binary.BigEndian.AppendUint32(b, uint32(p.every/time.Millisecond))
		count("answers", len(p.answers), gossipAnswers)
		for _, c := range p.answers {
			b = append(b, c[:]...)
		}
		count("addresses", len(p.addresses), 255)
		for _, a := range p.addresses {
			text("host", a.Host)
			b = binary.BigEndian.AppendUint16(b, uint16(a.Port))
			scheme := slices.Index(gossipSchemes, a.Scheme)
			if scheme < 0 {
				problem = fmt.Errorf("unknown scheme %q", clipped(a.Scheme))
				scheme = 0
			}
			b = append(b, byte(scheme), 0)
			if a.Route {
				b[len(b)-1] = 1
			}
			text("server", a.Server)
			text("cluster", a.Cluster)
			text("TLS name", a.TLSName)
			b = binary.BigEndian.AppendUint16(b, a.Priority)
			b = binary.BigEndian.AppendUint16(b, a.Weight)
		}
	}
	return b, problem
}

// openGossip opens a packet by one of the keys. It changes nothing in b, and keeps nothing of it; scratch, if it has room, saves an
// allocation.
func openGossip(keys []cipher.AEAD, b, scratch []byte) (*gossipPacket, error) {
	switch {
	case len(b) < gossipHead+chacha20poly1305.Overhead || string(b[:len(gossipMagic)-1]) != gossipMagic[:len(gossipMagic)-1]:
		return nil, errGossipNone
	case string(b[:len(gossipMagic)]) != gossipMagic:
		return nil, errGossipVersion
	case len(b) > gossipMost:
		return nil, errGossipLong
	}
	for _, key := range keys {
		body, err := key.Open(scratch[:0], b[len(gossipMagic):gossipHead], b[gossipHead:], b[:len(gossipMagic)])
		if err != nil {
			continue
		}
		p := &gossipPacket{session: gossipSession(b[len(gossipMagic):]), counter: binary.BigEndian.Uint64(b[gossipHead-8:])}
		if err := p.read(body); err != nil {
			return nil, fmt.Errorf("%w: %w", errGossipBody, err)
		}
		return p, nil
	}
	return nil, errGossipForeign
}

// read reads what a packet has. What follows is for later versions, which may say more.
func (p *gossipPacket) read(b []byte) error {
	var problem error
	take := func(n int) []byte {
		if problem == nil && len(b) < n {
			problem = errors.New("it ends too early")
		}
		if problem != nil {
			return make([]byte, n) // at most 255: so nothing below need ask
		}
		part := b[:n]
		b = b[n:]
		return part
	}
	number := func() int { return int(take(1)[0]) }
	text := func() string {
		s := string(take(number()))
		if problem == nil && !gossipPrintable(s) {
			problem = fmt.Errorf("%q cannot be printed", clipped(s))
		}
		return s
	}
	p.kind = gossipKind(number())
	p.cluster = text()
	switch p.kind {
	case gossipQuery:
		p.challenge = gossipChallenge(take(8))
		for n := number(); n > 0 && problem == nil; n-- {
			p.asked = append(p.asked, gossipSession(take(16)))
		}
	case gossipState:
		p.every = time.Duration(binary.BigEndian.Uint32(take(4))) * time.Millisecond
		for n := number(); n > 0 && problem == nil; n-- {
			p.answers = append(p.answers, gossipChallenge(take(8)))
		}
		for n := number(); n > 0 && problem == nil; n-- {
			a := Address{Host: text(), Port: int(binary.BigEndian.Uint16(take(2)))}
			scheme, flags := number(), number()
			a.Server, a.Cluster, a.TLSName = text(), text(), text()
			a.Priority, a.Weight = binary.BigEndian.Uint16(take(2)), binary.BigEndian.Uint16(take(2))
			if scheme >= len(gossipSchemes) {
				return fmt.Errorf("unknown scheme %d", scheme)
			}
			a.Scheme, a.Route = gossipSchemes[scheme], flags&1 != 0
			if problem == nil {
				problem = a.Check()
			}
			p.addresses = append(p.addresses, a)
		}
		if problem == nil && len(p.addresses) == 0 {
			problem = errors.New("it has no address")
		}
	case gossipGoodbye:
	default:
		return fmt.Errorf("unknown kind %d", p.kind)
	}
	return problem
}

// gossipPrintable says whether a text can stand in a log: what is in a packet may come from anybody who has the secret.
func gossipPrintable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// clipped keeps what is told of a text short.
func clipped(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
