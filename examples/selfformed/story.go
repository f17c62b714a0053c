package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// story makes things happen to the fleet, and tells what becomes of it.
type story struct {
	pause time.Duration
	limit time.Duration
	live  bool // on a terminal

	fleet   *fleet
	witness *witness // nil before it looks
}

// step is one line of the story, and more below it.
type step struct {
	doing string                      // told while it lasts
	act   func(context.Context) error // makes it happen
	seen  func(context.Context) bool  // whether it has
	told  func() []string             // told when it has, the first with the time that it took
}

func (s *story) run(ctx context.Context) (err error) {
	if s.fleet, err = newFleet(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if _, err := fmt.Print("rolebus selfformed: five processes, and no NATS but what they are themselves\n\n"); err != nil {
		return err
	}
	steps := s.steps()
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit+time.Duration(len(steps))*s.pause, errors.New("the story took too long"))
	defer cancel()
	for _, st := range steps {
		if err := s.take(ctx, st); err != nil {
			return err
		}
	}
	return s.witness.testify()
}

// steps is the story.
func (s *story) steps() []step {
	names := []string{"node-1", "node-2", "node-3", "node-4", "node-5"}
	var who string // it happens to
	steps := []step{{
		doing: "starting five processes",
		act:   func(context.Context) error { return s.start(names...) },
		seen:  func(context.Context) bool { return s.fleet.isWhole() },
		told: func() []string {
			return []string{"five processes found each other by gossip; three founded a cluster", s.fleet.parts()}
		},
	}, {
		doing: "beginning to look on",
		act:   s.look,
		seen:  s.allIsWell,
		told: func() []string {
			return []string{"each took the role worker, and all three servers store who has it"}
		},
	}, {
		doing: "killing the process that leads",
		act: func(context.Context) error {
			who = s.fleet.leader()
			return s.expectEnd(who).kill()
		},
		seen: func(ctx context.Context) bool { return s.fleet.process(who) == nil && s.allIsWell(ctx) },
		told: func() []string {
			return []string{
				fmt.Sprintf("%s, which led, was killed (SIGKILL); %s has its place", who, s.fleet.newcomer()),
				fmt.Sprintf("the killed one's role was gone after %.1f s, the others' stayed", s.witness.gone(who).Seconds()),
				fmt.Sprintf("%s was a spare, and has copied all: again any one may fail", s.fleet.newcomer()),
				s.fleet.parts(),
			}
		},
	}, {
		doing: "starting the killed one again",
		act:   func(context.Context) error { return s.start(who) },
		seen:  s.allIsWell,
		told: func() []string {
			return []string{fmt.Sprintf("%s was started again; its place is taken, so it is a spare", who), s.fleet.parts()}
		},
	}, {
		doing: "restarting the process that leads",
		act:   func(ctx context.Context) error { who = s.fleet.leader(); return s.restart(ctx, who) },
		seen:  s.allIsAsBefore,
		told: func() []string {
			return []string{
				fmt.Sprintf("%s, which led, was restarted, and has its place again", who),
				"it let another lead before it went, and came back with its store",
				s.fleet.parts(),
			}
		},
	}}
	for i, name := range names {
		steps = append(steps, step{
			doing: "updating " + name,
			act:   func(ctx context.Context) error { return s.restart(ctx, name) },
			seen:  s.allIsAsBefore,
			told: func() []string {
				lines := []string{"all are updated, one after another: " + name}
				if i == len(names)-1 {
					lines = append(lines, "each waited until the one before was back, and had all", s.fleet.parts())
				}
				return lines
			},
		})
	}
	return append(steps, step{
		doing: "having all say goodbye",
		act:   s.goodbye,
		seen:  func(context.Context) bool { return s.witness.sees() },
		told:  func() []string { return []string{"all five said goodbye: no role is left"} },
	}, step{
		doing: "stopping all",
		act:   func(context.Context) error { s.fleet.dismiss(); return nil },
		seen:  func(context.Context) bool { return len(s.fleet.running) == 0 },
		told:  func() []string { return []string{"the servers have stopped"} },
	})
}

// take makes a step happen, waits until it has, and tells it with the time that this took.
func (s *story) take(ctx context.Context, st step) error {
	resting := time.Now()
	if err := s.await(ctx, func(context.Context) bool { return time.Since(resting) >= s.pause }); err != nil {
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
		return fmt.Errorf("%s: %w%s", st.doing, err, s.fleet.said())
	}
	for i, line := range st.told() {
		if i == 0 {
			line = fmt.Sprintf("%6d ms  %s", time.Since(began).Milliseconds(), line)
		} else {
			line = fmt.Sprintf("%13s%s", "", line)
		}
		if _, err := fmt.Println(line); err != nil {
			return err
		}
	}
	s.fleet.settled()
	return nil
}

// await waits until something is seen. A process that ends by itself is the end of the story.
func (s *story) await(ctx context.Context, seen func(context.Context) bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !seen(ctx) {
		select {
		case p := <-s.fleet.ends:
			if err := s.fleet.hasEnded(p); err != nil {
				return err
			}
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// look begins to look on, by a connection to any of the servers, which tell of each other.
func (s *story) look(ctx context.Context) (err error) {
	s.witness, err = newWitness(ctx, s.fleet.url())
	if err == nil {
		s.witness.expect(s.fleet.names()...)
	}
	return err
}

func (s *story) start(names ...string) error {
	if s.witness != nil {
		s.witness.expect(names...)
	}
	return s.fleet.start(names...)
}

// restart has a process end as it does when it is updated, and starts another in its place.
func (s *story) restart(ctx context.Context, name string) error {
	p := s.expectEnd(name)
	p.dismiss()
	err := s.await(ctx, func(context.Context) bool { return s.fleet.process(name) == nil && s.witness.sees(s.fleet.names()...) })
	if err != nil {
		return err
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("%s: %s", name, p.end())
	}
	return s.start(name)
}

func (s *story) goodbye(context.Context) error {
	for _, name := range s.fleet.names() {
		if err := s.expectEnd(name).goodbye(); err != nil {
			return err
		}
	}
	return nil
}

// expectEnd is called before something ends a process.
func (s *story) expectEnd(name string) *process {
	s.witness.release(name)
	p := s.fleet.process(name)
	s.fleet.leaving[p] = true
	return p
}

// allIsWell says whether the cluster is whole, its servers all have what is stored, and each process has its role.
func (s *story) allIsWell(ctx context.Context) bool {
	return s.fleet.isWhole() && s.witness.sees(s.fleet.names()...) && slices.Equal(s.witness.stored(ctx), s.fleet.members())
}

// allIsAsBefore says whether all is well, and nobody's place was taken.
func (s *story) allIsAsBefore(ctx context.Context) bool {
	return s.fleet.newcomer() == "" && s.allIsWell(ctx)
}

func (s *story) close() error {
	var err error
	if s.witness != nil {
		err = s.witness.close()
	}
	return errors.Join(err, s.fleet.close())
}
