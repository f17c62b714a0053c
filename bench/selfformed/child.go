package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/embedded"
)

const childVariable = "ROLEBUS_BENCH_SELFFORMED"

// told is what a process is told that is measured.
type told struct {
	Name, Dir    string
	Size         int
	Server       bool
	Settled, For time.Duration
}

type process struct {
	cmd *exec.Cmd
	in  io.Closer // its end ends the process
	out *bufio.Reader
}

func start(t told) (*process, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

// usage waits for what the process tells of itself.
func (p *process) usage(ctx context.Context) (u usage, err error) {
	stop := context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })
	defer stop()
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return u, errors.Join(err, context.Cause(ctx))
	}
	return u, json.Unmarshal(line, &u)
}

func (p *process) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// child is a process that is measured: it does nothing but be there, and tells what that costs.
func child(text string) error {
	var t told
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	spare := func() bool { return false }
	switch {
	case t.Size > 0:
		c, err := embedded.Cluster(ctx, discovery.Local(discovery.Directory(filepath.Join(t.Dir, "meet"))),
			embedded.WithSize(t.Size), embedded.WithName(t.Name), embedded.WithStoreDir(filepath.Join(t.Dir, t.Name)))
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Ready(ctx); err != nil {
			return err
		}
		spare = func() bool { return c.State().Part == embedded.Spare }
	case t.Server:
		s, err := embedded.Start(embedded.WithStoreDir(filepath.Join(t.Dir, t.Name)))
		if err != nil {
			return err
		}
		defer s.Close()
	}
	time.Sleep(t.Settled)
	before, err := cpu()
	if err != nil {
		return err
	}
	time.Sleep(t.For)
	after, err := cpu()
	if err != nil {
		return err
	}
	u := usage{Spare: spare(), Goroutines: runtime.NumGoroutine(), CPU: after - before}
	runtime.GC()
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	u.Heap = int64(heap[0].Value.Uint64())
	if u.RSS, err = rss(); err != nil {
		return err
	}
	fmt.Println(u)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}
