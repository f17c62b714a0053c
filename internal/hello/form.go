package hello

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"
)

// Most is how many bytes a question or an answer may have.
const Most = 64 << 10

// The form of the handshake, as the package's comment has it.
const (
	magic   = "rbh"
	version = 1
	spoken  = 4 // secrets for which an asker has proofs

	again = 0xffffffff // in place of an answer's length
)

type mode byte

const (
	inClear mode = iota
	sealed
	wantsTLS // of a server, to who came without
)

type opening [len(magic) + 2 + 24]byte

func newOpening(m mode) (o opening) {
	copy(o[:], magic)
	o[3], o[4] = version, byte(m)
	_, _ = rand.Read(o[5:]) // never fails
	return o
}

func (o *opening) mode() mode { return mode(o[4]) }

// readOpening reads how the other side begins, and ends at the first byte with which none of ours does: what is no opening may be shorter
// than one, and wait for us.
func readOpening(r io.Reader) (o opening, err error) {
	for n := 0; n < len(o); {
		m, err := r.Read(o[n:])
		n += m
		head := min(n, len(magic))
		switch {
		case string(o[:head]) != magic[:head]:
			return o, begins(o[:n])
		case n > len(magic) && o[3] != version:
			return o, fmt.Errorf("%w: it speaks version %d, and this is %d", ErrVersion, o[3], version)
		case err != nil && n < len(o):
			return o, cutOff(err, n)
		}
	}
	return o, nil
}

// cutOff tells an end between two things from one within a thing, as [io.ReadFull] does.
func cutOff(err error, read int) error {
	if errors.Is(err, io.EOF) && read > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

type proof [16]byte

func (p *proof) is(other []byte) bool { return subtle.ConstantTimeCompare(p[:], other) == 1 }

// pact is what two know of each other by one secret, on one connection.
type pact struct {
	secret        string
	extract       []byte
	asker, server proof
}

func newPact(secret string, asker, server *opening) (*pact, error) {
	extract, err := hkdf.Extract(sha256.New, []byte(secret), slices.Concat(asker[:], server[:]))
	if err != nil {
		return nil, err
	}
	p := &pact{secret: secret, extract: extract}
	a, errA := p.expand("asker proves", len(p.asker))
	s, errS := p.expand("server proves", len(p.server))
	copy(p.asker[:], a)
	copy(p.server[:], s)
	return p, errors.Join(errA, errS)
}

func (p *pact) expand(info string, length int) ([]byte, error) {
	return hkdf.Expand(sha256.New, p.extract, "rolebus hello 1 "+info, length)
}

// line makes what frames are sealed and opened with. Without a secret there is no pact: p is nil.
func (p *pact) line(rw io.ReadWriter, asks bool) (*line, error) {
	l := &line{rw: rw, asks: asks}
	if p == nil {
		return l, nil
	}
	key := func(info string) (cipher.AEAD, error) {
		k, err := p.expand(info, chacha20poly1305.KeySize)
		if err != nil {
			return nil, err
		}
		return chacha20poly1305.New(k)
	}
	asker, errA := key("asker speaks")
	server, errS := key("server speaks")
	if l.in, l.out = asker, server; asks {
		l.in, l.out = server, asker
	}
	return l, errors.Join(errA, errS)
}

// distinct are the secrets of a list, each once. An empty one is none, and a list of such is not an empty list: it lets nobody in.
func distinct(secrets func() []string) (all []string, m mode) {
	if secrets == nil {
		return nil, inClear
	}
	list := secrets()
	for _, s := range list {
		if s != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	if len(list) > 0 {
		m = sealed
	}
	return all, m
}

type verdict [1 + 1 + len(proof{})]byte

const (
	welcome byte = 1 + iota
	foreign
	full
)

// line is a connection on which both know who they are. One goroutine at a time uses it.
type line struct {
	rw        io.ReadWriter
	in, out   cipher.AEAD // nil: in the clear
	asks      bool
	got, sent uint64
}

// write sends a frame, in one piece. The caller has looked at how long what is.
func (l *line) write(what []byte) error {
	frame := make([]byte, 4, 4+len(what)+chacha20poly1305.Overhead)
	if l.out == nil {
		frame = append(frame, what...)
	} else {
		frame = l.out.Seal(frame, nonce(l.sent), what, nil)
		l.sent++
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	_, err := l.rw.Write(frame)
	return err
}

// refuse says that a question was not heard.
func (l *line) refuse() error {
	_, err := l.rw.Write(binary.BigEndian.AppendUint32(nil, again))
	return err
}

// read reads a frame. It calls begun when it knows that there is one, and is io.EOF only before that. What it returns is the caller's, and
// never nil without an error.
func (l *line) read(begun func()) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(l.rw, head[:]); err != nil {
		return nil, err
	}
	begun()
	tag := 0
	if l.in != nil {
		tag = l.in.Overhead()
	}
	length := binary.BigEndian.Uint32(head[:])
	switch {
	case length == again && l.asks:
		return nil, errAgain
	case length > uint32(Most+tag):
		return nil, fmt.Errorf("%w: a frame of %d", ErrLong, length)
	case length < uint32(tag):
		return nil, fmt.Errorf("%w: a frame of %d bytes, which is shorter than its tag", ErrForeign, length)
	}
	b, err := readBody(l.rw, int(length))
	if err != nil || l.in == nil {
		return b, err
	}
	b, err = l.in.Open(b[:0], nonce(l.got), b, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: a frame that does not open", ErrForeign)
	}
	l.got++
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

// readBody reads so many bytes. It takes memory as they come, not as they are promised.
func readBody(r io.Reader, length int) ([]byte, error) {
	b := make([]byte, 0, min(length, 4<<10))
	for len(b) < length {
		b = slices.Grow(b, 1)
		n, err := r.Read(b[len(b):min(cap(b), length)])
		if b = b[:len(b)+n]; err != nil && len(b) < length {
			return nil, cutOff(err, 1)
		}
	}
	return b, nil
}

func nonce(counter uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, chacha20poly1305.NonceSize-8, chacha20poly1305.NonceSize), counter)
}
