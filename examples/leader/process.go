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

// process is one of the three as the story sees it: a child process of this one.
type process struct {
	name  string
	link  *link // its way to NATS
	cmd   *exec.Cmd
	stdin io.WriteCloser // its end tells the process to go
	err   bytes.Buffer   // its stderr; to be read once it has ended
	ended chan struct{}

	mu   sync.Mutex
	said said
	at   time.Time // when it said so
}

// startProcess runs this very program again. When it has ended it is sent to ends, which has room.
func startProcess(spec memberSpec, way *link, ends chan<- *process) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	p := &process{name: spec.Name, link: way, cmd: exec.Command(self, spec.Name), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), memberEnv+"="+string(raw))
	p.cmd.Stderr = &p.err
	p.cmd.SysProcAttr = apart()
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
			var s said
			if in.Decode(&s) != nil {
				break // it has ended
			}
			p.mu.Lock()
			p.said, p.at = s, time.Now()
			p.mu.Unlock()
		}
		_ = p.cmd.Wait() // how it ended stands in ProcessState
		close(p.ended)
		ends <- p
	}()
	return p, nil
}

// now is what it said last, and when.
func (p *process) now() (said, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said, p.at
}

// waits says whether it is there, and has not led yet.
func (p *process) waits() bool { now, _ := p.now(); return now.Waits }

// stopped says whether its term of a token is over, as it has found out itself.
func (p *process) stopped(token uint64) bool {
	now, _ := p.now()
	return now.Leads == token && now.Ends != ""
}

func (p *process) order(what string) error {
	_, err := fmt.Fprintln(p.stdin, what)
	return err
}

// kill ends the process at once; it cannot say goodbye. On Unix this is SIGKILL.
func (p *process) kill() error { return p.cmd.Process.Kill() }

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

// stop makes sure that the process has ended, also a frozen one.
func (p *process) stop(patience time.Duration) error {
	_ = thawProcess(p.cmd.Process)
	p.link.mend()
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
