//go:build linux

package selfformed_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/internal/lan"
)

const (
	hosts  = 12
	secret = "0123456789abcdef"
)

// place is where processes of one name run, one after another, with one store.
type place struct {
	name, dir string
	on        *lan.Port
	now       *proc
}

// proc is a process. What the test does to it stands here, what it says in the history.
type proc struct {
	number    int
	name      string
	server    string // that it is, or was of late
	child     *child
	to        instant // when it was killed, or told to end; never while it runs
	killed    bool
	disturbed []span // when it was frozen, or cut off
	state     *state // that it told last
	joined    bool   // its bus
	ended     bool   // as it was told to
}

// fleet is all processes. One goroutine does what is done to them; what they say comes from others.
type fleet struct {
	t     *testing.T
	dir   string
	size  int
	grace time.Duration
	bus   bool
	*network
	free   []*lan.Port
	places []*place
	named  int
	shows  map[string]bool // hosts that discovery shows beside those of the fleet
	began  instant

	mu      sync.Mutex
	procs   []*proc // by number; guarded by mu, as is what is in them
	records []record
	answers map[int]chan record
	calls   int
	news    chan struct{}
}

// network is where processes run. It is made once: hosts can be used again.
type network struct {
	lan   *lan.LAN
	apart *lan.LAN // the other part when it is split
	ports []*lan.Port
}

func newNetwork(t *testing.T) *network {
	n := &network{lan: lan.New(t), apart: lan.New(t)}
	for range hosts {
		n.ports = append(n.ports, n.lan.Host())
	}
	return n
}

func newFleet(t *testing.T, n *network, dir string, size int, grace time.Duration, bus bool) *fleet {
	return &fleet{t: t, network: n, free: slices.Clone(n.ports), dir: dir, size: size, grace: grace, bus: bus, began: now(),
		shows: map[string]bool{}, answers: map[int]chan record{}, news: make(chan struct{}, 1)}
}

// close ends what still runs.
func (f *fleet) close() {
	for _, p := range f.procs {
		p.child.kill()
	}
}

func (f *fleet) tell(format string, args ...any) {
	f.note(record{Kind: isTold, At: now(), Text: fmt.Sprintf(format, args...)})
}

// isTold is what the test does.
const isTold = "told"

// add makes a place for a process of a new name.
func (f *fleet) add() *place {
	f.named++
	p := &place{name: fmt.Sprintf("p%02d", f.named), on: f.free[0]}
	p.dir = filepath.Join(f.dir, p.name)
	f.free = f.free[1:]
	f.places = append(f.places, p)
	return p
}

// remove gives a place up whose process has ended.
func (f *fleet) remove(p *place) {
	f.places = slices.DeleteFunc(f.places, func(other *place) bool { return other == p })
	f.free = append(f.free, p.on)
}

// start starts the process of a place, which sees nobody yet.
func (f *fleet) start(p *place) error { return f.startWith(p, secret) }

func (f *fleet) startWith(p *place, secret string) error {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	f.mu.Lock()
	number := len(f.procs)
	pr := &proc{number: number, name: p.name, server: p.name, to: never}
	f.procs = append(f.procs, pr)
	f.mu.Unlock()
	cfg := config{Name: p.name, Host: p.on.V4.String(), Dir: p.dir, Secret: secret, Size: f.size, Grace: f.grace, Bus: f.bus}
	c, err := startChild(p.on, number, cfg, f.note)
	if err != nil {
		f.procs = f.procs[:number]
		return err
	}
	pr.child, p.now = c, pr
	f.tell("start %s#%d", p.name, number)
	return nil
}

// note keeps what a process says.
func (f *fleet) note(r record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Kind != isTold {
		p := f.procs[r.proc]
		switch r.Kind {
		case isState:
			p.state = r.State
			if r.State.Part == "member" {
				p.server = ownServer(p.name, r.State.Members)
			}
		case isJoined:
			p.joined = true
		case isEnded:
			p.ended = true
		}
		if answer := f.answers[r.Call]; answer != nil && (r.Kind == isAnswer || r.Kind == isEnded) {
			delete(f.answers, r.Call)
			answer <- r
		}
	}
	f.records = append(f.records, r)
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// ownServer is the name of a process's own server among those of all members: it has a number behind it once it was removed.
func ownServer(name string, members []string) string {
	own := name
	for _, m := range members {
		if m == name || strings.HasPrefix(m, name+"~") {
			own = m
		}
	}
	return own
}

// call has a process do something, and waits for its answer.
func (f *fleet) call(p *proc, do string, wait time.Duration) (record, error) {
	answer := make(chan record, 1)
	f.mu.Lock()
	f.calls++
	o := order{Call: f.calls, Do: do}
	f.answers[o.Call] = answer
	f.mu.Unlock()
	p.child.orders <- o
	select {
	case r := <-answer:
		return r, nil
	case <-p.child.gone:
		return record{}, fmt.Errorf("%s#%d has ended instead of an answer to %q", p.name, p.number, do)
	case <-time.After(wait):
		return record{}, fmt.Errorf("%s#%d did not answer to %q in %v", p.name, p.number, do, wait)
	}
}

// hosts are those that discovery shows.
func (f *fleet) hosts() []string {
	var list []string
	for _, p := range f.places {
		list = append(list, p.on.V4.String())
	}
	for host := range f.shows {
		list = append(list, host)
	}
	slices.Sort(list)
	return list
}

// show shows everybody to all.
func (f *fleet) show() {
	list := f.hosts()
	for _, p := range f.places {
		if p.now.child.running() {
			p.now.child.orders <- order{Do: doShow, Hosts: list}
		}
	}
}

// at sets when a process was told to go, before it is: whatever is said after it is no wonder.
func (f *fleet) goes(p *proc, killed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.to == never {
		p.to, p.killed = now(), killed
	}
}

func (f *fleet) kill(p *place) {
	f.tell("kill %s#%d", p.name, p.now.number)
	f.goes(p.now, true)
	p.now.child.kill()
}

// disturb says that something begins that keeps a process from the others, and returns what says that it has ended.
func (f *fleet) disturb(p *proc) (end func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := len(p.disturbed)
	p.disturbed = append(p.disturbed, span{now(), never})
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		p.disturbed[i].to = now()
	}
}

