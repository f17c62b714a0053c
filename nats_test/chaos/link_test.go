//go:build linux

package chaos_test

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// link is a TCP proxy in front of one server, for one node or for one other server, that can be made worse.
type link struct {
	address  string // where it listens
	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	shape   shape
	changed chan struct{} // closed when the shape changes
	through map[*passage]bool
	closed  bool
}

// shape is how a link treats what goes through it. The zero shape is a good link.
type shape struct {
	refuses bool          // new connections are closed at once
	holdsUp bool          // what the dialer says is held
	holdsDn bool          // what the target says is held
	delay   time.Duration // each way
	stalls  time.Duration // each piece may be late by up to so much, one in four is
	resets  float64       // how probable it is that a piece resets its connection instead
}

const (
	linkPieces = 64
	linkPiece  = 16 << 10
)

func newLink(target string) (*link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{
		address: listener.Addr().String(), target: target, listener: listener,
		changed: make(chan struct{}), through: map[*passage]bool{},
	}
	l.wg.Go(l.accept)
	return l, nil
}

func (l *link) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.join(conn) })
	}
}

// become gives the link a shape, and then, if so wanted, resets what goes through it.
func (l *link) become(s shape, reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shape = s
	close(l.changed)
	l.changed = make(chan struct{})
	if reset {
		for p := range l.through {
			p.close()
		}
	}
}

func (l *link) state() (shape, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shape, l.changed
}

func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	for p := range l.through {
		p.close()
	}
	l.mu.Unlock()
	l.listener.Close()
	l.wg.Wait()
}

// passage is one connection through a link.
type passage struct {
	dialer, target net.Conn
	once           sync.Once
	over           chan struct{}
}

func (p *passage) close() {
	p.once.Do(func() {
		close(p.over)
		for _, c := range []net.Conn{p.dialer, p.target} {
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	})
}

func (l *link) join(dialer net.Conn) {
	if s, _ := l.state(); s.refuses {
		dialer.Close()
		return
	}
	target, err := net.DialTimeout("tcp", l.target, time.Second)
	if err != nil {
		dialer.Close()
		return
	}
	p := &passage{dialer: dialer, target: target, over: make(chan struct{})}
	l.mu.Lock()
	if l.closed || l.shape.refuses {
		l.mu.Unlock()
		p.close()
		return
	}
	l.through[p] = true
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.carry(p, target, dialer, func(s shape) bool { return s.holdsUp }) })
	both.Go(func() { l.carry(p, dialer, target, func(s shape) bool { return s.holdsDn }) })
	both.Wait()
	l.mu.Lock()
	delete(l.through, p)
	l.mu.Unlock()
}

type piece struct {
	bytes []byte
	due   time.Time
}

// carry brings what one side says to the other, in pieces that may be under way for a while.
func (l *link) carry(p *passage, to, from net.Conn, held func(shape) bool) {
	defer p.close()
	pieces := make(chan piece, linkPieces)
	var writer sync.WaitGroup
	writer.Go(func() {
		defer p.close()
		for next := range pieces {
			if !l.deliver(p, next, held) {
				return
			}
			if _, err := to.Write(next.bytes); err != nil {
				return
			}
		}
	})
	defer writer.Wait()
	defer close(pieces)
	for {
		buf := make([]byte, linkPiece)
		n, err := from.Read(buf)
		if n > 0 {
			s, _ := l.state()
			next := piece{bytes: buf[:n], due: time.Now().Add(s.delay)}
			if s.stalls > 0 && rand.IntN(4) == 0 {
				next.due = next.due.Add(rand.N(s.stalls))
			}
			if s.resets > 0 && rand.Float64() < s.resets {
				return
			}
			select {
			case pieces <- next:
			case <-p.over:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// deliver waits until a piece may arrive; false if its connection ends first.
func (l *link) deliver(p *passage, next piece, held func(shape) bool) bool {
	if wait := time.Until(next.due); wait > 0 {
		select {
		case <-time.After(wait):
		case <-p.over:
			return false
		}
	}
	for {
		s, changed := l.state()
		if !held(s) {
			return true
		}
		select {
		case <-changed:
		case <-p.over:
			return false
		}
	}
}
