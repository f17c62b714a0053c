package hello

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"
)

// attend is the life of a connection.
func (s *Server) attend(v *visitor) {
	defer s.gone(v)
	_ = v.conn.SetDeadline(time.Now().Add(s.limits.prove))
	if err := s.greet(v); err != nil {
		s.tell(v, err)
		return
	}
	_ = v.conn.SetDeadline(time.Time{})
	for {
		if more, err := s.exchange(v); !more {
			s.tell(v, err)
			return
		}
	}
}

// greet learns whether a stranger is one of ours, and says so.
func (s *Server) greet(v *visitor) error {
	secrets, m := distinct(s.Secrets)
	mine := newOpening(m)
	conn, err := s.secure(v, &mine)
	if err != nil {
		return err
	}
	theirs, err := readOpening(conn)
	switch {
	case errors.Is(err, ErrVersion):
	case err != nil:
		return err
	case theirs.mode() != m && m == sealed:
		err = fmt.Errorf("%w: the other has none, and this side has one", ErrForeign)
	case theirs.mode() != m:
		err = fmt.Errorf("%w: the other has one, and this side has none", ErrForeign)
	}
	s.reached(v, opened)
	if _, wrong := conn.Write(mine[:]); wrong != nil || err != nil {
		farewell(v.conn)
		return errors.Join(err, wrong)
	}
	if m == inClear {
		v.line, _ = (*pact)(nil).line(conn, false)
		return s.welcome(v, conn, verdict{welcome})
	}
	p, w, err := judge(conn, secrets, &theirs, &mine)
	if err != nil {
		return err
	}
	if p == nil {
		_, _ = conn.Write(w[:])
		farewell(v.conn)
		return fmt.Errorf("%w: the other has another one", ErrForeign)
	}
	if v.line, err = p.line(conn, false); err != nil {
		return err
	}
	v.secret, v.mode = p.secret, sealed
	return s.welcome(v, conn, w)
}

// secure begins TLS, if there is any. To who is one of ours and differs in that, it answers with an opening in the clear, which says so.
func (s *Server) secure(v *visitor, mine *opening) (net.Conn, error) {
	var b [1]byte
	if _, err := io.ReadFull(v.conn, b[:]); err != nil {
		return nil, err
	}
	conn := &begun{v.conn, b[:]}
	const handshake = 0x16 // of TLS
	if b[0] != handshake && b[0] != magic[0] {
		return nil, begins(b[:]) // nothing is said to those
	}
	s.reached(v, speaks)
	switch {
	case s.TLS == nil && b[0] == magic[0]:
		return conn, nil
	case s.TLS == nil:
		_, _ = conn.Write(mine[:])
		farewell(v.conn)
		return nil, fmt.Errorf("%w: the other speaks it, and this side does not", ErrTLS)
	case b[0] == magic[0]:
		if _, err := readOpening(conn); err != nil && !errors.Is(err, ErrVersion) {
			return nil, err
		}
		mine[4] = byte(wantsTLS)
		_, _ = conn.Write(mine[:])
		farewell(v.conn)
		return nil, fmt.Errorf("%w: this side speaks it, and the other does not", ErrTLS)
	}
	secure := tls.Server(conn, s.TLS)
	if err := secure.Handshake(); err != nil {
		farewell(v.conn)
		if gone(err) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", ErrTLS, err)
	}
	return secure, nil
}

// judge reads the proofs. A secret that none of them proves is no error: then there is no pact.
func judge(r io.Reader, secrets []string, theirs, mine *opening) (*pact, verdict, error) {
	var proofs [spoken * len(proof{})]byte
	if _, err := io.ReadFull(r, proofs[:]); err != nil {
		return nil, verdict{}, err
	}
	var found *pact
	which := spoken
	for _, secret := range secrets { // all of them: how long it takes is nobody's business
		p, err := newPact(secret, theirs, mine)
		if err != nil {
			return nil, verdict{}, err
		}
		for i := range spoken {
			if p.asker.is(proofs[i*len(proof{}):][:len(proof{})]) && i < which {
				found, which = p, i
			}
		}
	}
	if found == nil {
		return nil, verdict{foreign}, nil
	}
	w := verdict{welcome, byte(which)}
	copy(w[2:], found.server[:])
	return found, w, nil
}

// welcome has somebody who has proved himself come in.
func (s *Server) welcome(v *visitor, conn net.Conn, w verdict) error {
	err := s.admit(v)
	switch {
	case errors.Is(err, ErrFull):
		w = verdict{full}
	case err != nil:
		return err
	}
	if _, wrong := conn.Write(w[:]); wrong != nil || err != nil {
		farewell(v.conn)
		return errors.Join(err, wrong)
	}
	return nil
}

// farewell lets the last word arrive: a connection that is closed while something is still unread may lose it.
func farewell(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, conn, Most)
	}
}

// exchange answers a question, and says whether there can be more.
func (s *Server) exchange(v *visitor) (more bool, err error) {
	_ = v.conn.SetReadDeadline(time.Now().Add(s.limits.idle))
	question, err := v.line.read(func() { _ = v.conn.SetReadDeadline(time.Now().Add(s.limits.frame)) })
	if err != nil {
		return false, err
	}
	_ = v.conn.SetWriteDeadline(time.Now().Add(s.limits.frame))
	if secrets, m := distinct(s.Secrets); m != v.mode || m == sealed && !slices.Contains(secrets, v.secret) {
		return false, v.line.refuse()
	}
	if !s.begins(v) {
		return false, nil
	}
	defer s.ends(v)
	answer := s.Answer(v.conn.RemoteAddr(), question)
	switch {
	case answer == nil:
		return false, nil
	case len(answer) > Most:
		return false, fmt.Errorf("%w: our own answer of %d", ErrLong, len(answer))
	}
	_ = v.conn.SetWriteDeadline(time.Now().Add(s.limits.frame))
	err = v.line.write(answer)
	return err == nil, err
}

// tell tells of who is none of ours, and why.
func (s *Server) tell(v *visitor, err error) {
	s.mu.Lock()
	closed, evicted, stage := s.closed, v.evicted, v.stage
	s.mu.Unlock()
	if s.Strange == nil || err == nil || closed {
		return
	}
	named := false
	for _, is := range []error{ErrForeign, ErrVersion, ErrNone, ErrLong, ErrTLS, ErrFull} {
		named = named || errors.Is(err, is)
	}
	switch {
	case named:
	case stage == proved: // it is one of ours, and went
		return
	case evicted:
		err = fmt.Errorf("%w, and had to make room for others", ErrSilent)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%w within %v", ErrSilent, s.limits.prove)
	default:
		err = fmt.Errorf("%w: %w", ErrSilent, err)
	}
	s.Strange(v.conn.RemoteAddr(), err)
}
