// Package process runs parts of a measurement in processes of their own: the same program, started again. The two ends
// speak in lines of JSON: orders go to a child's standard input, reports come from its standard output. A child ends when its
// standard input does, so that nothing outlives the program, however that ends.
package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"
)

// childEnv says to the program that it is a child.
const childEnv = "ROLEBUS_PEERS_CHILD"

// Config is the first line that a child reads: which part to play, and what that needs to know.
type Config struct {
	Part    string
	System  string        `json:",omitempty"` // which of the systems that are compared
	URL     string        `json:",omitempty"` // of the server
	Address string        `json:",omitempty"` // of another child
	Dir     string        `json:",omitempty"` // where to store files
	Node    string        `json:",omitempty"` // the name to take
	Count   int           `json:",omitempty"`
	TTL     time.Duration `json:",omitempty"`
}

// Order is what a child is told later.
type Order struct {
	Do   string
	N    int           `json:",omitempty"`
	Time time.Duration `json:",omitempty"`
}

// Report is what a child says. Times are of the wall clock, which all processes of a machine share, in ns.
type Report struct {
	Kind   string
	N      int                `json:",omitempty"`
	From   int64              `json:",omitempty"`
	At     int64              `json:",omitempty"`
	Text   string             `json:",omitempty"`
	Values map[string]float64 `json:",omitempty"`
	Took   []time.Duration    `json:",omitempty"` // of each thing that was done
}

// The kinds of reports. Each order is followed by one Done or one Failed.
const (
	Ready  = "ready" // the part is in place; the first report
	Done   = "done"
	Failed = "failed"
	Event  = "event" // by itself, at any time
)

// Part is what a child does. It says Ready, obeys, and returns when the orders end.
type Part func(ctx context.Context, p *Process) error

// Process is a child, seen from inside.
type Process struct {
	Config Config
	Orders <-chan Order // closed when the parent wants no more

	mu  sync.Mutex
	out io.Writer // mu: one report after the other
}

// Main plays the part that the parent wants, if this process is a child, and then exits. Otherwise it returns at once. Call
// it first of all.
func Main(parts map[string]Part) {
	if os.Getenv(childEnv) == "" {
		return
	}
	signal.Ignore(os.Interrupt) // Ctrl-C goes to all processes of a terminal; the parent says when to end
	if err := play(os.Stdin, os.Stdout, parts); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func play(in io.Reader, out io.Writer, parts map[string]Part) error {
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return errors.New("a child reads its part from standard input: start the program without " + childEnv)
	}
	p := &Process{out: out}
	if err := json.Unmarshal(lines.Bytes(), &p.Config); err != nil {
		return fmt.Errorf("the part: %w", err)
	}
	part, known := parts[p.Config.Part]
	if !known {
		return fmt.Errorf("part %q is not known", p.Config.Part)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	orders := make(chan Order)
	p.Orders = orders
	go func() {
		defer close(orders)
		defer cancel()
		for lines.Scan() {
			var o Order
			if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
				return
			}
			select {
			case orders <- o:
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := part(ctx, p); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s %s: %w", p.Config.Part, p.Config.System, err)
	}
	return nil
}

// Say sends a report.
func (p *Process) Say(r Report) {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err) // only a NaN can do this, and a part that measures one is wrong
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = p.out.Write(append(line, '\n')) // a parent that is gone is seen by the end of the orders
}

// Obey says Ready, with a text such as a URL, and then answers each order with what do returns, until the orders end.
func (p *Process) Obey(ready string, do func(Order) (Report, error)) {
	p.Say(Report{Kind: Ready, Text: ready})
	for o := range p.Orders {
		r, err := do(o)
		r.Kind = Done
		if err != nil {
			r = Report{Kind: Failed, Text: fmt.Sprintf("%s: %v", o.Do, err)}
		}
		p.Say(r)
	}
}

// Stay is Obey for a part that has nothing to obey.
func (p *Process) Stay(ready string) {
	p.Obey(ready, func(o Order) (Report, error) { return Report{}, fmt.Errorf("part %q obeys no orders", p.Config.Part) })
}
