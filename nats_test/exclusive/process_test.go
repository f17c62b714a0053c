//go:build linux

package exclusive_test

import (
	"bufio"
	"os"
	"strings"

	"github.com/rolebus/rolebus/internal/children"
)

// A child process is this test's own binary, started again with this variable set. It reads its configuration from the first line of its
// standard input, orders from the others, and ends when that ends: with the test.
const childVariable = "ROLEBUS_EXCLUSIVE_PROCESS"

// parts are the main functions of such processes.
var parts = map[string]func(in *bufio.Reader) error{"server": runServer, "node": runNode, "naive": runNaive}

func runChild(part string) error {
	if err := children.Attach(); err != nil {
		return err
	}
	return parts[part](bufio.NewReader(os.Stdin))
}

// process is a child process, as the test sees it.
type process struct {
	*children.Process
	said chan string // lines of its standard output; what nobody wants to know is not kept
}

// startProcess starts a child, on a machine of its own whose clock is in dir.
func startProcess(dir, part string, config any) (p *process, err error) {
	p = &process{said: make(chan string, 16)}
	p.Process, err = children.Start(childVariable, part, dir, config, func(line []byte) {
		select {
		case p.said <- strings.TrimSpace(string(line)):
		default:
		}
	})
	return p, err
}
