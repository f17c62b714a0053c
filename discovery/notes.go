package discovery

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// notes are what DNS servers answered during one lookup, as Go's resolver does not tell: its connections are listened to. They are empty for
// any other resolver.
type notes struct {
	mu sync.Mutex
	heard
}

// heard is what notes say.
type heard struct {
	answers []noted // the last ones
	strange int     // packets that answer nothing that was asked
	server  string  // that was asked last
	broken  error   // why it could not be, or did not answer
}

// noted is the head of one answer.
type noted struct {
	name      string // as on the wire, in lower case
	rcode     int
	records   int
	truncated bool
	stream    bool // by TCP
	referral  bool // it has nothing, and its server neither knows nor asks further
}

// The codes of an answer that matter here (RFC 1035).
const (
	rcodeOK       = 0
	rcodeServFail = 2
	rcodeNXDomain = 3
	rcodeRefused  = 5
)

const (
	headSize   = 12 // of a message, before the question
	mostNotes  = 64
	mostStream = 2 + headSize + 255 // of a stream, what is noted of it
)

// taken is the resolver with its answers noted; of another one than a *net.Resolver itself.
func (n *notes) taken(ctx context.Context, r Resolver) Resolver {
	given, ok := r.(*net.Resolver)
	if !ok {
		return r
	}
	if given == nil {
		given = net.DefaultResolver // as package net has it
	}
	dial := given.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	// A resolver of its own for each lookup: one that is shared makes one lookup of two that are the same, and hears of one context.
	return &net.Resolver{PreferGo: given.PreferGo, StrictErrors: given.StrictErrors, Dial: func(dialing context.Context, network, address string) (net.Conn, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		until, _ := ctx.Deadline()
		// Until the connection is closed: a Dial of somebody's own may take its context's end for that.
		dialing, cancel := context.WithDeadline(dialing, half(until))
		conn, err := dial(dialing, network, address)
		if err != nil {
			cancel()
			n.failed(address, err)
			return nil, err
		}
		n.reached(conn.RemoteAddr(), address)
		// Go's resolver goes on waiting for an answer that nobody waits for.
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		t := &tap{Conn: conn, notes: n, until: until, closing: func() { stop(); cancel() }}
		if packets, ok := conn.(net.PacketConn); ok {
			return packetTap{t, packets}, nil
		}
		t.stream = true
		return t, nil
	}}
}

// tap is a connection to a DNS server that is listened to. It has one question and one answer: Go's resolver makes one for each.
type tap struct {
	net.Conn
	notes   *notes
	closing func()
	until   time.Time // the lookup's end
	stream  bool
	asked   []byte // the question's message, without its length
	got     []byte // of a stream
}

// packetTap is a tap of packets: for Go's resolver a connection is one of packets if it is a PacketConn.
type packetTap struct {
	*tap
	packets net.PacketConn
}

func (p packetTap) ReadFrom(b []byte) (int, net.Addr, error)     { return p.packets.ReadFrom(b) }
func (p packetTap) WriteTo(b []byte, addr net.Addr) (int, error) { return p.packets.WriteTo(b, addr) }

func (t *tap) Close() error {
	t.closing()
	return t.Conn.Close()
}

// SetDeadline leaves half of the time to those that are asked next.
func (t *tap) SetDeadline(d time.Time) error {
	if soon := half(t.until); soon.Before(d) {
		d = soon
	}
	return t.Conn.SetDeadline(d)
}

// half is when half of the time until then is over.
func half(until time.Time) time.Time {
	now := time.Now()
	return now.Add(until.Sub(now) / 2)
}

func (t *tap) Write(b []byte) (int, error) {
	t.asked = bytes.Clone(b)
	if t.stream && len(b) > 2 {
		t.asked = t.asked[2:]
	}
	count, err := t.Conn.Write(b)
	t.heed(err)
	return count, err
}

func (t *tap) Read(b []byte) (int, error) {
	count, err := t.Conn.Read(b)
	switch {
	case !t.stream && err == nil:
		t.notes.note(t.asked, b[:count], false)
	case t.stream && len(t.got) < mostStream:
		t.got = append(t.got, b[:count]...)
		if len(t.got) >= mostStream || t.whole() {
			t.notes.note(t.asked, t.got[2:], true)
			t.got = make([]byte, mostStream) // noted
		}
	}
	t.heed(err)
	return count, err
}

// whole says whether a stream's message has come to its end.
func (t *tap) whole() bool {
	return len(t.got) >= 2 && len(t.got)-2 >= int(binary.BigEndian.Uint16(t.got))
}

func (t *tap) heed(err error) {
	if err != nil {
		t.notes.failed("", err)
	}
}

func (n *notes) reached(remote net.Addr, address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server, n.broken = address, nil
	if remote != nil {
		n.server = remote.String()
	}
}

func (n *notes) failed(server string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken = err
	if server != "" {
		n.server = server
	}
}

// note notes an answer, if it is one to the question.
func (n *notes) note(question, answer []byte, stream bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name := nameOnWire(question)
	if len(answer) < headSize || answer[2]&0x80 == 0 || !bytes.Equal(answer[:2], question[:2]) || name != nameOnWire(answer) {
		n.strange++
		return
	}
	n.broken = nil
	a := noted{
		name:      name,
		rcode:     int(answer[3] & 0xf),
		records:   int(binary.BigEndian.Uint16(answer[6:])),
		truncated: answer[2]&0x2 != 0,
		stream:    stream,
	}
	a.referral = a.rcode == rcodeOK && a.records == 0 && answer[2]&0x4 == 0 && answer[3]&0x80 == 0
	if len(n.answers) >= mostNotes {
		n.answers = append(n.answers[:0], n.answers[1:]...)
	}
	n.answers = append(n.answers, a)
}

// nameOnWire is the name that a message asks for, "" if it asks for none.
func nameOnWire(message []byte) string {
	if len(message) < headSize {
		return ""
	}
	at := headSize
	for at < len(message) && message[at] != 0 {
		at += 1 + int(message[at])
	}
	if at >= len(message) {
		return ""
	}
	return strings.ToLower(string(message[headSize:at]))
}

// copy is what the notes say now: a lookup that was given up may go on.
func (n *notes) copy() heard {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.heard
	h.answers = slices.Clone(h.answers)
	return h
}

func (h heard) last() (last noted, any bool) {
	if len(h.answers) == 0 {
		return noted{}, false
	}
	return h.answers[len(h.answers)-1], true
}

// place is a name that was asked for, and how many were until then: with search domains a name is several.
type place struct {
	name  string
	tried int
}

// under is where the last answer was found.
func (h heard) under() place {
	last, _ := h.last()
	names := map[string]bool{}
	for _, a := range h.answers {
		names[a.name] = true
	}
	return place{last.name, len(names)}
}

// cut says whether an answer was shorter than it should have been, though it came by TCP. Go's resolver takes it for whole.
func (h heard) cut() bool {
	last, _ := h.last()
	return last.truncated && last.stream
}

// aliasAlone says whether there is nothing because a server answered with an alias and not with what that stands for.
func (h heard) aliasAlone(err error) bool {
	last, any := h.last()
	var failure *net.DNSError
	return any && last.rcode == rcodeOK && last.records > 0 && errors.As(err, &failure) && failure.IsNotFound
}

// cause is the innermost of an error that says anything: outer ones name ports that are others each time.
func cause(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return ""
	case errors.As(err, &errno):
		return errno.Error()
	}
	return "the connection broke"
}
