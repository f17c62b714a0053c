//go:build linux

package chaos_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"time"
)

// seat is the place of a node, or of an observer, in the fleet: its name, its scopes and its links, whichever process
// has it just now.
type seat struct {
	name     string
	scopes   []string // the first is its default one
	observer bool
	bucket   string
	dir      string
	links    [3]*link // to each server
	hist     *history
	number   func() int
	answer   func(record)

	mu     sync.Mutex
	lives  []*life // the newest last; the older ones may still run
	serial int     // of the states that it was ordered to want
}

// life is one process that has, or had, a seat.
type life struct {
	*process
	number  int
	mu      sync.Mutex
	pending map[int]order
	wants   map[string][]string // by scope, what was wanted last, as far as the calls that returned tell
	joined  bool
	over    string // the outcome of its bus
	ending  bool   // it was killed, or told to close
	telling sync.Mutex
}

// start begins a new life in the seat.
func (s *seat) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var urls []string
	for _, l := range s.links {
		urls = append(urls, "nats://"+l.address)
	}
	lf := &life{number: s.number(), pending: map[int]order{}, wants: map[string][]string{}}
	cfg := nodeConfig{URLs: strings.Join(urls, ","), Node: s.name, Number: lf.number, Bucket: s.bucket, Scopes: s.scopes, Observer: s.observer}
	s.hist.add(record{Kind: started, Proc: lf.number, Name: s.name})
	if !s.observer {
		cfg.Roles = s.state(s.scopes[0], nil)
		lf.wants[s.scopes[0]] = cfg.Roles
		s.hist.add(record{Kind: ordered, Proc: lf.number, Name: s.name, Op: opSet, Scope: s.scopes[0], Roles: cfg.Roles})
	}
	p, err := startProcess(s.dir, nodeChild, cfg, func(line []byte) { s.heard(lf, line) })
	if err != nil {
		return err
	}
	lf.process = p
	s.lives = append(s.lives, lf)
	go s.await(lf)
	if !s.observer {
		for _, scope := range s.scopes[1:] {
			s.order(lf, order{Op: opSet, Scope: scope, Roles: s.state(scope, nil), Timeout: connectTimeout})
		}
	}
	return nil
}

// heard takes note of what a life says.
func (s *seat) heard(lf *life, line []byte) {
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		s.hist.add(record{Kind: noted, Proc: lf.number, Name: s.name, Text: string(line)})
		return
	}
	r.Proc, r.Name = lf.number, s.name
	lf.mu.Lock()
	switch r.Kind {
	case joined:
		lf.joined = true
	case returned:
		o := lf.pending[r.Call]
		delete(lf.pending, r.Call)
		switch {
		case o.Op == opLeave && r.Outcome != refused:
			delete(lf.wants, o.Scope)
		case o.Op == opSet && r.Outcome != refused:
			lf.wants[o.Scope] = o.Roles
		}
	case ended:
		lf.over = r.Outcome
	}
	lf.mu.Unlock()
	if r.Kind == answered {
		s.answer(r)
		return
	}
	s.hist.add(r)
}

// await takes note of the end of a life's process.
func (s *seat) await(lf *life) {
	<-lf.Gone
	lf.mu.Lock()
	expected := lf.ending || lf.over == closed || lf.over == superseded
	lf.mu.Unlock()
	text := lf.Ending()
	expected = expected && lf.Said() == "" // panics and data races are told there
	s.hist.add(record{Kind: exited, Proc: lf.number, Name: s.name, Text: text})
	if !expected {
		s.hist.add(record{Kind: broken, Proc: lf.number, Name: s.name, Text: "ended unexpectedly: " + text})
	}
}

// state makes a state to want, which differs from all others of the seat.
func (s *seat) state(scope string, rng *rand.Rand) []string {
	s.serial++
	out := []string{fmt.Sprintf("%s/seq=%06d", scope, s.serial)}
	for i := range rolePool {
		if rng != nil && rng.IntN(2) == 0 {
			out = append(out, fmt.Sprintf("%s/work-%d", scope, i))
		}
	}
	if rng != nil && rng.IntN(8) == 0 {
		out = append(out, fmt.Sprintf("%s/fat-%s", scope, strings.Repeat("x", soundLimit)))
	}
	return out
}

const rolePool = 4

// now returns the newest life, nil if there is none.
func (s *seat) now() *life {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lives) == 0 {
		return nil
	}
	return s.lives[len(s.lives)-1]
}

// change orders the newest life to be something else in a scope; false if it has too much to do.
func (s *seat) change(scope string, rng *rand.Rand, timeout time.Duration, most int) bool {
	lf := s.now()
	if s.observer || lf == nil || !lf.Running() || lf.busy() >= most {
		return false
	}
	s.mu.Lock()
	roles := s.state(scope, rng)
	s.mu.Unlock()
	s.order(lf, order{Op: opSet, Scope: scope, Roles: roles, Timeout: timeout})
	return true
}

// order tells a life to do something.
func (s *seat) order(lf *life, o order) {
	o.Call = s.number()
	lf.mu.Lock()
	lf.pending[o.Call] = o
	lf.mu.Unlock()
	// Recorded before it is told: what a killed process was told may have been done. And in the order in which it is told.
	lf.telling.Lock()
	defer lf.telling.Unlock()
	s.hist.add(record{Kind: ordered, Proc: lf.number, Name: s.name, Op: o.Op, Call: o.Call, Scope: o.Scope, Roles: o.Roles})
	lf.Tell(o)
}

func (lf *life) inFleet() bool {
	lf.mu.Lock()
	defer lf.mu.Unlock()
	return lf.joined
}

func (lf *life) busy() int {
	lf.mu.Lock()
	defer lf.mu.Unlock()
	return len(lf.pending)
}

// kill kills a life.
func (s *seat) kill(lf *life) {
	lf.end()
	lf.Kill()
}

// end says that the life is to end now.
func (lf *life) end() {
	lf.mu.Lock()
	defer lf.mu.Unlock()
	lf.ending = true
}

// freeze stops a life, until thaw.
func (s *seat) freeze(lf *life) { _ = lf.Signal(syscall.SIGSTOP) }
func (s *seat) thaw(lf *life)   { _ = lf.Signal(syscall.SIGCONT) }

// link gives the seat's links to some servers a shape.
func (s *seat) link(to []int, sh shape, reset bool) {
	for _, i := range to {
		s.links[i].become(sh, reset)
	}
}

// close ends all lives and links.
func (s *seat) close() {
	s.mu.Lock()
	lives := s.lives
	s.mu.Unlock()
	for _, lf := range lives {
		s.kill(lf)
	}
	for _, l := range s.links {
		if l != nil {
			l.close()
		}
	}
}
