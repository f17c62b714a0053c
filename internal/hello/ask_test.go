package hello

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAsksAndIsAnswered(t *testing.T) {
	t.Parallel()
	for name, secrets := range map[string]func() []string{"sealed": these(secret), "in the clear": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var dialed atomic.Int64
			p := newPlace(t, &Server{Secrets: secrets})
			a := newAsker(t, &Asker{Secrets: secrets, Dial: counted(&dialed)})
			for range 10 {
				requireAsk(t, a, p.at)
			}
			require.EqualValues(t, 1, dialed.Load(), "the connection is kept")
			require.Empty(t, p.told(t, 0))
		})
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for name, secrets := range map[string]func() []string{"sealed": these(secret), "in the clear": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, &Server{Secrets: secrets, Answer: func(_ net.Addr, question []byte) []byte {
				if string(question) == "more" {
					return make([]byte, Most+1)
				}
				return question
			}})
			a := newAsker(t, &Asker{Secrets: secrets})
			for _, size := range []int{0, 1, 4<<10 - 1, 4 << 10, 4<<10 + 1, Most - 1, Most} {
				question := bytes.Repeat([]byte{0xa5}, size)
				answer, err := a.Ask(within(t), p.at, "", question)
				require.NoError(t, err, size)
				require.NotNil(t, answer)
				require.Equal(t, question, append([]byte{}, answer...), size)
			}
			answer, err := a.Ask(within(t), p.at, "", nil)
			require.NoError(t, err)
			require.Equal(t, []byte{}, answer)
			_, err = a.Ask(within(t), p.at, "", make([]byte, Most+1))
			require.ErrorIs(t, err, ErrLong)
			require.Empty(t, p.told(t, 0))
			_, err = a.Ask(within(t), p.at, "", []byte("more"))
			require.ErrorContains(t, err, "without an answer")
			require.ErrorIs(t, p.told(t, 1)[0], ErrLong)
		})
	}
}

func TestManyAskAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlace(t, &Server{Secrets: these(secret)})
	a := newAsker(t, &Asker{Secrets: these(secret)})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 20 {
				question := fmt.Sprint(i, " ", j)
				answer, err := a.Ask(within(t), p.at, "", []byte(question))
				if err != nil || string(answer) != question+" too" {
					t.Errorf("%q: %q, %v", question, answer, err)
				}
			}
		})
	}
	wg.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	require.Len(t, a.kept, 1)
	soon(t, func() bool { _, known := p.counts(); return known == 1 })
	require.Empty(t, p.told(t, 0))
}

func TestNoAnswerClosesTheConnection(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	p := newPlace(t, &Server{Secrets: these(secret), Answer: func(net.Addr, []byte) []byte { asked.Add(1); return nil }})
	a := newAsker(t, &Asker{Secrets: these(secret)})
	_, err := a.Ask(within(t), p.at, "", []byte("?"))
	require.ErrorContains(t, err, "without an answer")
	require.EqualValues(t, 1, asked.Load(), "a new connection is not tried again")
	require.Empty(t, p.told(t, 0))
}

func TestServerThatReturnsIsAskedAnew(t *testing.T) {
	t.Parallel()
	p := newPlace(t, &Server{Secrets: these(secret)})
	a := newAsker(t, &Asker{Secrets: these(secret)})
	for range 5 {
		requireAsk(t, a, p.at)
		p.Close()
		next := &place{Server: &Server{Secrets: these(secret), Answer: p.Answer}}
		next.at = next.serve(t, p.at)
		p = next
	}
	requireAsk(t, a, p.at)
}

// A server closes connections to make room for others, which have not said who they are yet: so who has not been heard comes again, but not
// for ever.
func TestLostConnectionsAreTriedAgain(t *testing.T) {
	t.Parallel()
	p := newPlace(t, &Server{Secrets: these(secret)})
	closes := fake(t, func(net.Conn) {})
	for _, lost := range []int64{1, attempts - 1, attempts} {
		var dialed atomic.Int64
		a := newAsker(t, &Asker{Secrets: these(secret), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if dialed.Add(1) <= lost {
				address = closes
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}})
		_, err := a.Ask(within(t), p.at, "", nil)
		if lost < attempts {
			require.NoError(t, err)
			require.Equal(t, lost+1, dialed.Load())
			continue
		}
		require.ErrorIs(t, err, errLost)
		require.EqualValues(t, attempts, dialed.Load())
	}
}

func TestLostInTLS(t *testing.T) {
	t.Parallel()
	var dialed atomic.Int64
	a := newAsker(t, &Asker{TLS: func(string) *tls.Config { return &tls.Config{} }, Dial: counted(&dialed)})
	_, err := a.Ask(within(t), fake(t, func(net.Conn) {}), "", nil)
	require.ErrorIs(t, err, errLost)
	require.NotErrorIs(t, err, ErrTLS, "nobody said anything about that")
	require.EqualValues(t, attempts, dialed.Load())
}

