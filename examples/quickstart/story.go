package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rolebus/rolebus"
)

// story is an observer of the fleet, and what it makes the fleet do.
type story struct {
	url     string // "" is a server of our own
	timeout time.Duration
	pause   time.Duration // before each step
	screen  *screen

	bucket string
	scopes []*rolebus.Scope
	events chan rolebus.Event
	left   map[life]rolebus.Reason

	fleet   []*process
	ends    chan *process
	leaving map[*process]bool // those whose end belongs to the story
	undo    []func() error    // what to close, the last first
}

// life is one process as a node of a scope.
type life struct{ scope, pid string }

// step is one line of the story.
type step struct {
	doing string        // told while it lasts
	act   func() error  // makes it happen
	seen  func() bool   // whether the snapshots show it
	told  func() string // told when they do
}

func (s *story) run(ctx context.Context) (err error) {
	s.events, s.left = make(chan rolebus.Event), map[life]rolebus.Reason{}
	s.ends, s.leaving = make(chan *process, 8), map[*process]bool{}
	defer func() { err = errors.Join(err, s.close()) }()
	steps := s.steps()
	ctx, cancel := context.WithTimeoutCause(ctx, limit+time.Duration(len(steps))*s.pause, errors.New("the story took too long"))
	defer cancel()

	s.screen.title("rolebus quickstart: three processes, two scopes, and who has which role", s.rows())
	if err := s.open(ctx); err != nil {
		return err
	}
	for _, st := range steps {
		if err := s.take(ctx, st); err != nil {
			return err
		}
	}
	return s.finish()
}

// steps is the story.
func (s *story) steps() []step {
	web := nodeSpec{Name: "web-1", Roles: map[string][]rolebus.Role{shop: {"web"}}}
	worker1 := nodeSpec{Name: "worker-1", Roles: map[string][]rolebus.Role{shop: {"packer"}, billing: {"invoicer"}}}
	worker2 := nodeSpec{Name: "worker-2", Roles: map[string][]rolebus.Role{shop: {"packer"}, billing: {"invoicer", "printer"}}}
	const checkout = rolebus.Role("checkout")
	var first *process // of two that are web-1

	return []step{{
		doing: "start three processes",
		act:   func() error { return s.start(web, worker1, worker2) },
		seen:  func() bool { return s.shows(web) && s.shows(worker1) && s.shows(worker2) },
		told:  says("three processes started and took their roles"),
	}, {
		doing: "add the role checkout to web-1",
		act: func() error {
			web.Roles = map[string][]rolebus.Role{shop: {checkout, "web"}}
			return s.process(web.Name).order("add", shop, checkout)
		},
		seen: func() bool { return s.shows(web) },
		told: says("web-1 took the role checkout in shop"),
	}, {
		doing: "remove the role checkout from web-1",
		act: func() error {
			web.Roles = map[string][]rolebus.Role{shop: {"web"}}
			return s.process(web.Name).order("remove", shop, checkout)
		},
		seen: func() bool { return s.shows(web) },
		told: says("web-1 gave the role checkout back"),
	}, {
		doing: fmt.Sprintf("kill worker-2 with SIGKILL; its lease is %v", ttl),
		act:   func() error { return s.expectEnd(s.process(worker2.Name)).kill() },
		seen:  func() bool { return s.gone(worker2) },
		told: func() string {
			return fmt.Sprintf("worker-2 was killed (SIGKILL): its roles went (%s)", s.reasons(worker2))
		},
	}, {
		doing: "start worker-2 again, under the same name",
		act:   func() error { return s.start(worker2) },
		seen:  func() bool { return s.shows(worker2) },
		told:  says("worker-2 was started again and took its place"),
	}, {
		doing: "start a second web-1 while the first one runs",
		act: func() error {
			first = s.expectEnd(s.process(web.Name))
			return s.start(web)
		},
		seen: func() bool { return s.shows(web) && first.hasEnded() },
		told: says("a second web-1 took over; the first stopped itself (ErrSuperseded)"),
	}, {
		doing: "tell all three to go",
		act: func() error {
			if code := first.cmd.ProcessState.ExitCode(); code != exitSuperseded {
				return fmt.Errorf("the first web-1 ended with exit status %d, not ErrSuperseded: %s", code, first.end())
			}
			for _, p := range s.fleet {
				s.expectEnd(p).dismiss()
			}
			return nil
		},
		seen: func() bool { return s.gone(web) && s.gone(worker1) && s.gone(worker2) },
		told: func() string { return fmt.Sprintf("all three said goodbye (%s)", s.reasons(web, worker1, worker2)) },
	}}
}

func says(line string) func() string { return func() string { return line } }

// take makes a step happen, waits until the snapshots show it, and tells it with the time that this took.
func (s *story) take(ctx context.Context, st step) error {
	s.screen.next(st.doing, s.rows())
	resting := time.Now()
	if err := s.await(ctx, func() bool { return time.Since(resting) >= s.pause }); err != nil {
		return err
	}
	within, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("the snapshots do not show it after %v", s.timeout))
	defer cancel()
	began := time.Now()
	s.screen.begin(began, st.doing, s.rows())
	err := st.act()
	if err == nil {
		err = s.await(within, st.seen)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", st.doing, err)
	}
	s.screen.tell(time.Since(began), st.told(), s.rows())
	return s.screen.err
}

// await draws what happens until something is seen.
func (s *story) await(ctx context.Context, seen func() bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !seen() {
		select {
		case ev := <-s.events:
			if ev.Kind == rolebus.NodeLeft {
				s.left[life{ev.Scope, ev.Node.Meta("pid")}] = ev.Reason
			}
		case p := <-s.ends:
			if !s.leaving[p] {
				return fmt.Errorf("%s ended: %s", p.spec.Name, p.end())
			}
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		s.screen.draw(s.rows())
	}
	return nil
}

func (s *story) start(specs ...nodeSpec) error {
	for _, spec := range specs {
		spec.URL, spec.Bucket = s.url, s.bucket
		p, err := startProcess(spec, s.ends)
		if err != nil {
			return fmt.Errorf("%s: %w", spec.Name, err)
		}
		s.fleet = append(s.fleet, p)
	}
	return nil
}

// process is the newest of a name.
func (s *story) process(name string) *process {
	var newest *process
	for _, p := range s.fleet {
		if p.spec.Name == name {
			newest = p
		}
	}
	return newest
}

func (s *story) expectEnd(p *process) *process {
	s.leaving[p] = true
	return p
}

// finish closes everything, as the last step.
func (s *story) finish() error {
	began := time.Now()
	s.screen.begin(began, "close", s.rows())
	if err := s.close(); err != nil {
		return err
	}
	s.screen.tell(time.Since(began), "everything is closed, and nothing is left behind", s.rows())
	return nil
}

// close ends the processes, then what they need. It may be called more than once.
func (s *story) close() error {
	for _, p := range s.fleet {
		p.dismiss()
	}
	var errs []error
	for _, p := range s.fleet {
		errs = append(errs, p.stop(3*time.Second))
	}
	for _, undo := range slices.Backward(s.undo) {
		errs = append(errs, undo())
	}
	s.fleet, s.undo = nil, nil
	return errors.Join(errs...)
}
