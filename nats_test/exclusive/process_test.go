//go:build linux

package exclusive_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// A child process is this test's own binary, started again with this variable set. It reads its configuration from the first line of its
// standard input, orders from the others, and ends when that ends: with the test.
const childVariable = "ROLEBUS_EXCLUSIVE_PROCESS"

// children are the main functions of such processes.
var children = map[string]func(in *bufio.Reader) error{"server": runServer, "node": runNode, "naive": runNaive}

func runChild(part string) error {
	if err := attachClock(); err != nil {
		return err
	}
	return children[part](bufio.NewReader(os.Stdin))
}

func readLine(in *bufio.Reader, v any) error {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// process is a child process, as the test sees it.
type process struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	said    chan string   // lines of its standard output
	gone    chan struct{} // closed when it has ended and all its output was read
	err     error         // how it ended; after gone
	stderr  *tail
	machine *machine
}

// startProcess starts a child, on a machine of its own whose clock is in dir.
func startProcess(dir, part string, config any) (*process, error) {
	m, err := newMachine(dir)
	if err != nil {
		return nil, err
	}
	p := &process{machine: m, cmd: exec.Command(os.Args[0]), said: make(chan string, 16), gone: make(chan struct{}), stderr: &tail{}}
	p.cmd.Env = append(os.Environ(), childVariable+"="+part, m.Env())
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a frozen one does not see the end of its input
	p.cmd.Stderr = p.stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			select {
			case p.said <- lines.Text():
			default: // nobody wants to know
			}
		}
		p.err = p.cmd.Wait()
		close(p.gone)
	}()
	p.tell(config)
	return p, nil
}

// tell tells it something that fits into the pipe, though it be frozen; one that has ended is told nothing.
func (p *process) tell(v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	_, _ = p.stdin.Write(append(raw, '\n'))
}

func (p *process) running() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// signal reaches only this process; one that has ended already is left alone.
func (p *process) signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// kill kills it, frozen or not, and waits until it is gone.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL)
	<-p.gone
	_ = p.stdin.Close()
}

// ending tells how it ended; after gone.
func (p *process) ending() string {
	return strings.TrimSpace(fmt.Sprintf("%v\n%s", p.err, p.stderr))
}

// tail keeps the end of what a process writes.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 64 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if len(t.buf) > 2*tailSize {
		t.buf = append([]byte(nil), t.buf[len(t.buf)-tailSize:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
