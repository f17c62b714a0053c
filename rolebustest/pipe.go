package rolebustest

import (
	"net"
	"sync"
)

// pipe is a way to an address that can be cut, stalled and mended: one wire from each mending to the next cut.
type pipe struct {
	listen, target string

	turn sync.Mutex // held while it is being cut or mended

	mu   sync.Mutex
	wire *wire         // nil while cut
	gate chan struct{} // closed while bytes may flow
}

// newPipe returns a pipe that is cut.
func newPipe(port int, target string) *pipe {
	return &pipe{listen: hostPort(port), target: target, gate: make(chan struct{})}
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

func (p *pipe) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
		p.gate = make(chan struct{})
	default: // stalled already
	}
}

func (p *pipe) mend() error {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wire == nil {
		listener, err := net.Listen("tcp", p.listen)
		if err != nil {
			return err
		}
		p.wire = newWire(listener, p.target, p.passage)
	}
	p.openGate()
	return nil
}

// release ends stall, but not cut.
func (p *pipe) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.openGate()
}

func (p *pipe) openGate() {
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

// passage returns a channel that is closed while bytes may flow.
func (p *pipe) passage() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gate
}
