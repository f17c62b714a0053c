//go:build linux

package exclusive_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// seat is the place of a node, whichever process has it just now. Only one fault at a time is about it.
type seat struct {
	name  string // of the node; another one after it was renamed
	links []*link
	ttl   time.Duration
	now   *life
	busy  sync.Mutex // the fault
}

// life is one process of a node.
type life struct {
	*process
	number int
	node   string
	ledger *ledger
	told   bool // to end, by the test; guarded by fleet.mu
}

// start begins a new life in a seat, beside the one before if that still runs.
func (f *fleet) start(s *seat, part string) error {
	var urls []string
	for _, l := range s.links {
		urls = append(urls, "nats://"+l.address)
	}
	f.mu.Lock()
	f.started++
	lf := &life{number: f.started, node: s.name}
	f.mu.Unlock()
	path := filepath.Join(f.dir, fmt.Sprintf("%s-%d", lf.node, lf.number))
	var err error
	if lf.ledger, err = openLedger(path + ".ledger"); err != nil {
		return err
	}
	if lf.process, err = startProcess(f.dir, part, nodeConfig{
		URLs: strings.Join(urls, ","), Node: s.name, Ledger: path + ".ledger", Judge: f.judgePath, Log: path + ".log", TTL: s.ttl,
		Replicas: len(f.servers), Names: f.names,
	}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lives = append(f.lives, lf)
	s.now = lf
	return nil
}

// end says that the life's end is the test's doing.
func (f *fleet) end(lf *life) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lf.told = true
}

func (f *fleet) kill(lf *life) {
	f.end(lf)
	lf.Kill()
}

// leave has a process end by itself, and returns when it has.
func (f *fleet) leave(lf *life, order string) error {
	f.end(lf)
	lf.Tell(order)
	began := now()
	select {
	case <-lf.Gone:
		f.tell("%s#%d has left after %v", lf.node, lf.number, now().since(began).Round(time.Millisecond))
		return nil
	case <-time.After(patience):
		lf.Kill()
		return fmt.Errorf("%s#%d has not ended %v after it was told to %s: its log is %s", lf.node, lf.number, patience, order, f.logOf(lf))
	}
}

// away notes that a process does not reach the store, from now until what it returns is called.
func (f *fleet) away(lives ...*life) (back func()) {
	from := now()
	f.mu.Lock()
	defer f.mu.Unlock()
	var spans []*span
	for _, lf := range lives {
		s := &span{from, forever}
		f.aways[lf.number] = append(f.aways[lf.number], s)
		spans = append(spans, s)
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, s := range spans {
			s.to = now()
		}
	}
}

// freeze stops a process until what it returns is called.
func (f *fleet) freeze(lf *life) (thaw func() error, err error) {
	back := f.away(lf)
	return func() error {
		defer back()
		return lf.Signal(syscall.SIGCONT)
	}, lf.Signal(syscall.SIGSTOP)
}

// shape gives all of a seat's links a shape. If it is cut off by that, that is until what it returns is called.
func (f *fleet) shape(s *seat, sh shape, cut bool) (mend func() error) {
	back := func() {}
	if cut {
		back = f.away(s.now)
	}
	for _, l := range s.links {
		l.become(sh)
	}
	return func() error {
		defer back()
		for _, l := range s.links {
			l.become(shape{})
		}
		return nil
	}
}

// wrongEnds tells of processes that ended by themselves, or said what only broken ones say.
func (f *fleet) wrongEnds() (wrong []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, lf := range f.lives {
		if said := lf.Said(); said != "" {
			wrong = append(wrong, fmt.Sprintf("%s#%d said: %s", lf.node, lf.number, said))
		}
		if !lf.Running() && !lf.told && lf.ExitCode() != superseded {
			wrong = append(wrong, fmt.Sprintf("%s#%d ended by itself: %s", lf.node, lf.number, lf.Ending()))
		}
	}
	return wrong
}
