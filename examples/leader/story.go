package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/rolebus/rolebus/embedded"
)

const (
	some   = 10              // lines of a leader, after which something happens to it
	ending = 5 * time.Second // the processes have so long to end, all together
)

// story makes things happen to whoever leads, and tells who leads then.
type story struct {
	pause time.Duration
	live  bool // on a terminal

	server  *embedded.Server
	dir     string
	file    string // its URL
	fence   *fence
	http    *http.Server
	fleet   []*process
	ends    chan *process
	leaving map[*process]bool // those whose end belongs to the story
}

// step is one line of the story, and more below it.
type step struct {
	doing string                      // told while it lasts
	act   func(context.Context) error // makes it happen
	seen  func() bool                 // whether it has
	told  func() []string             // told when it has, the first with the time that it took
}

func (s *story) run(ctx context.Context) (err error) {
	s.ends, s.leaving = make(chan *process, 8), map[*process]bool{}
	defer func() { err = errors.Join(err, s.close()) }()
	steps := s.steps()
	ctx, cancel := context.WithTimeoutCause(ctx, limit+time.Duration(len(steps))*s.pause, errors.New("the story took too long"))
	defer cancel()
	if _, err := fmt.Printf("rolebus leader: one of three processes leads, and writes; the TTL is %v\n\n", ttl); err != nil {
		return err
	}
	for _, st := range steps {
		if err := s.take(ctx, st); err != nil {
			return err
		}
	}
	return s.fence.print(filepath.Join(s.dir, report))
}

// steps is the story.
func (s *story) steps() []step {
	var who *process     // it happens to
	var token uint64     // of its term
	var before time.Time // the last line of it
	busy := func() bool { return s.fence.linesOfLast() >= some }
	// another says whether another one leads and has written.
	another := func() bool {
		name, now, _ := s.fence.last()
		return name != who.name && now > token && busy()
	}
	leads := func(why string) []string {
		name, _, began := s.fence.last()
		return []string{why, fmt.Sprintf("%s leads; nobody wrote for %v", name, round(began.Sub(before)))}
	}
	pick := func() error {
		name, last, _ := s.fence.last()
		who, token = s.process(name), last
		return nil
	}
	steps := []step{{
		doing: "starting a server",
		act:   s.open,
		seen:  yes,
		told:  says("there is a NATS server, and a file that refuses old tokens"),
	}, {
		doing: "starting three processes",
		act:   func(context.Context) error { return s.start("node-1", "node-2", "node-3") },
		seen:  busy,
		told: func() []string {
			name, last, _ := s.fence.last()
			return []string{
				fmt.Sprintf("three processes want to lead: %s does, and writes", name),
				"not before a TTL: a new bucket may not know who leads",
				fmt.Sprintf("the token of its term is %d", last),
			}
		},
	}, {
		doing: "killing the leader",
		act: func(context.Context) error {
			_ = pick()
			return s.expectEnd(who).kill()
		},
		seen: func() bool { before = s.fence.lastOf(token); return who.hasEnded() && another() },
		told: func() []string {
			return append(leads(who.name+" was killed (SIGKILL)"), "that is until its lease had ended, a TTL after its last heartbeat")
		},
	}, {
		doing: "starting the killed one again",
		act:   func(context.Context) error { return s.start(who.name) },
		seen:  func() bool { return s.process(who.name).waits() },
		told:  func() []string { return []string{who.name + " was started again, and waits for its turn"} },
	}}
	if canFreeze {
		steps = append(steps, step{
			doing: "freezing the leader",
			act: func(ctx context.Context) error {
				_ = pick()
				if err := who.order(hold); err != nil {
					return err
				}
				held := func() bool { now, _ := who.now(); return now.Holds }
				if err := s.await(ctx, held); err != nil {
					return err
				}
				return freezeProcess(who.cmd.Process)
			},
			seen: func() bool { before = s.fence.lastOf(token); return another() },
			told: func() []string {
				return append(leads(who.name+" was frozen (SIGSTOP), just before it wrote a line"), "it does not know that, and has the line in its hand")
			},
		}, step{
			doing: "thawing the one that led",
			act: func(context.Context) error {
				err := who.order(write) // it finds this when it runs again, before it finds out anything else
				return errors.Join(err, thawProcess(who.cmd.Process))
			},
			seen: func() bool { return who.stopped(token) },
			told: func() []string {
				now, _ := who.now()
				return []string{
					who.name + " was thawed, and wrote that line: " + s.fence.fate(token),
					"then it looked: " + now.why(),
				}
			},
		})
	}
	var cut, stopped time.Time
	var why string
	steps = append(steps, step{
		doing: "cutting the leader off",
		act:   func(context.Context) error { _ = pick(); who.link.cut(); cut = time.Now(); return nil },
		seen: func() bool {
			before = s.fence.lastOf(token)
			if stopped.IsZero() && who.stopped(token) {
				var now said
				now, stopped = who.now()
				why = now.why()
			}
			return !stopped.IsZero() && another()
		},
		told: func() []string {
			_, _, began := s.fence.last()
			return append(leads(who.name+"'s link to NATS was cut, not that to the file"),
				fmt.Sprintf("%s had stopped by itself after %v, %v before that:", who.name, round(stopped.Sub(cut)), round(began.Sub(stopped))),
				why)
		},
	}, step{
		doing: "mending the link",
		act:   func(context.Context) error { who.link.mend(); return nil },
		seen:  busy,
		told:  func() []string { return []string{"the link was mended: " + who.name + " waits for its turn"} },
	}, step{
		doing: "draining the leader",
		act: func(context.Context) error {
			_ = pick()
			return s.expectEnd(who).order(drain)
		},
		seen: func() bool { before = s.fence.lastOf(token); return who.hasEnded() && another() },
		told: func() []string { return leads(who.name + " was drained: it finished its line, and passed the term on") },
	}, step{
		doing: "having all go",
		act: func(context.Context) error {
			for _, p := range s.running() {
				s.expectEnd(p).dismiss()
			}
			return nil
		},
		seen: func() bool { return len(s.running()) == 0 },
		told: says("all have gone"),
	})
	return steps
}

