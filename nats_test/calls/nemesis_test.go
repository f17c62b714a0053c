//go:build linux

package calls_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"
)

// every is how often something happens to one of the nodes.
const every = 300 * time.Millisecond

// seat is the place of a node: a name, and the processes that have it.
type seat struct {
	node    string
	now     *process
	frozen  bool     // now is
	drained bool     // now is to end by itself
	older   *process // one that was frozen and replaced, and that is frozen still
}

// fleet is all nodes, and what happens to them. Everything is done by one goroutine.
type fleet struct {
	url, dir string
	seats    []*seat
	started  int
	counts   map[string]int
	told     strings.Builder // what happened, and when
	began    time.Time
	all      []*process
	wrong    []error // processes that ended as they should not
}

func startFleet(url, dir string, nodes int) (*fleet, error) {
	f := &fleet{url: url, dir: dir, counts: map[string]int{}, began: time.Now()}
	for i := range nodes {
		s := &seat{node: fmt.Sprint("n", i+1)}
		f.seats = append(f.seats, s)
		if err := f.start(s); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *fleet) start(s *seat) error {
	f.started++
	p, err := startProcess(f.url, f.dir, s.node, f.started)
	if p != nil && p.cmd.Process != nil {
		f.all = append(f.all, p)
		s.now, s.frozen, s.drained = p, false, false
	}
	return err
}

// harm does something to one node after another, until ctx is over. All of them may be down at once.
func (f *fleet) harm(ctx context.Context, rng *rand.Rand) error {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		s, dice := f.seats[rng.IntN(len(f.seats))], rng.IntN(6)
		what, err := f.next(s, dice)
		f.counts[what]++
		fmt.Fprintf(&f.told, "%7.3f s %s: %s\n", time.Since(f.began).Seconds(), s.node, what)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", s.node, what, err)
		}
	}
}

// next does what the dice say of what can be done to a node as it is.
func (f *fleet) next(s *seat, dice int) (what string, err error) {
	switch {
	case s.older != nil:
		// It finds that a newer process has its name, and ends; before that it may do what it was told to do before.
		older := s.older
		s.older = nil
		return "thaw the older", older.signal(syscall.SIGCONT)
	case !s.now.running():
		f.judge(s)
		return "start", f.start(s)
	case s.frozen && dice == 0:
		s.now.kill()
		return "kill the frozen", f.start(s)
	case s.frozen && dice == 1 && s.now.joined.Load(): // else it would join after the newer one, and take its place
		s.older = s.now
		return "replace the frozen", f.start(s)
	case s.frozen:
		s.frozen = false
		return "thaw", s.now.signal(syscall.SIGCONT)
	case s.drained && dice == 0:
		s.now.kill()
		return "kill while it drains", nil
	case s.drained:
		return "let it drain", nil
	case dice < 2:
		s.now.kill()
		return "kill", nil
	case dice < 4:
		s.frozen = true
		return "freeze", s.now.signal(syscall.SIGSTOP)
	}
	if !s.now.joined.Load() {
		return "let it join", nil // it may not know yet what to do when it is told to go
	}
	s.drained = true
	return "drain", s.now.signal(syscall.SIGTERM)
}

// judge looks at how the process of a seat ended. None but a killed one ends otherwise than in order; that one is superseded whose
// newer process was thawed after it.
func (f *fleet) judge(s *seat) {
	state := s.now.cmd.ProcessState
	killed := state.Sys().(syscall.WaitStatus).Signaled() && state.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if killed || s.drained && state.Success() {
		return
	}
	f.wrong = append(f.wrong, fmt.Errorf("%s (pid %d), drained: %v, ended: %v: %s", s.node, state.Pid(), s.drained, state, s.now.said.String()))
}

// settle lets everything go on that is frozen, drains everything, and returns when all processes have ended.
func (f *fleet) settle() error {
	for _, p := range f.all {
		_ = p.signal(syscall.SIGCONT)
	}
	for _, s := range f.seats {
		if s.now.awaitJoin(); s.now.running() {
			s.drained = true
			if err := s.now.signal(syscall.SIGTERM); err != nil {
				return err
			}
		}
	}
	for _, p := range f.all {
		select {
		case <-p.ended:
		case <-time.After(patience):
			return fmt.Errorf("pid %d did not end in %v", p.cmd.Process.Pid, patience)
		}
	}
	for _, s := range f.seats {
		f.judge(s)
	}
	return errors.Join(f.wrong...)
}

// close ends what still runs, if anything was wrong.
func (f *fleet) close() {
	for _, p := range f.all {
		p.kill()
	}
}
