//go:build linux

package children

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

var taken = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// TakePorts returns free ports that this process gives to nobody else.
func TakePorts(n int) (got []int, err error) {
	taken.Lock()
	defer taken.Unlock()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if taken.ports[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		taken.ports[port] = true
		if got = append(got, port); len(got) == n {
			return got, nil
		}
	}
	return nil, fmt.Errorf("no %d free ports", n)
}
