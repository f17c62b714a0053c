//go:build linux

package chaos_test

import (
	"bufio"
	"fmt"
	"os"
	"syscall"

	"github.com/rolebus/rolebus/internal/children"
)

// A child process is this test's own binary, started again with this variable set. It reads its configuration from the
// first line of its standard input, and ends when that ends: with the controller.
const childVariable = "ROLEBUS_CHAOS_PROCESS"

const (
	serverChild   = "server"
	nodeChild     = "node"
	strangerChild = "stranger"
	parentChild   = "parent" // of a child that is frozen: for the test that this does not outlive it
)

// runChild is the main function of a child process.
func runChild(part string) error {
	if err := children.Attach(); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	switch part {
	case serverChild:
		return runServer(in)
	case nodeChild:
		return runNode(in)
	case strangerChild:
		return runStranger(in)
	case parentChild:
		p, err := startProcess(os.TempDir(), nodeChild, nodeConfig{URLs: "nats://" + nowhere, Node: "orphan", Bucket: bucket, Scopes: []string{"alpha"}}, func([]byte) {})
		if err != nil {
			return err
		}
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		fmt.Println(p.Pid)
		<-p.Gone
	}
	return fmt.Errorf("unknown part %q", part)
}

// process is a child process, as the controller sees it.
type process = children.Process

// startProcess starts a child, on a machine of its own whose clock is in dir. Each line that it says is given to hear.
func startProcess(dir, part string, config any, hear func([]byte)) (*process, error) {
	return children.Start(childVariable, part, dir, config, hear)
}
