package rolebustest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

const loopback = "127.0.0.1"

// The ports come from below the range out of which systems take the source ports of outgoing connections (32768 and up
// on Linux, 49152 and up elsewhere). In that range a stopped server's port may be gone when it starts again, taken by
// the very client that tries to reconnect to it.
const (
	firstPort = 10000
	lastPort  = 32700

	portTries   = 20
	portTimeout = 20 * time.Second
	portPoll    = 20 * time.Millisecond
)

// ports holds what this process has given out, so that nobody gets the port of a server that is stopped just now.
var ports struct {
	mu   sync.Mutex
	used map[int]bool
}

// onFreePorts calls use with n ports that are free and stay this test's own until it ends. Between finding and using a
// port another process may take it; then use is called again with others.
func onFreePorts(tb testing.TB, n int, use func(ports []int) error) error {
	var err error
	for range portTries {
		var got []int
		if got, err = takePorts(n); err != nil {
			return err
		}
		if err = use(got); err == nil {
			return nil
		}
		dropPorts(got)
		if !cannotListen(err) {
			return err
		}
	}
	return fmt.Errorf("%d times free ports were taken before it could listen on them: %w", portTries, err)
}

// onOwnPort calls try until it can listen on the port that it listened on before.
func onOwnPort(try func() error) error {
	deadline := time.Now().Add(portTimeout)
	for {
		err := try()
		if !cannotListen(err) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(portPoll)
	}
}

// cannotListen says whether an error is about listening, so that it may go away with time or another port.
func cannotListen(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "listen"
}

func takePorts(n int) ([]int, error) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if ports.used == nil {
		ports.used = map[int]bool{}
	}
	var got []int
	var err error
	for range 1000 + n {
		if len(got) == n {
			return got, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort)
		if ports.used[port] {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", hostPort(port)); err != nil {
			continue
		}
		l.Close()
		ports.used[port] = true
		got = append(got, port)
	}
	return nil, fmt.Errorf("no %d free ports on %s from %d to %d: %w", n, loopback, firstPort, lastPort, err)
}

func dropPorts(got []int) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	for _, port := range got {
		delete(ports.used, port)
	}
}

func hostPort(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

// splitPort is hostPort's other way; the port is 0 if there is none.
func splitPort(address string) (host string, port int) {
	host, text, _ := net.SplitHostPort(address)
	port, _ = strconv.Atoi(text)
	return host, port
}
