package rolebustest

import (
	"net"
	"sync"
)

// pipe is a way to an address that can be cut, made worse and mended: one wire from each mending to the next cut.
type pipe struct {
	listen, target string

	turn sync.Mutex // held while it is being cut or mended

	mu      sync.Mutex
	wire    *wire // nil while cut
	shape   shape
	changed chan struct{} // closed when the shape changes
}

// newPipe returns a pipe that is cut.
func newPipe(port int, target string) *pipe {
	return &pipe{listen: hostPort(port), target: target, changed: make(chan struct{})}
}

// cut closes all connections, refuses new ones, and returns when nothing flows any more.
func (p *pipe) cut() {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.mu.Lock()
	w := p.wire
	p.wire = nil
	p.mu.Unlock()
	if w != nil {
		w.close() // not under mu, which its goroutines want
	}
}

// reset closes all connections.
func (p *pipe) reset() {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.mu.Lock()
	w := p.wire
	p.mu.Unlock()
	if w != nil {
		w.renew()
	}
}

// mend ends cut and stall.
func (p *pipe) mend() error { return p.open(false) }

// open ends cut, and stalls both ways, or none.
func (p *pipe) open(stalled bool) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if stalled { // before anything can pass
		p.become(func(s *shape) { s.stalled = [2]bool{true, true} })
	}
	if p.wire == nil {
		listener, err := net.Listen("tcp", p.listen)
		if err != nil {
			return err
		}
		p.wire = newWire(listener, p.target, p.shapeNow)
	}
	p.become(func(s *shape) { s.stalled = [2]bool{stalled, stalled} })
	return nil
}

// stall lets nothing through on these ways.
func (p *pipe) stall(ways ...way) {
	p.reshape(func(s *shape) {
		for _, w := range ways {
			s.stalled[w] = true
		}
	})
}

// release takes everything back except cut.
func (p *pipe) release() { p.reshape(func(s *shape) { *s = shape{} }) }

// reshape changes how the pipe treats what passes, and what is under way.
func (p *pipe) reshape(change func(*shape)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.become(change)
}

// become is reshape under mu.
func (p *pipe) become(change func(*shape)) {
	before := p.shape
	if change(&p.shape); p.shape != before {
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

func (p *pipe) shapeNow() (shape, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shape, p.changed
}
