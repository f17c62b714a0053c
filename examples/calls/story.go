package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

const (
	some      = 500              // calls, after which a step that only looks on is over
	patience  = 10 * time.Second // a step takes no longer
	goodbye   = 5 * time.Second  // nor does a process that drains: more than shopDrains
	killed    = "shop-1"
	drained   = "shop-2"
	remaining = "shop-3"
)

// story calls the shops, and kills one of them and drains another one meanwhile.
type story struct {
	url   string // "" is a server of our own
	pause time.Duration

	bucket  string
	bus     *rolebus.Bus
	market  market
	fleet   []*process
	ends    chan *process
	leaving map[*process]bool // those whose end belongs to the story
	undo    []func() error    // what to close, the last first
}

// step is one line of the story.
type step struct {
	act  func(context.Context) error // makes it happen
	seen func() bool                 // whether it has
	told func() string               // told when it has, with the time that it took
}

func (s *story) run(ctx context.Context) (err error) {
	s.ends, s.leaving = make(chan *process, 3), map[*process]bool{}
	defer func() { err = errors.Join(err, s.close()) }()
	steps := s.steps()
	ctx, cancel := context.WithTimeoutCause(ctx, limit+time.Duration(len(steps))*s.pause, errors.New("the story took too long"))
	defer cancel()
	if _, err := fmt.Print("rolebus calls: one process calls three by their role; one is killed, one is drained\n\n"); err != nil {
		return err
	}
	for _, st := range steps {
		if err := s.take(ctx, st); err != nil {
			return err
		}
	}
	for _, p := range s.fleet {
		if p.name != killed && !p.cmd.ProcessState.Success() {
			return fmt.Errorf("%s: %s", p.name, p.end())
		}
	}
	r := count(s.market.outcomes, s.fleet, drained)
	return r.print(os.Stdout)
}

// steps is the story.
func (s *story) steps() []step {
	var before int64 // how many calls were answered when the step began
	looksOn := func(told string) step {
		return step{
			act:  func(context.Context) error { before = s.market.answered.Load(); return nil },
			seen: func() bool { return s.market.answered.Load() >= before+some },
			told: func() string { return fmt.Sprintf("%d more calls were answered, %s", some, told) },
		}
	}
	gone := func(name string) bool { return s.bus.Snapshot().Node(name) == nil }
	return []step{{
		act:  s.open,
		told: says("there is a NATS server, and this process looks on"),
	}, {
		act:  func(context.Context) error { return s.start(killed, drained, remaining) },
		seen: func() bool { return s.bus.Nodes(shop).Len() == 3 },
		told: says("three processes handle the methods price and charge, and have the role shop"),
	}, {
		act:  func(ctx context.Context) error { s.market.open(ctx, s.bus.Scope); return nil },
		seen: func() bool { return s.market.answered.Load() >= some },
		told: func() string {
			return fmt.Sprintf("%d customers call; the first %d calls were answered", 2*customers, some)
		},
	}, {
		act:  func(context.Context) error { return s.expectEnd(s.process(killed)).killInCharge() },
		seen: func() bool { return s.process(killed).hasEnded() && gone(killed) },
		told: says(killed + " was killed (SIGKILL) while it charged: nobody calls it any more"),
	},
		looksOn("by the other two"),
		{
			act:  func(context.Context) error { s.expectEnd(s.process(drained)).dismiss(); return nil },
			seen: func() bool { return s.process(drained).hasEnded() && gone(drained) },
			told: func() string {
				served, refused := s.process(drained).tally()
				return fmt.Sprintf("%s was drained: it answered the %d calls that it had taken, refused %d, and left", drained, served, refused)
			},
		},
		looksOn("by " + remaining + " alone"),
		{
			act:  func(context.Context) error { s.market.close(); s.expectEnd(s.process(remaining)).dismiss(); return nil },
			seen: func() bool { return s.process(remaining).hasEnded() && gone(remaining) },
			told: says("the customers went home, and " + remaining + " left"),
		}}
}

func says(line string) func() string { return func() string { return line } }

// take makes a step happen, waits until it has, and tells it with the time that this took.
func (s *story) take(ctx context.Context, st step) error {
	resting := time.Now()
	if err := s.await(ctx, func() bool { return time.Since(resting) >= s.pause }); err != nil {
		return err
	}
	within, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it did not happen within %v", patience))
	defer cancel()
	began := time.Now()
	err := st.act(ctx)
	if err == nil && st.seen != nil {
		err = s.await(within, st.seen)
	}
	if err != nil {
		return fmt.Errorf("%w, instead of: %s", err, st.told())
	}
	_, err = fmt.Printf("%6d ms  %s\n", time.Since(began).Milliseconds(), st.told())
	return err
}

// await waits until something is seen. A process that ends by itself is the end of the story.
func (s *story) await(ctx context.Context, seen func() bool) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !seen() {
		select {
		case p := <-s.ends:
			if !s.leaving[p] {
				return fmt.Errorf("%s ended: %s", p.name, p.end())
			}
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// open connects to a server, or starts one, and begins to look on.
func (s *story) open(ctx context.Context) error {
	url := s.url
	if url == "" {
		server, err := embedded.Start()
		if err != nil {
			return err
		}
		s.undo, url = append(s.undo, server.Close), server.URL()
	}
	nc, err := nats.Connect(url)
	if err != nil {
		return fmt.Errorf("connect: %w (without -url a server is started)", err)
	}
	s.undo = append(s.undo, func() error { nc.Close(); return nil })
	s.bucket = "rolebus-calls-" + strings.ToLower(rand.Text()[:8])
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if s.url != "" {
		s.undo = append(s.undo, func() error { return removeBucket(nc, s.bucket) })
	}
	if err := rolebus.Provision(ctx, nc, rolebus.WithBucket(s.bucket)); err != nil { // it comes before the nodes that it calls
		return err
	}
	// Who only calls need not be a node.
	if s.bus, err = rolebus.Connect(ctx, url, rolebus.WithBucket(s.bucket), rolebus.WithObserver()); err != nil {
		return err
	}
	s.undo, s.url = append(s.undo, s.bus.Close), url
	return nil
}

func removeBucket(nc *nats.Conn, bucket string) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := js.DeleteKeyValue(ctx, bucket); err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("remove the bucket %s: %w", bucket, err)
	}
	return nil
}

func (s *story) start(names ...string) error {
	for _, name := range names {
		p, err := startProcess(shopSpec{s.url, s.bucket, name}, s.ends)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.fleet = append(s.fleet, p)
	}
	return nil
}

func (s *story) process(name string) *process {
	return s.fleet[slices.IndexFunc(s.fleet, func(p *process) bool { return p.name == name })]
}

func (s *story) expectEnd(p *process) *process {
	s.leaving[p] = true
	return p
}

// close ends the callers, then the processes, then what they need.
func (s *story) close() error {
	s.market.abort()
	for _, p := range s.fleet {
		p.dismiss()
	}
	var errs []error
	for _, p := range s.fleet {
		errs = append(errs, p.stop(goodbye))
	}
	for _, undo := range slices.Backward(s.undo) {
		errs = append(errs, undo())
	}
	return errors.Join(errs...)
}
