//go:build linux

package children

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// ReadLine reads, in a child, its configuration or an order.
func ReadLine(in *bufio.Reader, v any) error {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// Process is a child, as the test sees it.
type Process struct {
	*os.Process
	Machine *Machine
	Gone    <-chan struct{} // closed when it has ended, and all that it said was heard

	cmd    *exec.Cmd
	err    error // how it ended; after Gone
	stdin  io.WriteCloser
	orders chan any // written to stdin by a goroutine of their own: a frozen process does not read
	stderr Tail
}

// Start starts a child, with a variable that says which part of the test it is, on a machine whose clock is in dir. Each line that it says is given to hear,
// one after another.
func Start(variable, part, dir string, config any, hear func(line []byte)) (*Process, error) {
	m, err := newMachine(dir)
	if err != nil {
		return nil, err
	}
	gone := make(chan struct{})
	p := &Process{Machine: m, Gone: gone, orders: make(chan any, 4096)}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), variable+"="+part, m.Env())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a frozen one does not see the end of its input
	cmd.Stderr = &p.stderr
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.Process, p.cmd = cmd.Process, cmd
	go func() {
		lines := bufio.NewReaderSize(out, 1<<20)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				break
			}
			hear(line)
		}
		p.err = cmd.Wait()
		close(gone)
	}()
	go func() {
		encoder := json.NewEncoder(p.stdin)
		for {
			select {
			case order := <-p.orders:
				_ = encoder.Encode(order) // of a process that is gone Gone tells
			case <-gone:
				return
			}
		}
	}()
	p.Tell(config)
	return p, nil
}

// Tell gives it an order. It does not wait until that is read, or written.
func (p *Process) Tell(order any) { p.orders <- order }

// Running says whether it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.Gone:
		return false
	default:
		return true
	}
}

// Signal reaches only this process; one that has ended already is left alone.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Kill kills it, frozen or not, and waits until it is gone.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL)
	<-p.Gone
	_ = p.stdin.Close()
}

// Said returns the end of what it has written to its standard error.
func (p *Process) Said() string { return p.stderr.String() }

// Ending tells how it ended; after Gone.
func (p *Process) Ending() string { return strings.TrimSpace(fmt.Sprintf("%v\n%s", p.err, &p.stderr)) }

// ExitCode returns that with which it ended; after Gone.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }
