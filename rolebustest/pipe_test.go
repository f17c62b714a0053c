package rolebustest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// echo listens and sends back what it gets, until its clients say that this was all.
func echo(t *testing.T) (address string) {
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
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func mendedPipe(t *testing.T) *pipe {
	t.Helper()
	target := echo(t)
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
			p.stall()
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
	p.stall()
	conn, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
	n, err := conn.Write(make([]byte, 256<<20))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Less(t, n, 64<<20) // the system's buffers
}

// Faults and clients in any order leave nothing behind: TestMain looks for what does.
func TestPipeUnderFaults(t *testing.T) {
	p := mendedPipe(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				switch rand.IntN(4) {
				case 0:
					p.cut()
				case 1:
					p.stall()
				case 2:
					p.release()
				default:
					_ = p.mend()
				}
			}
		})
		wg.Go(func() {
			for range 100 {
				conn, err := net.Dial("tcp", p.listen)
				if err != nil {
					continue
				}
				_, _ = conn.Write([]byte("x"))
				conn.Close()
			}
		})
	}
	wg.Wait()
	require.NoError(t, onOwnPort(p.mend))
	conn, err := net.Dial("tcp", p.listen)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(conn, make([]byte, 1))
	require.NoError(t, err)
}
