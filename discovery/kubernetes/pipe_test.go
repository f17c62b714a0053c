package kubernetes_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// pipe is a way to a server on which everything may stand still: connections stay, and nothing comes through.
type pipe struct {
	listener net.Listener

	mu     sync.Mutex
	frozen chan struct{} // closed: nothing is
	conns  []net.Conn
}

func newPipe(t testing.TB, to string) *pipe {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &pipe{listener: l, frozen: make(chan struct{})}
	close(p.frozen)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			go p.copy(in, out)
			go p.copy(out, in)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		p.freeze(false)
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range p.conns {
			c.Close()
		}
	})
	return p
}

func (p *pipe) address() string { return p.listener.Addr().String() }

func (p *pipe) freeze(frozen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if frozen {
		p.frozen = make(chan struct{})
		return
	}
	select {
	case <-p.frozen:
	default:
		close(p.frozen)
	}
}

func (p *pipe) copy(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		frozen := p.frozen
		p.mu.Unlock()
		<-frozen
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				from.Close()
			}
			return
		}
	}
}
