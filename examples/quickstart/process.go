package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/rolebus/rolebus"
)

// process is a node as the story sees it: a child process of this one.
type process struct {
	spec  nodeSpec
	cmd   *exec.Cmd
	stdin io.WriteCloser // its end tells the process to go
	said  bytes.Buffer   // its stderr; to be read once it has ended
	ended chan struct{}
}

// startProcess runs this very program again, as a node. When it has ended it is sent to ends, which has room.
func startProcess(spec nodeSpec, ends chan<- *process) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	p := &process{spec: spec, cmd: exec.Command(self, spec.Name), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), nodeEnv+"="+string(raw))
	p.cmd.Stderr = &p.said
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // joined by stop
		_ = p.cmd.Wait() // how it ended stands in ProcessState
		close(p.ended)
		ends <- p
	}()
	return p, nil
}

func (p *process) pid() string { return strconv.Itoa(p.cmd.Process.Pid) }

// order tells the process to add or remove a role.
func (p *process) order(verb, scope string, role rolebus.Role) error {
	_, err := fmt.Fprintln(p.stdin, verb, scope, role)
	return err
}

// kill ends the process at once; it cannot say goodbye. On Unix this is SIGKILL.
func (p *process) kill() error { return p.cmd.Process.Kill() }

// dismiss lets the process say goodbye and end.
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
	return errors.Join(fmt.Errorf("%s (pid %s) did not end within %v and was killed", p.spec.Name, p.pid(), patience), err)
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// end tells how the process ended, in its own words if it said any.
func (p *process) end() string {
	if said := strings.TrimSpace(p.said.String()); said != "" {
		return said
	}
	return p.cmd.ProcessState.String()
}
