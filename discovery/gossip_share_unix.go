//go:build unix

package discovery

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// gossipShare lets other processes of this machine have the port, too: all then hear what comes to the group. SO_REUSEPORT alone would do
// so only for processes of one user; some systems want it, and some the other.
func gossipShare(_, _ string, c syscall.RawConn) error {
	var problem error
	err := c.Control(func(fd uintptr) {
		problem = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		)
	})
	return errors.Join(err, problem)
}
