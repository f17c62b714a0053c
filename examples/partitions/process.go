package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// process is a worker as the story sees it: a child process of this one.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser // its end tells the process to go
	err   bytes.Buffer   // its stderr; to be read once it has ended
	ended chan struct{}  // also: all that it said was heard
}

// startProcess runs this very program again. When it has ended it is sent to ends, which has room.
func startProcess(spec workerSpec, hear func(string, said), ends chan<- *process) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	p := &process{name: spec.Name, cmd: exec.Command(self, spec.Name), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), workerEnv+"="+string(raw))
	p.cmd.Stderr = &p.err
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // joined by stop
		for in := json.NewDecoder(stdout); ; { // what a killed process has said is read, too
			var s said
			if in.Decode(&s) != nil {
				break // it has ended
			}
			hear(p.name, s)
		}
		_ = p.cmd.Wait() // how it ended stands in ProcessState
		close(p.ended)
		ends <- p
	}()
	return p, nil
}

// kill ends the process at once; it cannot say goodbye. On Unix this is SIGKILL.
func (p *process) kill() error { return p.cmd.Process.Kill() }

func (p *process) drain() error {
	_, err := fmt.Fprintln(p.stdin, drain)
	return err
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// dismiss lets the process go.
func (p *process) dismiss() { _ = p.stdin.Close() }

// stop makes sure that the process has ended.
func (p *process) stop(patience time.Duration) error {
	p.dismiss()
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
	}
	err := p.kill()
	<-p.ended
	return errors.Join(fmt.Errorf("%s did not end within %v and was killed", p.name, patience), err)
}

// end tells how the process ended, in its own words if it said any.
func (p *process) end() string {
	if text := strings.TrimSpace(p.err.String()); text != "" {
		return text
	}
	return p.cmd.ProcessState.String()
}
