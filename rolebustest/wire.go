package rolebustest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// wire is a link from one mending to the next cut: a listener and what was connected through it.
type wire struct {
	listener net.Listener
	target   string
	passage  func() <-chan struct{} // closed while bytes may flow

	ctx    context.Context // over when the wire is cut
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

const wireBuffer = 32 << 10 // held per direction while stalled

func newWire(listener net.Listener, target string, passage func() <-chan struct{}) *wire {
	w := &wire{listener: listener, target: target, passage: passage}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.wg.Go(w.accept)
	return w
}

// close cuts everything and returns when nothing flows any more.
func (w *wire) close() {
	w.cancel()
	w.listener.Close()
	w.wg.Wait()
}

func (w *wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return // closed
		}
		w.wg.Go(func() { w.join(client) })
	}
}

// join connects a client with the server until one of them, or the wire, ends it.
func (w *wire) join(client net.Conn) {
	defer client.Close()
	if !w.pass() {
		return
	}
	var dialer net.Dialer
	server, err := dialer.DialContext(w.ctx, "tcp", w.target)
	if err != nil {
		return // to the client the server closed the connection
	}
	defer server.Close()
	defer context.AfterFunc(w.ctx, func() {
		client.Close()
		server.Close()
	})()
	var both sync.WaitGroup
	both.Go(func() { w.carry(server, client) })
	both.Go(func() { w.carry(client, server) })
	both.Wait()
}

// carry brings what one side sends to the other, until one of them fails or from says that this was all: then to is told
// the same, and may still answer.
func (w *wire) carry(to, from net.Conn) {
	buf := make([]byte, wireBuffer)
	for {
		n, err := from.Read(buf)
		if !w.pass() {
			return
		}
		if _, failed := to.Write(buf[:n]); failed != nil {
			err = failed
		}
		if errors.Is(err, io.EOF) {
			_ = to.(*net.TCPConn).CloseWrite()
			return
		}
		if err != nil {
			from.Close()
			to.Close()
			return
		}
	}
}

// pass waits until bytes may flow; it returns false if the wire is cut.
func (w *wire) pass() bool {
	select {
	case <-w.passage():
		return w.ctx.Err() == nil
	case <-w.ctx.Done():
		return false
	}
}
