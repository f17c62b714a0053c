package hello

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// Server answers. Its fields are set before Serve, and not changed.
type Server struct {
	// Secrets are those that are accepted, in any order. It is asked for each connection and each question, and so is quick. Nil, or none:
	// everybody is, and nothing is sealed.
	Secrets func() []string
	// TLS, if it is set, is spoken, and nothing is without.
	TLS *tls.Config
	// Answer gives the answer to a question, whose bytes it may keep; nil closes the connection without one, and so does one that is longer
	// than Most, of which Strange is told. It is quick, may be called by many goroutines at once, and never before the other has proved
	// itself; from is where it comes from.
	Answer func(from net.Addr, question []byte) []byte
	// Strange, if it is set, is told of each connection that is none of ours, or does not behave like one, and why: one of this package's
	// errors. It is quick, may be called by many goroutines at once, and as often as anybody likes: whoever logs must limit that.
	Strange func(from net.Addr, err error)

	limits limits // zero: usual

	mu        sync.Mutex
	closed    bool
	over      chan struct{} // closed by Close; made when first needed, as is what follows
	freed     chan struct{} // a stranger went, or proved itself
	listeners map[net.Listener]struct{}
	strangers crowd // who has not proved itself
	known     crowd
	wg        sync.WaitGroup // of Serve, and of connections
}

// limits are how much others may take, and how long.
type limits struct {
	strangers, known int
	grace            time.Duration // so long a stranger stays at least, whoever comes
	prove            time.Duration // so long one has to prove itself
	idle             time.Duration // so long a connection is kept without a question: longer than an asker keeps it
	frame            time.Duration // so long a question has from its begin to its end, and so long an answer has
}

var usual = limits{strangers: 128, known: 1024, grace: 20 * time.Millisecond, prove: 5 * time.Second, idle: 2 * time.Minute, frame: 10 * time.Second}

// prepare makes what the zero value lacks. The caller has the lock.
func (s *Server) prepare() {
	if s.over != nil {
		return
	}
	s.over, s.freed = make(chan struct{}), make(chan struct{}, 1)
	s.listeners = make(map[net.Listener]struct{})
	if s.limits == (limits{}) {
		s.limits = usual
	}
}

// Serve accepts connections until Close, and then returns nil. If the listener fails before, it returns why; connections go on. It closes the
// listener in any case. It may be called for several listeners, by a goroutine each.
func (s *Server) Serve(ln net.Listener) error {
	defer func() { _ = ln.Close() }()
	s.mu.Lock()
	s.prepare()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.listeners[ln] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, ln)
	}()
	const soon = 5 * time.Millisecond
	for pause := soon; ; {
		conn, err := ln.Accept()
		if err == nil {
			pause = soon
			s.arrive(conn)
			continue
		}
		var passing interface{ Temporary() bool } // such as too many open files
		if !errors.As(err, &passing) || !passing.Temporary() {
			select {
			case <-s.over:
				return nil
			default:
				return err
			}
		}
		s.wait(pause)
		pause = min(2*pause, time.Second)
	}
}

// wait waits for so long, or until a stranger went, or Close.
func (s *Server) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.freed:
	case <-s.over:
	}
}

// arrive lets a connection in. If there are too many strangers already, one has to go, which is given a moment.
func (s *Server) arrive(conn net.Conn) {
	v := newVisitor(conn)
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = conn.Close()
			return
		}
		if len(s.strangers) < s.limits.strangers {
			v.since = time.Now()
			s.strangers.add(v)
			s.wg.Go(func() { s.attend(v) })
			s.mu.Unlock()
			return
		}
		first := s.strangers.first()
		stays := s.limits.grace - time.Since(first.since)
		if stays <= 0 {
			s.strangers.evict(first)
		}
		s.mu.Unlock()
		if stays > 0 {
			s.wait(stays)
		}
	}
}

// gone forgets who is gone.
func (s *Server) gone(v *visitor) {
	_ = v.conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known.remove(v)
	if s.strangers.remove(v) {
		s.free()
	}
}

// free says that there is place for a stranger. The caller has the lock.
func (s *Server) free() {
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// admit makes a stranger one of ours. If there are too many, the one goes that has asked nothing for longest.
func (s *Server) admit(v *visitor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.evicted || s.closed {
		return net.ErrClosed
	}
	if len(s.known) >= s.limits.known {
		first := s.known.first()
		if first == nil {
			return ErrFull
		}
		s.known.evict(first)
	}
	s.strangers.remove(v)
	s.free()
	v.stage, v.since = proved, time.Now()
	s.known.add(v)
	return nil
}

// reached notes how far a stranger has got.
func (s *Server) reached(v *visitor, stage stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.stage = stage
}

// begins notes that somebody is being answered, and so stays; false if it is too late for that.
func (s *Server) begins(v *visitor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.answering = !v.evicted
	return v.answering
}

func (s *Server) ends(v *visitor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.answering, v.since = false, time.Now()
}

// Close closes the listeners and all connections, and returns when Serve and all that it has begun have ended: so not from Answer or Strange.
// It is safe to call twice.
func (s *Server) Close() {
	s.mu.Lock()
	s.prepare()
	if !s.closed {
		s.closed = true
		close(s.over)
		for ln := range s.listeners {
			_ = ln.Close()
		}
		for _, v := range slices.Concat(s.strangers, s.known) {
			_ = v.conn.Close()
		}
	}
	s.mu.Unlock()
	s.wg.Wait()
}
