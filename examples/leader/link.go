package main

import (
	"net"
	"strings"
	"sync"
)

// link is one process's way to NATS, in which this process stands: it can be cut, and then carries nothing in either direction, and tells
// nobody so, as a network that is dead.
type link struct {
	url    string
	server string // host and port
	listen net.Listener
	work   sync.WaitGroup

	mu    sync.Mutex
	open  chan struct{} // closed while it carries
	conns map[net.Conn]bool
	over  bool
}

func newLink(server string) (*link, error) {
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{
		url: "nats://" + listen.Addr().String(), server: strings.TrimPrefix(server, "nats://"), listen: listen,
		open: make(chan struct{}), conns: map[net.Conn]bool{},
	}
	close(l.open)
	l.work.Go(l.accept)
	return l, nil
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

// mend has the link carry again, also what it was given meanwhile.
func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

func (l *link) accept() {
	for {
		near, err := l.listen.Accept()
		if err != nil {
			return // it was closed
		}
		l.work.Go(func() {
			defer near.Close()
			<-l.carries()
			far, err := net.Dial("tcp", l.server)
			if err != nil {
				return
			}
			defer far.Close()
			if !l.keep(near, far) {
				return
			}
			defer l.drop(near, far)
			var ways sync.WaitGroup
			ways.Go(func() { l.carry(near, far) })
			ways.Go(func() { l.carry(far, near) })
			ways.Wait()
		})
	}
}

func (l *link) carries() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// carry carries from one to the other until one of them ends.
func (l *link) carry(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		<-l.carries()
		if _, failed := to.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
	}
}

func (l *link) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range conns {
		l.conns[conn] = true
	}
	return !l.over
}

func (l *link) drop(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range conns {
		delete(l.conns, conn)
	}
}

func (l *link) close() error {
	l.mend()
	err := l.listen.Close()
	l.mu.Lock()
	l.over = true
	for conn := range l.conns {
		conn.Close()
	}
	l.mu.Unlock()
	l.work.Wait()
	return err
}
