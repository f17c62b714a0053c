//go:build linux

package chaos_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
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
	if err := attachClock(); err != nil {
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
		if err := p.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		fmt.Println(p.cmd.Process.Pid)
		<-p.gone
	}
	return fmt.Errorf("unknown part %q", part)
}

func readLine(in *bufio.Reader, v any) error {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// process is a child process, as the controller sees it.
type process struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	orders  chan any      // written to stdin by a goroutine of its own: a frozen process does not read
	gone    chan struct{} // closed when the process has ended and all its output was read
	err     error         // how it ended; after gone
	stderr  *tail
	machine *machine
	wg      sync.WaitGroup
}

// startProcess starts a child, on a machine of its own whose clock is in dir. Each line that it says is given to hear.
func startProcess(dir, part string, config any, hear func([]byte)) (*process, error) {
	m, err := newMachine(dir)
	if err != nil {
		return nil, err
	}
	p := &process{machine: m, cmd: exec.Command(os.Args[0]), orders: make(chan any, 4096), gone: make(chan struct{}), stderr: &tail{}}
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
	p.wg.Go(func() {
		lines := bufio.NewReaderSize(out, 1<<20)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				return
			}
			hear(line)
		}
	})
	go func() {
		p.wg.Wait()
		p.err = p.cmd.Wait()
		close(p.gone)
	}()
	go func() {
		encoder := json.NewEncoder(p.stdin)
		for {
			select {
			case order := <-p.orders:
				_ = encoder.Encode(order) // a process that is gone is told of by gone
			case <-p.gone:
				return
			}
		}
	}()
	p.orders <- config
	return p, nil
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