func TestFrozenServer(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // its connections are made by the kernel, and nobody accepts them
	require.NoError(t, err)
	defer ln.Close()
	a := newAsker(t, &Asker{Secrets: these(secret)})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	failure := make(chan error)
	go func() {
		_, err := a.Ask(ctx, ln.Addr().String(), "", nil)
		failure <- err
	}()
	conn, err := ln.Accept()
	require.NoError(t, err)
	defer conn.Close()
	_, err = readOpening(conn)
	require.NoError(t, err)
	why := fmt.Errorf("enough of it")
	cancel(why)
	err = <-failure
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, why)
	requireClosed(t, conn)

	ctx, end := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer end()
	_, err = a.Ask(ctx, ln.Addr().String(), "", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// requireClosed reads until the other side closes, and returns what came before.
func requireClosed(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	read, err := io.ReadAll(conn)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	return read
}

// A server that froze after it was asked once: what is kept is dropped, and when it goes on it is asked on a new connection.
func TestServerFreezesOnAKeptConnection(t *testing.T) {
	t.Parallel()
	frozen := make(chan struct{})
	var freeze atomic.Bool
	var dialed atomic.Int64
	p := newPlace(t, &Server{Secrets: these(secret), Answer: func(_ net.Addr, question []byte) []byte {
		if freeze.Load() {
			<-frozen
		}
		return append(question, " too"...)
	}})
	a := newAsker(t, &Asker{Secrets: these(secret), Dial: counted(&dialed)})
	requireAsk(t, a, p.at)
	freeze.Store(true)
	ctx, end := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer end()
	_, err := a.Ask(ctx, p.at, "", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	freeze.Store(false)
	close(frozen)
	requireAsk(t, a, p.at)
	require.EqualValues(t, 2, dialed.Load())
	soon(t, func() bool { _, known := p.counts(); return known == 1 })
}

func TestKeptConnectionsEnd(t *testing.T) {
	t.Parallel()
	p := newPlace(t, &Server{Secrets: these(secret)})
	a := newAsker(t, &Asker{Secrets: these(secret), idle: time.Millisecond})
	_, err := a.Ask(within(t), p.at, "", nil)
	require.NoError(t, err)
	none := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		a.mu.Lock()
		defer a.mu.Unlock()
		p.Server.mu.Lock()
		defer p.Server.mu.Unlock()
		return len(a.kept)+len(p.known) == 0
	}
	soon(t, none)
	requireAsk(t, a, p.at)
	soon(t, none)
	require.Empty(t, p.told(t, 0))
}

func TestKeptConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	p := newPlace(t, &Server{Secrets: these(secret)})
	a := newAsker(t, &Asker{Secrets: these(secret)})
	for i := range keptMost + 20 {
		_, err := a.Ask(within(t), p.at, fmt.Sprint(i), nil) // each name has a connection of its own
		require.NoError(t, err)
	}
	a.mu.Lock()
	require.Len(t, a.kept, keptMost)
	require.NotContains(t, a.kept, destination{p.at, "0"}, "the oldest went")
	a.mu.Unlock()
	soon(t, func() bool {
		p.Server.mu.Lock()
		defer p.Server.mu.Unlock()
		return len(p.known) == keptMost
	})
}

func TestCloseEndsQuestions(t *testing.T) {
	t.Parallel()
	heard, release := make(chan struct{}), make(chan struct{})
	p := newPlace(t, &Server{Answer: func(net.Addr, []byte) []byte { close(heard); <-release; return nil }})
	defer close(release)
	a := &Asker{}
	failure := make(chan error)
	go func() {
		_, err := a.Ask(within(t), p.at, "", nil)
		failure <- err
	}()
	<-heard
	go a.Close()
	a.Close()
	require.ErrorIs(t, <-failure, net.ErrClosed)
	_, err := a.Ask(within(t), p.at, "", nil)
	require.ErrorIs(t, err, net.ErrClosed)
	(&Asker{}).Close()
}

func TestServerCloses(t *testing.T) {
	t.Parallel()
	patient := usual
	patient.prove = time.Hour // so that nobody goes by himself
	for range 20 {
		p := newPlace(t, &Server{Secrets: these(secret), limits: patient})
		also := p.serve(t, "127.0.0.1:0")
		a := newAsker(t, &Asker{Secrets: these(secret)})
		requireAsk(t, a, p.at)
		requireAsk(t, a, also)
		silent, err := net.Dial("tcp", p.at)
		require.NoError(t, err)
		defer silent.Close()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { _, _ = a.Ask(within(t), p.at, "", nil) })
			wg.Go(p.Close)
		}
		wg.Wait()
		p.Server.mu.Lock()
		require.Empty(t, p.known)
		require.Empty(t, p.strangers)
		p.Server.mu.Unlock()
		requireClosed(t, silent)
		require.Empty(t, p.told(t, 0), "nobody is strange because we go")
	}
	s := &Server{}
	s.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, s.Serve(ln), "after Close")
	require.Error(t, ln.Close(), "it is closed")
}

func TestListenerThatFailsIsTold(t *testing.T) {
	t.Parallel()
	s := &Server{}
	defer s.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	require.ErrorIs(t, s.Serve(ln), net.ErrClosed)
}
