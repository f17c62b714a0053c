//go:build linux

package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports come from below the range out of which the system takes the source ports of outgoing connections: there a
// stopped server's port may be taken when it starts again.
const (
	firstPort = 10000
	lastPort  = 32700
)

var ports struct {
	mu   sync.Mutex
	used map[int]bool
}

// takePorts returns free ports that this process gives to nobody else.
func takePorts(n int) ([]int, error) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if ports.used == nil {
		ports.used = map[int]bool{}
	}
	var got []int
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if ports.used[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			continue
		}
		l.Close()
		ports.used[port] = true
		if got = append(got, port); len(got) == n {
			return got, nil
		}
	}
	return nil, fmt.Errorf("no %d free ports", n)
}
