package hello

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolebus/rolebus/internal/atonce"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	atonce.Tests(16, 8)
	goleak.VerifyTestMain(m)
}

const secret, other = "a secret of the tests", "another secret of the tests"

func these(secrets ...string) func() []string { return func() []string { return secrets } }

// place is a server on loopback that answers "<question> too", counts questions, and keeps what it was told of strangers.
type place struct {
	*Server
	at       string
	asked    atomic.Int64
	mu       sync.Mutex
	stranges []error
}

func newPlace(t *testing.T, s *Server) *place {
	t.Helper()
	p := &place{Server: s}
	if s.Answer == nil {
		s.Answer = func(_ net.Addr, question []byte) []byte {
			p.asked.Add(1)
			return append(slices.Clip(question), " too"...)
		}
	}
	s.Strange = func(from net.Addr, err error) {
		assert.NotNil(t, from)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stranges = append(p.stranges, err)
	}
	p.at = p.serve(t, "127.0.0.1:0")
	t.Cleanup(p.Close)
	return p
}

// serve begins to serve on an address.
func (p *place) serve(t *testing.T, address string) string {
	t.Helper()
	var ln net.Listener
	soon(t, func() bool { // somebody may have been given a port that was ours a moment ago
		var err error
		ln, err = net.Listen("tcp", address)
		return err == nil
	})
	done := make(chan error, 1)
	go func() { done <- p.Serve(ln) }()
	t.Cleanup(func() {
		p.Close()
		require.NoError(t, <-done)
	})
	return ln.Addr().String()
}

// told is what Strange was told, of which there is some soon.
func (p *place) told(t *testing.T, n int) []error {
	t.Helper()
	var all []error
	soon(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		all = slices.Clone(p.stranges)
		return len(all) >= n
	})
	return all
}

func soon(t *testing.T, is func() bool) {
	t.Helper()
	require.Eventually(t, is, 20*time.Second, time.Millisecond)
}

func newAsker(t *testing.T, a *Asker) *Asker {
	t.Cleanup(a.Close)
	return a
}

// within bounds what must not hang.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func requireAsk(t *testing.T, a *Asker, address string) {
	t.Helper()
	for i := range 2 { // on a new connection perhaps, and then on one that was kept
		question := fmt.Sprint("question ", i)
		answer, err := a.Ask(within(t), address, "", []byte(question))
		require.NoError(t, err)
		require.Equal(t, question+" too", string(answer))
	}
}

// counted counts connections that are made.
func counted(n *atomic.Int64) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		n.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}
