package rolebustest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wire is a link from one mending to the next cut: a listener and what was connected through it.
type wire struct {
	listener net.Listener
	target   string
	shape    shapeFunc

	ctx    context.Context // over when the wire is cut
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	age   context.Context // over when all that is connected now is to be closed
	reset context.CancelFunc
}

func newWire(listener net.Listener, target string, shape shapeFunc) *wire {
	w := &wire{listener: listener, target: target, shape: shape}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.age, w.reset = context.WithCancel(w.ctx)
	w.wg.Go(w.accept)
	return w
}

// renew closes all connections, and lets new ones in.
func (w *wire) renew() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reset()
	w.age, w.reset = context.WithCancel(w.ctx)
}

// now returns a context that is over when the connections of now are closed.
func (w *wire) now() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.age
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
	ctx, over := context.WithCancel(w.now())
	defer over()
	toServer, toClient := newLane(ctx, up, w.shape), newLane(ctx, down, w.shape)
	var wg sync.WaitGroup
	wg.Go(func() { toServer.fill(client) })
	server, err := w.dial(ctx)
	if err == nil {
		var halves atomic.Int32
		bring := func(l, back *lane, to net.Conn) {
			l.ended = func(err error) {
				// Who says that this was all may still be answered.
				if !errors.Is(err, io.EOF) || halves.Add(1) == 2 {
					over()
					return
				}
				_ = to.(*net.TCPConn).CloseWrite()
			}
			l.failed = back.end // that to is gone is news that goes back the same way as all else
			wg.Go(func() { l.empty(to) })
		}
		bring(toServer, toClient, server)
		bring(toClient, toServer, client)
		wg.Go(func() { toClient.fill(server) })
	} else { // to the client the server closed the connection: news that comes from there as all else does
		toServer.ended = func(err error) {
			if !errors.Is(err, io.EOF) {
				over()
			}
		}
		toClient.ended = func(error) { over() }
		wg.Go(func() { toServer.empty(io.Discard) })
		wg.Go(func() { toClient.empty(client) })
		toClient.end(err)
	}
	<-ctx.Done()
	if server != nil {
		server.Close()
	}
	client.Close()
	wg.Wait()
}

// dial connects to the server when it has heard of the client.
func (w *wire) dial(ctx context.Context) (net.Conn, error) {
	s, _ := w.shape()
	if !w.shape.await(ctx, s.open(time.Now()), up, down) {
		return nil, context.Cause(ctx)
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", w.target)
}
