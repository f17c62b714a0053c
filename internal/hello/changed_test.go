package hello

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// meddler is an asker's connection with somebody in between: it notes what is sent and what comes, or changes a byte of it, or cuts it off.
type meddler struct {
	net.Conn
	mu         sync.Mutex
	sent, came bytes.Buffer
	write      func(at int, b []byte) []byte
	read       func(at int, b []byte) []byte
}

func (m *meddler) Write(b []byte) (int, error) {
	m.mu.Lock()
	at := m.sent.Len()
	m.sent.Write(b)
	m.mu.Unlock()
	changed := bytes.Clone(b)
	if m.write != nil {
		changed = m.write(at, changed)
	}
	if _, err := m.Conn.Write(changed); err != nil {
		return 0, err
	}
	if len(changed) < len(b) {
		_ = m.Conn.(*net.TCPConn).CloseWrite()
	}
	return len(b), nil
}

func (m *meddler) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.mu.Lock()
	at := m.came.Len()
	m.came.Write(b[:n])
	m.mu.Unlock()
	if m.read != nil && n > 0 {
		kept := m.read(at, b[:n])
		if len(kept) < n {
			return len(kept), io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// meddled has askers connect through meddlers.
func meddled(with func(*meddler)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		m := &meddler{Conn: conn}
		with(m)
		return m, nil
	}
}

func flip(which int) func(int, []byte) []byte {
	return func(at int, b []byte) []byte {
		if i := which - at; i >= 0 && i < len(b) {
			b[i] ^= 1
		}
		return b
	}
}

func cut(which int) func(int, []byte) []byte {
	return func(at int, b []byte) []byte { return b[:max(0, min(len(b), which-at))] }
}

const (
	conversation = len(opening{}) + 64 + 4 + 1 + 16                 // of an asker with a question of one byte
	reply        = len(opening{}) + len(verdict{}) + 4 + 1 + 4 + 16 // of the server: "? too"
)

// Whatever is changed on the way, or cut off: either the answer is right all the same, or there is none; and no other question is heard.
func TestChangedOnTheWay(t *testing.T) {
	t.Parallel()
	impatient := usual
	impatient.frame = 20 * time.Millisecond // what makes a frame longer makes its reader wait
	p := newPlace(t, &Server{Secrets: these(secret), limits: impatient})
	answer := p.Answer
	heard := make(map[string]bool)
	var mu sync.Mutex
	p.Answer = func(from net.Addr, question []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		heard[string(question)] = true
		return answer(from, question)
	}
	try := func(right bool, with func(*meddler)) {
		t.Helper()
		a := &Asker{Secrets: these(secret), Dial: meddled(with)}
		defer a.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		got, err := a.Ask(ctx, p.at, "", []byte("?"))
		if right {
			require.NoError(t, err)
		} else {
			require.Error(t, err)
		}
		if err == nil {
			require.Equal(t, "? too", string(got))
		}
	}
	var one *meddler
	try(true, func(m *meddler) { one = m })
	require.Equal(t, conversation, one.sent.Len())
	require.Equal(t, reply, one.came.Len())
	unused := func(i int) bool { return i >= len(opening{})+16 && i < len(opening{})+64 } // proofs of secrets that the asker does not have
	for i := range conversation {
		try(unused(i), func(m *meddler) { m.write = flip(i) })
		try(false, func(m *meddler) { m.write = cut(i) })
	}
	for i := range reply {
		try(false, func(m *meddler) { m.read = cut(i) })
		if i == len(opening{})+len(verdict{})+2 {
			continue // 256 bytes more of an answer, for which an asker waits as long as it likes
		}
		try(false, func(m *meddler) { m.read = flip(i) })
	}
	require.Equal(t, map[string]bool{"?": true}, heard)
}

func TestReplays(t *testing.T) {
	t.Parallel()
	p := newPlace(t, &Server{Secrets: these(secret)})
	var recorded *meddler
	a := newAsker(t, &Asker{Secrets: these(secret), Dial: meddled(func(m *meddler) { recorded = m })})
	_, err := a.Ask(within(t), p.at, "", []byte("?"))
	require.NoError(t, err)
	require.EqualValues(t, 1, p.asked.Load())

	got := stranger(t, p.at, recorded.sent.Bytes())
	require.Equal(t, append([]byte{foreign}, make([]byte, 17)...), got[len(opening{}):])
	require.ErrorIs(t, p.told(t, 1)[0], ErrForeign)
	require.EqualValues(t, 1, p.asked.Load())

	_, err = newAsker(t, &Asker{Secrets: these(secret)}).Ask(within(t), fake(t, says(recorded.came.String())), "", []byte("?"))
	require.ErrorIs(t, err, ErrForeign)

	// And what was said a moment ago, on the same connection.
	twice := newAsker(t, &Asker{Secrets: these(secret), Dial: meddled(func(m *meddler) {
		m.write = func(at int, b []byte) []byte {
			if at == conversation-21 {
				return append(b, b...)
			}
			return b
		}
	})})
	_, err = twice.Ask(within(t), p.at, "", []byte("?"))
	require.NoError(t, err)
	require.ErrorIs(t, p.told(t, 2)[1], ErrForeign)
	require.EqualValues(t, 2, p.asked.Load())
}

// An answer cannot be had by an asker from itself: what it says is none.
func TestWhatAnAskerSaysIsNoAnswer(t *testing.T) {
	t.Parallel()
	mine, theirs := newOpening(sealed), newOpening(sealed)
	p, err := newPact(secret, &mine, &theirs)
	require.NoError(t, err)
	require.NotEqual(t, p.asker, p.server)
	var b bytes.Buffer
	l, err := p.line(&b, true)
	require.NoError(t, err)
	require.NoError(t, l.write([]byte("?")))
	_, err = l.read(func() {})
	require.ErrorIs(t, err, ErrForeign)
}
