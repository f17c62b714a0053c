package rolebustest

import (
	"context"
	"io"
	"sync"
	"time"
)

const (
	laneBuffer = 32 << 10 // read at once
	laneWindow = 4 << 20  // may be under way: as much as TCP may send ahead on Linux (net.ipv4.tcp_wmem)
	chunkCost  = 256      // of the window, so that many small ones have an end, too
)

// lane is one way of one connection: what was sent and has not arrived yet, in order. One goroutine fills it, another one
// empties it.
type lane struct {
	ctx    context.Context // over with the connection
	way    way
	shape  shapeFunc
	ended  func(error) // what the end of what was sent does, when it arrives
	failed func(error) // what it does when nothing more can be brought

	filled, emptied chan struct{} // one signal each that there is more, or less, in the queue

	mu    sync.Mutex
	queue []chunk
	size  int
}

func newLane(ctx context.Context, way way, shape shapeFunc) *lane {
	return &lane{ctx: ctx, way: way, shape: shape, filled: make(chan struct{}, 1), emptied: make(chan struct{}, 1)}
}

// fill takes what one side sends, until its end.
func (l *lane) fill(from io.Reader) {
	buf := make([]byte, laneBuffer)
	for {
		n, err := from.Read(buf)
		s, _ := l.shape()
		for _, c := range s.send(buf[:n], time.Now()) {
			if !l.put(c) {
				return
			}
		}
		if err != nil {
			l.end(err)
			return
		}
	}
}

// end puts an end behind what was sent: io.EOF if that was all, another error if it is the end of the connection.
func (l *lane) end(err error) {
	s, _ := l.shape()
	l.add(s.last(err, time.Now()))
}

// empty brings to the other side what was sent, each chunk when it is due, until the connection is over.
func (l *lane) empty(to io.Writer) {
	broken := false
	for {
		c, ok := l.take()
		if !ok || !l.shape.await(l.ctx, c, l.way) {
			return
		}
		if c.end != nil {
			l.ended(c.end)
			continue // another end may follow, from the other side
		}
		if broken {
			continue // there is nobody any more
		}
		if _, err := to.Write(c.bytes); err != nil {
			broken = true
			l.failed(err)
		}
	}
}

// put adds a chunk when there is room; it returns false if the connection is over.
func (l *lane) put(c chunk) bool {
	for l.full() {
		select {
		case <-l.emptied:
		case <-l.ctx.Done():
			return false
		}
	}
	l.add(c)
	return true
}

// take removes the next chunk when there is one; it returns false if the connection is over.
func (l *lane) take() (chunk, bool) {
	for {
		if c, ok := l.next(); ok {
			return c, true
		}
		select {
		case <-l.filled:
		case <-l.ctx.Done():
			return chunk{}, false
		}
	}
}

func (l *lane) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size >= laneWindow
}

func (l *lane) add(c chunk) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, c)
	l.size += len(c.bytes) + chunkCost
	signal(l.filled)
}

func (l *lane) next() (chunk, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return chunk{}, false
	}
	c := l.queue[0]
	l.queue[0] = chunk{} // not to be kept alive by what follows
	l.queue = l.queue[1:]
	l.size -= len(c.bytes) + chunkCost
	signal(l.emptied)
	return c, true
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // there is one already
	}
}
