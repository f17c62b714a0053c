package discovery

import (
	"errors"
	"syscall"
)

// gossipShare lets other processes of this machine have the port, too: all then hear what comes to the group.
func gossipShare(_, _ string, c syscall.RawConn) error {
	var problem error
	err := c.Control(func(fd uintptr) {
		problem = syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	})
	return errors.Join(err, problem)
}
