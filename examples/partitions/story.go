package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rolebus/rolebus/embedded"
)

const (
	some   = 200             // jobs, after which the next step comes
	ending = 5 * time.Second // the processes have so long to end, all together
)

// story makes things happen to the workers, and tells who has what then.
type story struct {
	strict bool
	pause  time.Duration
	live   bool // on a terminal

	server  *embedded.Server
	conn    *nats.Conn
	sender  sender
	ledger  *ledger
	fleet   []*process
	ends    chan *process
	leaving map[*process]bool  // those whose end belongs to the story
	before  [partitions]string // who had what at the end of the last step
}

// step is one line of the story, and mostly a table below it.
type step struct {
	doing string                      // told while it lasts
	act   func(context.Context) error // makes it happen
	seen  func() bool                 // whether it has
	told  func() string               // told when it has, with the time that it took
	table bool
}

func (s *story) run(ctx context.Context) (err error) {
	s.ends, s.leaving, s.ledger = make(chan *process, 8), map[*process]bool{}, newLedger()
	defer func() { err = errors.Join(err, s.close()) }()
	steps := s.steps()
	ctx, cancel := context.WithTimeoutCause(ctx, limit+time.Duration(len(steps))*s.pause, errors.New("the story took too long"))
	defer cancel()
	how := "each worker goes by what it sees"
	if s.strict {
		how = fmt.Sprintf("each is a term; the TTL is %v", ttl)
	}
	if _, err := fmt.Printf("rolebus partitions: workers share %d partitions; %s\n\n", partitions, how); err != nil {
		return err
	}
	for _, st := range steps {
		if err := s.take(ctx, st); err != nil {
			return err
		}
	}
	return s.ledger.print(s.sender.sent, s.strict)
}

// steps is the story.
func (s *story) steps() []step {
	var killed time.Time
	var done int // when the step began
	more := func() bool { now, _ := s.ledger.jobs(); return now >= done+some }
	mark := func() { done, _ = s.ledger.jobs() }
	// A worker that has just come may still count one that was killed, until a neighbour or the end of its lease tells it: then both leave a partition to the other.
	idle := func(since time.Time) string {
		return fmt.Sprintf("no partition was without one for more than %v", s.ledger.idle(since).Round(time.Millisecond))
	}
	var began time.Time
	return []step{{
		doing: "starting a server",
		act:   s.open,
		seen:  func() bool { return true },
		told:  func() string { return "there is a NATS server, and jobs of 40 customers are sent to it" },
	}, {
		doing: "starting three workers",
		act:   func(context.Context) error { mark(); return s.start("worker-1", "worker-2", "worker-3") },
		seen:  func() bool { return s.isShared("worker-1", "worker-2", "worker-3") && more() },
		told:  func() string { return "three workers share the partitions" },
		table: true,
	}, {
		doing: "killing one",
		act: func(context.Context) error {
			mark()
			killed = time.Now()
			return s.expectEnd(s.process("worker-2")).kill()
		},
		seen: func() bool {
			p := s.process("worker-2")
			if !p.hasEnded() {
				return false
			}
			s.ledger.gone(p.name, killed)
			return s.isShared("worker-1", "worker-3") && more()
		},
		told: func() string {
			return "worker-2 was killed (SIGKILL): the others have all after " + s.sinceLast(killed)
		},
		table: true,
	}, {
		doing: "starting another one",
		act:   func(context.Context) error { mark(); began = time.Now(); return s.start("worker-4") },
		seen:  func() bool { return s.isShared("worker-1", "worker-3", "worker-4") && more() },
		told:  func() string { return "worker-4 has its part; " + idle(began) },
		table: true,
	}, {
		doing: "draining one",
		act: func(context.Context) error {
			mark()
			began = time.Now()
			return s.expectEnd(s.process("worker-1")).drain()
		},
		seen:  func() bool { return s.process("worker-1").hasEnded() && s.isShared("worker-3", "worker-4") && more() },
		told:  func() string { return "worker-1 was drained; " + idle(began) },
		table: true,
	}, {
		doing: "waiting for the last jobs",
		act:   func(context.Context) error { return s.sender.close() },
		seen:  func() bool { now, _ := s.ledger.jobs(); return now >= s.sender.sent },
		told:  func() string { return "no more jobs are sent, and the last ones are done" },
	}, {
		doing: "having all go",
		act: func(context.Context) error {
			for _, p := range s.running() {
				s.expectEnd(p).dismiss()
			}
			return nil
		},
		seen: func() bool { return len(s.running()) == 0 },
		told: func() string { return "all have gone" },
	}}
}