func yes() bool { return true }

func says(lines ...string) func() []string { return func() []string { return lines } }

func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Millisecond)
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
	return nil
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

// open starts what the processes need: NATS, and the file.
func (s *story) open(context.Context) (err error) {
	if s.server, err = embedded.Start(); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "rolebus-leader-"); err != nil {
		return err
	}
	if s.fence, err = openFence(filepath.Join(s.dir, report)); err != nil {
		return err
	}
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.http, s.file = &http.Server{Handler: s.fence}, "http://"+listen.Addr().String()
	go func() { _ = s.http.Serve(listen) }() // until close
	return nil
}

func (s *story) start(names ...string) error {
	for _, name := range names {
		way, err := newLink(s.server.URL())
		if err != nil {
			return err
		}
		p, err := startProcess(memberSpec{URL: way.url, File: s.file, Name: name}, way, s.ends)
		if err != nil {
			return errors.Join(err, way.close())
		}
		s.fleet = append(s.fleet, p)
	}
	return nil
}

// process is the newest one of a name.
func (s *story) process(name string) *process {
	var newest *process
	for _, p := range s.fleet {
		if p.name == name {
			newest = p
		}
	}
	return newest
}

func (s *story) running() []*process {
	var running []*process
	for _, p := range s.fleet {
		if !p.hasEnded() {
			running = append(running, p)
		}
	}
	return running
}

// expectEnd is called before something ends a process.
func (s *story) expectEnd(p *process) *process {
	s.leaving[p] = true
	return p
}

// close ends the processes, then what they need, and removes the file.
func (s *story) close() error {
	var errs []error
	for _, p := range s.fleet {
		s.leaving[p] = true
	}
	for _, p := range s.running() {
		p.link.mend()
		_ = thawProcess(p.cmd.Process)
		p.dismiss()
	}
	for _, p := range s.fleet {
		errs = append(errs, p.stop(ending), p.link.close())
	}
	if s.http != nil {
		errs = append(errs, s.http.Close())
	}
	if s.fence != nil {
		errs = append(errs, s.fence.file.Close())
	}
	if s.server != nil {
		errs = append(errs, s.server.Close())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}
