package rolebustest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serve listens and has each connection served by a goroutine of its own.
func serve(t *testing.T, each func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", hostPort(0))
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				each(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// echo sends back what it gets, until its clients say that this was all.
func echo(conn net.Conn) { _, _ = io.Copy(conn, conn) }

// mendedPipe returns a pipe to an echo.
func mendedPipe(t *testing.T) *pipe {
	t.Helper()
	return mendedPipeTo(t, serve(t, echo))
}

func mendedPipeTo(t *testing.T, target string) *pipe {
	t.Helper()
	var p *pipe
	require.NoError(t, onFreePorts(t, 1, func(ports []int) error {
		p = newPipe(ports[0], target)
		t.Cleanup(func() { p.cut(); dropPorts(ports) })
		return p.mend()
	}))
	return p
}

func TestPipeCarriesAllInOrder(t *testing.T) {
	p := mendedPipe(t)
	conn, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	defer conn.Close()
	sent := make([]byte, 8<<20)
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = conn.Write(sent)
		_ = conn.(*net.TCPConn).CloseWrite()
	})
	wg.Go(func() {
		for range 50 {
			p.stall(up, down)
			_ = p.mend()
		}
	})
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	wg.Wait()
	require.True(t, bytes.Equal(sent, got), "%d bytes sent, %d came back", len(sent), len(got))
}

// A sender that is not heard is held up: what a stalled pipe holds has an end.
func TestStalledPipeHoldsLittle(t *testing.T) {
	p := mendedPipe(t)
	p.stall(up, down)
	conn, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
	n, err := conn.Write(make([]byte, 256<<20))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Less(t, n, 64<<20) // the system's buffers
}

// Faults in any order leave nothing behind, TestMain looks for what does; what passes is what was sent, in order; and
// when they are over all passes again, also on connections that were made before.
func TestPipeUnderFaults(t *testing.T) {
	t.Parallel()
	for range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			p := mendedPipe(t)
			over := make(chan struct{})
			complete := make(chan int, 1000)
			var clients, faults sync.WaitGroup
			for client := range 4 {
				clients.Go(func() {
					for {
						select {
						case <-over:
							return
						default:
						}
						if passes(t, p, make([]byte, rand.IntN(200_000))) {
							select {
							case complete <- client:
							default:
							}
						}
					}
				})
			}
			for i := range 3 {
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				faults.Go(func() {
					for range 60 {
						fault(random, p)
						time.Sleep(time.Duration(random.IntN(5)) * time.Millisecond) // something is under way again
					}
				})
			}
			faults.Wait()
			p.reshape(func(s *shape) { s.delay, s.loss = 0, 0 })
			require.NoError(t, onOwnPort(p.mend))
			for len(complete) > 0 {
				<-complete
			}
			var passed [4]int
			for slices.Min(passed[:]) < 2 { // the first may have been told late
				passed[<-complete]++
			}
			close(over)
			clients.Wait()
		})
	}
}

// fault does one thing to a pipe.
func fault(random *rand.Rand, p *pipe) {
	switch random.IntN(9) {
	case 0:
		p.cut()
	case 1:
		p.stall(up, down)
	case 2:
		p.stall(up)
	case 3:
		p.stall(down)
	case 4:
		p.reshape(func(s *shape) { s.delay = time.Duration(random.IntN(20)) * time.Millisecond })
	case 5:
		p.reshape(func(s *shape) { s.loss = random.Float64() })
	case 6:
		p.release()
	default:
		_ = p.mend()
	}
}

// passes says whether all of something came back by a pipe. What comes back must be what was sent, as far as it came.
func passes(t *testing.T, p *pipe, sent []byte) bool {
	conn, err := net.Dial("tcp", p.listen)
	if err != nil {
		time.Sleep(time.Millisecond)
		return false
	}
	defer conn.Close()
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	var writer sync.WaitGroup
	defer writer.Wait()
	writer.Go(func() {
		_, _ = conn.Write(sent)
		_ = conn.(*net.TCPConn).CloseWrite()
	})
	got, _ := io.ReadAll(conn)
	if !bytes.HasPrefix(sent, got) {
		t.Errorf("other bytes came back than the %d that were sent", len(sent))
	}
	return len(got) == len(sent)
}

// What one side cannot hear it does not hear either from the way of its connection: not that it is closed, nor that
// nobody takes what it sends.
func TestPipeStalledOneWay(t *testing.T) {
	joined, heard := make(chan struct{}), make(chan string)
	p := mendedPipeTo(t, serve(t, func(conn net.Conn) {
		close(joined)
		all, _ := io.ReadAll(conn)
		heard <- string(all)
	}))
	ends := make(chan error, 1)
	conn, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("hello"))
	require.NoError(t, err)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		ends <- err
	}()
	<-joined // what is stalled before the server has heard of the client keeps it from being heard of, whichever way

	p.stall(up)
	_, err = conn.Write([]byte(", world"))
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	select {
	case all := <-heard:
		require.Fail(t, "the stalled end arrived", "after %q", all)
	case <-time.After(100 * time.Millisecond):
	}
	p.stall(down)
	p.reshape(func(s *shape) { s.stalled[up] = false })
	require.Equal(t, "hello, world", <-heard)
	select {
	case err := <-ends:
		require.Fail(t, "it heard of the end", "%v", err)
	case <-time.After(100 * time.Millisecond):
	}
	p.release()
	require.ErrorIs(t, <-ends, io.EOF)
}

// A server that is gone is news from the server, also to who only sends to it.
func TestPipeTellsOfALostServerTheSameWay(t *testing.T) {
	joined, die, dead := make(chan struct{}), make(chan struct{}), make(chan struct{})
	p := mendedPipeTo(t, serve(t, func(conn net.Conn) {
		close(joined)
		<-die
		_ = conn.(*net.TCPConn).SetLinger(0) // it is reset
		conn.Close()
		close(dead)
	}))
	conn, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	defer conn.Close()
	<-joined
	p.stall(down)
	close(die)
	<-dead
	for range 64 { // more than all buffers hold
		_, err = conn.Write(make([]byte, 1<<20))
		require.NoError(t, err)
	}
	p.release()
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
}

func TestLateAndLossyPipeCarriesAllInOrder(t *testing.T) {
	p := mendedPipe(t)
	p.reshape(func(s *shape) { s.delay, s.loss = 5*time.Millisecond, 0.002 })
	conn, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	defer conn.Close()
	sent := make([]byte, 8<<20)
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	start := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = conn.Write(sent)
		_ = conn.(*net.TCPConn).CloseWrite()
	})
	wg.Go(func() { // changes on the way
		for i := range 20 {
			p.reshape(func(s *shape) { s.delay = time.Duration(i%3) * 5 * time.Millisecond })
			time.Sleep(10 * time.Millisecond)
		}
	})
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	wg.Wait()
	require.True(t, bytes.Equal(sent, got), "%d bytes sent, %d came back", len(sent), len(got))
	require.Greater(t, time.Since(start), resendAfter, "nothing was lost")
}