// sinceLast is how long after a time the last partition was somebody's again.
func (s *story) sinceLast(since time.Time) string {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	var last time.Time
	for _, st := range s.ledger.stints {
		if st.from.After(last) {
			last = st.from
		}
	}
	return last.Sub(since).Round(time.Millisecond).String()
}

// isShared says whether these workers have all partitions, and each as many as any other, to within one.
func (s *story) isShared(names ...string) bool {
	count := map[string]int{}
	for _, name := range s.ledger.owners() {
		count[name]++
	}
	for _, name := range names {
		if n := count[name]; n < partitions/len(names) || n > (partitions+len(names)-1)/len(names) {
			return false
		}
	}
	return len(count) == len(names)
}

// take makes a step happen, waits until it has, and tells it with the time that this took.
func (s *story) take(ctx context.Context, st step) error {
	resting := time.Now()
	if err := s.await(ctx, func() bool { return time.Since(resting) >= s.pause }); err != nil {
		return err
	}
	if s.live {
		fmt.Printf("%11s%s ...", "", st.doing)
	}
	began := time.Now()
	err := st.act(ctx)
	if err == nil {
		err = s.await(ctx, st.seen)
	}
	if s.live {
		fmt.Print("\r\x1b[K")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", st.doing, err)
	}
	if _, err = fmt.Printf("%6d ms  %s\n", time.Since(began).Milliseconds(), st.told()); err == nil && st.table {
		err = s.table()
	}
	return err
}

// table prints who has which partition, and marks what moved.
func (s *story) table() error {
	owners := s.ledger.owners()
	text := fmt.Sprintf("\n%13s%-10s", "", "partition")
	for p := range owners {
		text += fmt.Sprintf("%3d", p)
	}
	text += "\n"
	names := slices.Compact(slices.Sorted(slices.Values(owners[:])))
	moved := 0
	for _, name := range names {
		text += fmt.Sprintf("%13s%-10s", "", name)
		for p, owner := range owners {
			mark := "."
			if owner == name {
				if mark = "o"; s.before[p] != "" && s.before[p] != name {
					mark = "+"
					moved++
				}
			}
			text += fmt.Sprintf("%3s", mark)
		}
		text += "\n"
	}
	if s.before[0] != "" {
		text += fmt.Sprintf("%13s%d of %d moved (+)\n", "", moved, partitions)
	}
	s.before = owners
	_, err := fmt.Println(text)
	return err
}

// await waits until something is seen. A process that ends by itself is the end of the story.
func (s *story) await(ctx context.Context, seen func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
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

// open starts what the workers need: NATS, and jobs.
func (s *story) open(ctx context.Context) (err error) {
	if s.server, err = embedded.Start(); err != nil {
		return err
	}
	if s.conn, err = nats.Connect(s.server.URL()); err != nil {
		return err
	}
	if s.sender.js, err = jetstream.New(s.conn); err != nil {
		return err
	}
	if err := makeStream(ctx, s.sender.js); err != nil {
		return err
	}
	s.sender.open(ctx)
	return nil
}

func (s *story) start(names ...string) error {
	for _, name := range names {
		p, err := startProcess(workerSpec{URL: s.server.URL(), Name: name, Strict: s.strict}, s.ledger.hear, s.ends)
		if err != nil {
			return err
		}
		s.fleet = append(s.fleet, p)
	}
	return nil
}

func (s *story) process(name string) *process {
	for _, p := range s.fleet {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (s *story) running() []*process {
	return slices.DeleteFunc(slices.Clone(s.fleet), (*process).hasEnded)
}

// expectEnd is called before something ends a process.
func (s *story) expectEnd(p *process) *process {
	s.leaving[p] = true
	return p
}

// close ends the processes, then what they need.
func (s *story) close() error {
	errs := []error{s.sender.close()}
	for _, p := range s.running() {
		s.expectEnd(p).dismiss()
	}
	for _, p := range s.fleet {
		errs = append(errs, p.stop(ending))
	}
	if s.conn != nil {
		s.conn.Close()
	}
	if s.server != nil {
		errs = append(errs, s.server.Close())
	}
	return errors.Join(errs...)
}
