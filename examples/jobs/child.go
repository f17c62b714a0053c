package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rolebus/rolebus"
)

const (
	workerEnv = "ROLEBUS_JOBS_WORKER" // set: this process is a worker, and this is its workerSpec
	pidKey    = "pid"                 // of the metadata: which process a node is
)

// workerSpec is what a worker process is told at its start.
type workerSpec struct{ URL, Bucket, Name string }

func workerMain(raw string) int {
	signal.Ignore(os.Interrupt) // Ctrl-C may reach all of us; the story says when to go
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends when the story says so, and also when that dies, however it dies
		cancel()
	}()
	var spec workerSpec
	err := json.Unmarshal([]byte(raw), &spec)
	if err == nil {
		err = work(ctx, spec.URL,
			rolebus.WithBucket(spec.Bucket),
			rolebus.WithNode(spec.Name),
			rolebus.WithMeta(map[string]string{pidKey: strconv.Itoa(os.Getpid())}),
		)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// child is a worker process as the story sees it.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser // its end tells the process to go
	said  bytes.Buffer   // its stderr; to be read once it has ended
	ended chan struct{}
}

// startChild runs this very program again, as a worker.
func startChild(spec workerSpec) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, spec.Name), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), workerEnv+"="+string(raw))
	c.cmd.Stderr = &c.said
	c.cmd.SysProcAttr = apart()
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // joined by stop
		_ = c.cmd.Wait() // how it ended stands in ProcessState
		close(c.ended)
	}()
	return c, nil
}

func (c *child) pid() string { return strconv.Itoa(c.cmd.Process.Pid) }

// stop ends the process, also a frozen one, and returns when it has ended.
func (c *child) stop(within time.Duration) error {
	_ = thawProcess(c.cmd.Process)
	_ = c.stdin.Close()
	select {
	case <-c.ended:
		return nil
	case <-time.After(within):
	}
	err := c.cmd.Process.Kill()
	<-c.ended
	return errors.Join(fmt.Errorf("pid %s did not end within %v and was killed", c.pid(), within), err)
}

// end tells how the process ended, in its own words if it said any.
func (c *child) end() string {
	if said := strings.TrimSpace(c.said.String()); said != "" {
		return said
	}
	return c.cmd.ProcessState.String()
}
