package process

import (
	"context"
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

// Patience is how long a child may take to start, to obey or to end. It is a bound for when something is wrong, no measure.
const Patience = 60 * time.Second

// Child is a process that was started. Its methods are for one goroutine.
type Child struct {
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan Report
	events  chan Report
	ended   chan struct{} // closed when it has ended, and all that it said was heard
	failure error         // how it ended; read after ended
	errors  tail
}

// Start starts the program again for one part and returns when that is Ready, with what it said then.
func Start(ctx context.Context, cfg Config) (*Child, Report, error) {
	name := strings.TrimSpace(cfg.Part + " " + cfg.System)
	program, err := os.Executable()
	if err != nil {
		return nil, Report{}, fmt.Errorf("start %s: %w", name, err)
	}
	c := &Child{
		name: name, cmd: exec.Command(program),
		answers: make(chan Report, 1), events: make(chan Report, 1<<12), ended: make(chan struct{}),
	}
	c.cmd.Env = append(os.Environ(), childEnv+"=1")
	c.cmd.Stderr = &c.errors
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, Report{}, fmt.Errorf("start %s: %w", name, err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, Report{}, fmt.Errorf("start %s: %w", name, err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, Report{}, fmt.Errorf("start %s: %w", name, err)
	}
	go c.listen(out)
	ready, err := c.exchange(ctx, cfg)
	if err != nil {
		return nil, Report{}, errors.Join(fmt.Errorf("start %w", err), c.Close())
	}
	return c, ready, nil
}

func (c *Child) listen(out io.Reader) {
	defer close(c.ended)
	defer func() { c.failure = c.cmd.Wait() }() // its output has ended
	for dec := json.NewDecoder(out); ; {
		var r Report
		if err := dec.Decode(&r); err != nil {
			_, _ = io.Copy(io.Discard, out) // so that it is not stopped by a full pipe
			return
		}
		into := c.answers
		if r.Kind == Event {
			into = c.events
		}
		select {
		case into <- r:
		default: // nobody asked, or nobody has listened for thousands of events: there is nothing to wait for
		}
	}
}

// Do gives an order and waits for the answer.
func (c *Child) Do(ctx context.Context, o Order) (Report, error) { return c.exchange(ctx, o) }

func (c *Child) exchange(ctx context.Context, line any) (Report, error) {
	raw, err := json.Marshal(line)
	if err != nil {
		return Report{}, fmt.Errorf("%s: %w", c.name, err)
	}
	if _, err := c.in.Write(append(raw, '\n')); err != nil {
		return Report{}, c.lost(err)
	}
	r, err := c.wait(ctx, c.answers)
	if err == nil && r.Kind == Failed {
		err = fmt.Errorf("%s: %s", c.name, r.Text)
	}
	return r, err
}

// Next waits for the next event.
func (c *Child) Next(ctx context.Context) (Report, error) { return c.wait(ctx, c.events) }

func (c *Child) wait(ctx context.Context, from <-chan Report) (Report, error) {
	late := time.NewTimer(Patience)
	defer late.Stop()
	select {
	case r := <-from:
		return r, nil
	case <-c.ended:
		return Report{}, c.lost(errors.New("the process has ended"))
	case <-ctx.Done():
		return Report{}, fmt.Errorf("%s: %w", c.name, context.Cause(ctx))
	case <-late.C:
		return Report{}, fmt.Errorf("%s: no word in %v: the machine may be too busy; run it alone", c.name, Patience)
	}
}

// lost adds to an error what the child last complained of.
func (c *Child) lost(err error) error {
	select {
	case <-c.ended:
		return fmt.Errorf("%s: %w: %v: %s", c.name, err, c.failure, c.errors.String())
	case <-time.After(time.Second): // its end is about to be noticed
		return fmt.Errorf("%s: %w", c.name, err)
	}
}

// Kill ends the child by SIGKILL and returns when the signal is sent.
func (c *Child) Kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill %s: %w", c.name, err)
	}
	return nil
}

// Close asks the child to end, waits until it has, and kills it if that takes too long. It returns an error if the child
// ended in a wrong way; a child that was killed did not.
func (c *Child) Close() error {
	_ = c.in.Close() // closed already if the child is gone
	select {
	case <-c.ended:
	case <-time.After(Patience):
		err := fmt.Errorf("%s: did not end in %v and was killed", c.name, Patience)
		_ = c.cmd.Process.Kill()
		<-c.ended
		return err
	}
	var exit *exec.ExitError
	if errors.As(c.failure, &exit) && exit.Exited() {
		return fmt.Errorf("%s: %w: %s", c.name, c.failure, c.errors.String())
	}
	return nil
}

// tail keeps the end of what a child writes to its standard error.
type tail struct {
	mu   sync.Mutex
	text []byte // mu
}

const tailSize = 2000

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
