package embedded

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Which errno says that a port is taken is for each system to say: on Windows it is 10048, which Go does not take for syscall.EADDRINUSE.
func TestPortsThatAreNotToBeHadAreKnownOnEachSystem(t *testing.T) {
	failed := func(op, call string, errno int) error {
		return fmt.Errorf("server: %w", &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(call, syscall.Errno(errno))})
	}
	for _, errno := range []int{10048, 10013, int(syscall.EADDRINUSE)} {
		require.True(t, notToBeHad(failed("listen", "bind", errno)))
	}
	require.False(t, notToBeHad(failed("listen", "socket", int(syscall.EMFILE))), "another port would not do either")
	require.False(t, notToBeHad(failed("dial", "connect", 10048)))
	require.False(t, notToBeHad(errors.New("full")))
	require.False(t, notToBeHad(nil))

	first, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer first.Close()
	_, err = net.Listen("tcp", first.Addr().String())
	require.True(t, notToBeHad(err))
	_, err = net.Listen("tcp", "no such host:0")
	require.Error(t, err)
	require.False(t, notToBeHad(err), "a name that nobody knows is not looked up a hundred times")

	had := first.Addr().(*net.TCPAddr).Port
	other, err := listenAt("127.0.0.1", 0, had)
	require.NoError(t, err)
	defer other.Close()
	require.NotEqual(t, had, other.Addr().(*net.TCPAddr).Port)
	_, err = listenAt("127.0.0.1", had, 0)
	require.Error(t, err, "one that was chosen is not given up for another")
}
