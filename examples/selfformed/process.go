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
	"sync"
	"time"
)

// process is one of the five as the story sees it: a child process of this one.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser // its end tells the process to go
	said  bytes.Buffer   // its stderr; to be read once it has ended
	ended chan struct{}

	mu    sync.Mutex
	state state // what it told last
}

// startProcess runs this very program again. When it has ended it is sent to ends, which has room.
func startProcess(spec memberSpec, ends chan<- *process) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	p := &process{name: spec.Name, cmd: exec.Command(self, spec.Name), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), memberEnv+"="+string(raw))
	p.cmd.Stderr = &p.said
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
		for in := json.NewDecoder(stdout); ; {
			var s state
			if in.Decode(&s) != nil {
				break // it has ended
			}
			p.mu.Lock()
			p.state = s
			p.mu.Unlock()
		}
		_ = p.cmd.Wait() // how it ended stands in ProcessState
		close(p.ended)
		ends <- p
	}()
	return p, nil
}

func (p *process) now() state {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// kill ends the process at once; it cannot say goodbye. On Unix this is SIGKILL.
func (p *process) kill() error { return p.cmd.Process.Kill() }

// goodbye has the process close its bus; its server stays.
func (p *process) goodbye() error {
	_, err := fmt.Fprintln(p.stdin, goodbye)
	return err
}

// dismiss lets the process say goodbye and end.
func (p *process) dismiss() { _ = p.stdin.Close() }

// stop makes sure that the process has ended.
func (p *process) stop(within <-chan time.Time) error {
	p.dismiss()
	select {
	case <-p.ended:
		return nil
	case <-within:
	}
	err := p.kill()
	<-p.ended
	return errors.Join(fmt.Errorf("%s did not end in time and was killed", p.name), err)
}

// end tells how the process ended, in its own words if it said any.
func (p *process) end() string {
	if said := strings.TrimSpace(p.said.String()); said != "" {
		return said
	}
	return p.cmd.ProcessState.String()
}
