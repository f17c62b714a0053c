//go:build linux

package exclusive_test

import (
	"net"
	"sync"
	"time"
)

// link is a TCP proxy between one node and one server, which can be made worse.
type link struct {
	address, target string
	listener        net.Listener
	wg              sync.WaitGroup

	mu      sync.Mutex
	shape   shape
	changed chan struct{} // closed when the shape changes
	through map[net.Conn]bool
	closed  bool
}

// shape is how a link treats what goes through it. The zero shape is a good link.
type shape struct {
	refuses     bool          // new connections are closed at once
	mute, deaf  bool          // what the node says is held, or what it is told
	late        time.Duration // each piece, each way
	resetsFirst bool          // those that there are when the shape changes
}

func newLink(target string) (*link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{address: listener.Addr().String(), target: target, listener: listener, changed: make(chan struct{}), through: map[net.Conn]bool{}}
	l.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.wg.Go(func() { l.join(conn) })
		}
	})
	return l, nil
}

func (l *link) become(s shape) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shape = s
	close(l.changed)
	l.changed = make(chan struct{})
	if s.resetsFirst {
		l.resetLocked()
	}
}

func (l *link) resetLocked() {
	for conn := range l.through {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
}

func (l *link) state() (s shape, changed <-chan struct{}, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.shape, l.changed, l.closed
}

func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	close(l.changed)
	l.changed = make(chan struct{})
	l.resetLocked()
	l.mu.Unlock()
	_ = l.listener.Close()
	l.wg.Wait()
}

// join carries one connection until either side ends it.
func (l *link) join(dialer net.Conn) {
	defer func() { _ = dialer.Close() }()
	target, err := net.DialTimeout("tcp", l.target, time.Second)
	if err != nil {
		return
	}
	defer func() { _ = target.Close() }()
	l.mu.Lock()
	if l.closed || l.shape.refuses {
		l.mu.Unlock()
		return
	}
	l.through[dialer], l.through[target] = true, true
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.carry(target, dialer, func(s shape) bool { return s.mute }) })
	both.Go(func() { l.carry(dialer, target, func(s shape) bool { return s.deaf }) })
	both.Wait()
	l.mu.Lock()
	delete(l.through, dialer)
	delete(l.through, target)
	l.mu.Unlock()
}

func (l *link) carry(to, from net.Conn, held func(shape) bool) {
	defer func() { _ = to.Close() }()
	defer func() { _ = from.Close() }()
	for buf := make([]byte, 64<<10); ; {
		n, err := from.Read(buf)
		for s, changed, closed := l.state(); n > 0 && !closed; s, changed, closed = l.state() {
			if s.late > 0 {
				time.Sleep(s.late)
			}
			if !held(s) {
				break
			}
			<-changed
		}
		if _, failed := to.Write(buf[:n]); err != nil || failed != nil {
			return
		}
	}
}
