package call_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/embedded"
	"github.com/stretchr/testify/require"
)

// echoProcess says to the test binary that it is the process of a server, and of a node that answers with what it gets: what those
// allocate and compute is not to be counted for the caller.
const echoProcess = "ROLEBUS_CALL_ECHO"

// plainSubject is where it answers plain requests.
const plainSubject = "plain.echo"

// playEcho is that process. It ends with its standard input.
func playEcho() error {
	server, err := embedded.Start()
	if err != nil {
		return err
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	bus, err := rolebus.Connect(ctx, server.URL(), rolebus.WithNode("echo"))
	if err != nil {
		return err
	}
	defer bus.Close()
	same := func(_ context.Context, in []byte) ([]byte, error) { return in, nil }
	if _, err := call.Handle(bus.Scope, "raw", same, call.Encoding(call.Raw)); err != nil {
		return err
	}
	if _, err := call.Handle(bus.Scope, "json", same); err != nil {
		return err
	}
	answer := func(msg *nats.Msg) { _ = msg.Respond(msg.Data) } // a caller that gets none complains
	if _, err := bus.Conn().Subscribe(plainSubject, answer); err != nil {
		return err
	}
	if err := bus.AddRoles(ctx, "echo"); err != nil {
		return err
	}
	fmt.Println(server.URL())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// echoFleet starts that process, and returns a Bus that sees it.
func echoFleet(tb testing.TB) *rolebus.Bus {
	tb.Helper()
	program, err := os.Executable()
	require.NoError(tb, err)
	child := exec.Command(program)
	child.Env = append(os.Environ(), echoProcess+"=1")
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	require.NoError(tb, err)
	out, err := child.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, child.Start())
	tb.Cleanup(func() {
		_ = in.Close() // fails if it has ended already, which Wait tells
		require.NoError(tb, child.Wait())
	})
	url, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(tb, err)
	ctx := soon(tb)
	bus, err := rolebus.Connect(ctx, strings.TrimSpace(url), rolebus.WithNode("caller"), rolebus.WithProbeInterval(0))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, bus.Close()) })
	require.NoError(tb, bus.WaitFor(ctx, "echo", 1))
	return bus
}