func (f *fleet) freeze(places []*place, d time.Duration) error {
	var ends []func()
	for _, p := range places {
		f.tell("freeze %s#%d", p.name, p.now.number)
		ends = append(ends, f.disturb(p.now))
		if err := p.now.child.signal(syscall.SIGSTOP); err != nil {
			return err
		}
	}
	time.Sleep(d)
	for i, p := range places {
		f.tell("thaw %s#%d", p.name, p.now.number)
		if err := p.now.child.signal(syscall.SIGCONT); err != nil {
			return err
		}
		ends[i]()
	}
	return nil
}

// split keeps these from the others.
func (f *fleet) split(places []*place, d time.Duration) {
	var ends []func()
	for _, p := range places {
		f.tell("split off %s#%d", p.name, p.now.number)
		ends = append(ends, f.disturb(p.now))
		f.apart.Take(p.on)
	}
	time.Sleep(d)
	for i, p := range places {
		f.lan.Take(p.on)
		ends[i]()
	}
	f.tell("heal")
}

// end has a process close, or leave for good, and waits until it has.
func (f *fleet) end(p *place, do string) error {
	f.tell("%s %s#%d", do, p.name, p.now.number)
	f.goes(p.now, false)
	r, err := f.call(p.now, do, patience)
	if err != nil {
		return err
	}
	select {
	case <-p.now.child.gone:
	case <-time.After(patience):
		return fmt.Errorf("%s#%d said that it has closed, and goes on", p.name, p.now.number)
	}
	if r.Text != "" || p.now.child.err != nil {
		return errors.Join(fmt.Errorf("%s %s#%d: %s", do, p.name, p.now.number, r.Text), p.now.child.err)
	}
	return nil
}

// endAll has all processes close, at once.
func (f *fleet) endAll() error {
	errs := make([]error, len(f.places))
	var all sync.WaitGroup
	for i, p := range f.places {
		all.Go(func() { errs[i] = f.end(p, doClose) })
	}
	all.Wait()
	return errors.Join(append(errs, f.crashed())...)
}

// crashed says who ended by itself.
func (f *fleet) crashed() error {
	var errs []error
	for _, p := range f.procs {
		if p.child != nil && !p.child.running() && p.to == never {
			errs = append(errs, fmt.Errorf("%s#%d ended by itself: %w", p.name, p.number, p.child.err))
		}
		if p.child != nil && strings.Contains(p.child.log.String(), "WARNING: DATA RACE") {
			errs = append(errs, fmt.Errorf("%s#%d has a data race", p.name, p.number))
		}
	}
	return errors.Join(errs...)
}

// keep writes the timeline to where the processes have their stores, if these are kept.
func (f *fleet) keep() {
	if *keepFlag != "" {
		require.NoError(f.t, os.WriteFile(filepath.Join(f.dir, "timeline"), []byte(f.timeline(math.MaxInt)), 0o600))
	}
}

// longest is how many lines of a timeline are told: of the end.
const longest = 400

// timeline is what happened, as a text of so many lines at most.
func (f *fleet) timeline(most int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	records := slices.Clone(f.records)
	slices.SortStableFunc(records, func(a, b record) int { return int(a.At - b.At) })
	for _, r := range records {
		who, what := "", r.Text
		switch r.Kind {
		case isAcked, isAnswer:
			continue
		case isState:
			what = fmt.Sprintf("%+v", *r.State)
		case isStalled:
			what = r.At.since(r.From).String()
		}
		if r.Kind != isTold {
			who = fmt.Sprintf("%s#%d", f.procs[r.proc].name, r.proc)
		}
		list = append(list, fmt.Sprintf("%8.3f %-7s %-8s %s %d %s", r.At.since(f.began).Seconds(), who, r.Kind, r.Node, r.Life, what))
	}
	return strings.Join(list[max(0, len(list)-most):], "\n")
}
