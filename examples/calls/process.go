package main

import (
	"bufio"
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

// process is a shop as the story sees it: a child process of this one.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser // its end tells the process to go
	said  bytes.Buffer   // its stderr; to be read once it has ended
	ended chan struct{}  // also: all that it said was read

	mu              sync.Mutex
	books           map[int]int // how often it charged, by the number of the order
	holds           bool        // it answers no charge any more
	served, refused int         // once it has left
}

// startProcess runs this very program again, as a shop. When it has ended it is sent to ends, which has room.
func startProcess(spec shopSpec, ends chan<- *process) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	p := &process{name: spec.Name, cmd: exec.Command(self, spec.Name), ended: make(chan struct{}), books: map[int]int{}}
	p.cmd.Env = append(os.Environ(), shopEnv+"="+string(raw))
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
		for in := bufio.NewScanner(stdout); in.Scan(); { // what a killed process has written is read, too
			p.hear(in.Text() + "\n")
		}
		_ = p.cmd.Wait() // how it ended stands in ProcessState
		close(p.ended)
		ends <- p
	}()
	return p, nil
}

func (p *process) hear(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var order int
	if line == holds {
		p.holds = true
	} else if _, err := fmt.Sscanf(line, inBooks, &order); err != nil {
		_, _ = fmt.Sscanf(line, hasLeft, &p.served, &p.refused)
	} else if p.books[order]++; p.holds {
		_ = p.cmd.Process.Kill() // on Unix this is SIGKILL
	}
}

// tally is what it said when it left.
func (p *process) tally() (served, refused int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.served, p.refused
}

// killInCharge has the process killed when it has made a charge, and not answered it yet.
func (p *process) killInCharge() error {
	_, err := fmt.Fprintln(p.stdin, "hold")
	return err
}

// dismiss lets the process drain and end.
func (p *process) dismiss() { _ = p.stdin.Close() }

// stop makes sure that the process has ended.
func (p *process) stop(patience time.Duration) error {
	p.dismiss()
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
	}
	err := p.cmd.Process.Kill()
	<-p.ended
	return errors.Join(fmt.Errorf("%s did not end within %v and was killed", p.name, patience), err)
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
