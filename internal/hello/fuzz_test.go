package hello

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzServer has anything come to a server: it ends, says no more than it may to strangers, and who has no secret is not heard.
func FuzzServer(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), true)
	f.Add(append(opens(1, 1), make([]byte, 80)...), true)
	f.Add(append(opens(1, 0), "\x00\x00\x00\x01?\x00\x00\x00\x00"...), false)
	f.Add(append(opens(1, 0), "\x00\x01\x00\x01"...), false)
	f.Add(opens(2, 1), true)
	f.Add([]byte("\x16\x03\x01\x00\x05hello"), false)
	f.Fuzz(func(t *testing.T, b []byte, secrets bool) {
		s := &Server{Answer: func(_ net.Addr, question []byte) []byte {
			if secrets {
				t.Error("a stranger was heard")
			}
			if question == nil || len(question) > Most {
				t.Errorf("a question of %d, nil: %t", len(question), question == nil)
			}
			return nil
		}}
		if secrets {
			s.Secrets = these(secret)
		}
		conn := &script{says: bytes.NewReader(b)}
		s.mu.Lock()
		s.prepare()
		s.mu.Unlock()
		s.arrive(conn)
		s.wg.Wait()
		require.True(t, conn.closed)
		most := len(opening{}) + len(verdict{})
		if !bytes.HasPrefix(b, []byte(magic)) && !bytes.HasPrefix(b, []byte("\x16")) {
			most = 0
		}
		require.LessOrEqual(t, conn.heard.Len(), most)
	})
}

// script is a connection to somebody who says what is in it, and goes.
type script struct {
	net.Conn // nil: what is not below is not used
	says     *bytes.Reader
	heard    bytes.Buffer
	closed   bool
}

func (s *script) Read(b []byte) (int, error)       { return s.says.Read(b) }
func (s *script) Write(b []byte) (int, error)      { return s.heard.Write(b) }
func (s *script) Close() error                     { s.closed = true; return nil }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// FuzzAsker has anything be what a server says: there is no answer from who has no secret, and none that is too long from anybody.
func FuzzAsker(f *testing.F) {
	welcomes := string(opens(1, 0)) + "\x01" + strings.Repeat("\x00", 17)
	f.Add([]byte("INFO {}\r\n"), true)
	f.Add([]byte(string(opens(1, 1))+"\x01"+strings.Repeat("\x00", 40)), true)
	f.Add([]byte(welcomes+"\x00\x00\x00\x01!"), false)
	f.Add([]byte(welcomes+"\x00\x01\x00\x01!"), false)
	f.Fuzz(func(t *testing.T, b []byte, secrets bool) {
		a := &Asker{Dial: func(context.Context, string, string) (net.Conn, error) {
			return &script{says: bytes.NewReader(b)}, nil
		}}
		defer a.Close()
		if secrets {
			a.Secrets = these(secret)
		}
		answer, err := a.Ask(t.Context(), "somewhere", "", []byte("?"))
		switch {
		case err == nil && secrets:
			t.Errorf("an answer from a stranger: %q", answer)
		case err == nil:
			require.NotNil(t, answer)
			require.LessOrEqual(t, len(answer), Most)
			require.True(t, bytes.Contains(b, answer))
		default:
			require.Nil(t, answer)
		}
	})
}

// FuzzFrames changes one byte of a frame, or none: it is read as it was, or not at all.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("question"), 0, byte(0))
	f.Add([]byte("question"), 3, byte(1))
	f.Add([]byte(""), 19, byte(0x80))
	mine, theirs := opening(opens(1, 1)), opening(opens(1, 1))
	p, err := newPact(secret, &mine, &theirs)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, what []byte, at int, flip byte) {
		what = what[:min(len(what), Most)]
		var b bytes.Buffer
		asker, err := p.line(&b, true)
		require.NoError(t, err)
		server, err := p.line(&b, false)
		require.NoError(t, err)
		require.NoError(t, asker.write(what))
		if at < 0 || at >= b.Len() {
			flip = 0
		} else {
			b.Bytes()[at] ^= flip
		}
		got, err := server.read(func() {})
		if flip != 0 {
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		require.True(t, bytes.Equal(what, got))
		require.Zero(t, b.Len())
	})
}
