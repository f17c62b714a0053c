package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// kindOfProcess is the environment variable that makes this program a child of that kind: see childMain.
const kindOfProcess = "ROLEBUS_FLEET_PROCESS"

// order is a line from this program to a child; an answer is the line that comes back. There is one at a time.
type order struct {
	Do     string          `json:"do"`
	With   json.RawMessage `json:"with"`
	Within time.Duration   `json:"within"` // then the child gives up
}

type answer struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error string          `json:"error,omitempty"`
}

const (
	overdue = 20 * time.Second // a child that gave up has still to say so
	parting = 10 * time.Second // to end by itself once its orders have ended
)

// process is a child that was started. It is used by one goroutine at a time.
type process struct {
	name    string
	within  time.Duration // the limit of each order
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan answer
	quit    chan struct{} // closed when nobody asks any more
	ended   chan struct{} // closed when it has ended
}

// startProcess starts a child. Whoever starts one must end it.
func startProcess(kind, name string, within time.Duration) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{
		name: name, within: within, cmd: exec.Command(self),
		answers: make(chan answer), quit: make(chan struct{}), ended: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), kindOfProcess+"="+kind)
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the process of the %s: %w", name, err)
	}
	go p.listen(out)
	return p, nil
}

func (p *process) listen(out io.Reader) {
	defer close(p.ended)
	for dec := json.NewDecoder(out); ; {
		var a answer
		if dec.Decode(&a) != nil {
			_, _ = io.Copy(io.Discard, out) // what is no answer: else it could not write and so not end
			_ = p.cmd.Wait()
			return
		}
		select {
		case p.answers <- a:
		case <-p.quit:
		}
	}
}

// ask gives a child an order and returns its answer.
func ask[R any](ctx context.Context, p *process, do string, with any) (R, error) {
	value, err := p.ask(ctx, do, with)
	var r R
	if err == nil {
		err = json.Unmarshal(value, &r)
	}
	if err != nil {
		return r, fmt.Errorf("%s: %s: %w", p.name, do, err)
	}
	return r, nil
}

func (p *process) ask(ctx context.Context, do string, with any) (json.RawMessage, error) {
	raw, err := json.Marshal(with)
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(order{do, raw, p.within})
	if err != nil {
		return nil, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("the process has ended: %w", err)
	}
	timer := time.NewTimer(p.within + overdue)
	defer timer.Stop()
	select {
	case a := <-p.answers:
		if a.Error != "" {
			return nil, errors.New(a.Error)
		}
		return a.Value, nil
	case <-p.ended:
		return nil, errors.New("the process has ended")
	case <-timer.C:
		return nil, fmt.Errorf("no answer in %v: give it longer with -timeout", p.within+overdue)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// askAll asks several children at once and returns their answers in the same order.
func askAll[R any](ctx context.Context, ps []*process, do string, with func(i int) any) ([]R, error) {
	var wg sync.WaitGroup
	answers, errs := make([]R, len(ps)), make([]error, len(ps))
	for i, p := range ps {
		wg.Go(func() { answers[i], errs[i] = ask[R](ctx, p, do, with(i)) })
	}
	wg.Wait()
	return answers, errors.Join(errs...)
}

// end ends a child, by ending its orders, and waits for it.
func (p *process) end() {
	close(p.quit)
	_ = p.in.Close()
	select {
	case <-p.ended:
	case <-time.After(parting):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

func endAll(ps []*process) {
	var wg sync.WaitGroup
	for _, p := range ps {
		wg.Go(p.end)
	}
	wg.Wait()
}
