//go:build linux

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rolebus/rolebus/internal/children"
)

const (
	bucket = "chaos"
	stream = "KV_" + bucket
	leases = "$KV." + bucket + "=lease.>"
)

// fleet is the controller's view of everything: servers, seats, links, and the history.
type fleet struct {
	dir     string
	hist    *history
	start   instant
	servers [3]*serverSeat
	routes  [3][3]*link // from, to
	seats   []*seat
	nc      *nats.Conn // the controller's own, to the servers themselves
	js      jetstream.JetStream
	numbers atomic.Int64
	doctor  doctor
	foreign foreign

	mu     sync.Mutex
	asked  map[int]chan record
	ghosts []*seat // of nodes that died for good

	ctx    context.Context // over when the fleet is closed
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// newFleet starts the servers, and makes the seats, which are empty.
func newFleet(dir string, live func(record)) (f *fleet, err error) {
	f = &fleet{dir: dir, hist: &history{live: live}, start: now(), asked: map[int]chan record{}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			f.close()
			f = nil
		}
	}()
	if err := f.placeServers(); err != nil {
		return f, err
	}
	if err := f.placeSeats(); err != nil {
		return f, err
	}
	errs := make(chan error, len(f.servers))
	for _, s := range f.servers {
		go func() { errs <- s.start() }()
	}
	for range f.servers {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		return f, err
	}
	var urls []string
	for _, s := range f.servers {
		urls = append(urls, s.url())
	}
	f.nc, err = nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ReconnectJitter(0, 0), nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(time.Second))
	if err != nil {
		return f, err
	}
	if f.js, err = jetstream.New(f.nc); err != nil {
		return f, err
	}
	f.wg.Go(f.feelStalls)
	return f, nil
}

func (f *fleet) number() int { return int(f.numbers.Add(1)) }

func (f *fleet) placeServers() error {
	ports, err := children.TakePorts(2 * len(f.servers))
	if err != nil {
		return err
	}
	for i := range f.servers {
		name := fmt.Sprint("server-", i)
		f.servers[i] = &serverSeat{hist: f.hist, number: f.number, answer: f.answer, cfg: serverConfig{
			Name: name, Dir: filepath.Join(f.dir, name), Log: filepath.Join(f.dir, name+".log"),
			Port: ports[2*i], Cluster: ports[2*i+1],
		}}
	}
	for from, s := range f.servers {
		for to, other := range f.servers {
			address := fmt.Sprint("127.0.0.1:", other.cfg.Cluster)
			if from != to {
				l, err := newLink(address)
				if err != nil {
					return err
				}
				f.routes[from][to], address = l, l.address
			}
			s.cfg.Routes = append(s.cfg.Routes, address)
		}
	}
	return nil
}

// The two scopes overlap. The last two seats are those of observers.
func (f *fleet) placeSeats() error {
	const alpha, beta = "alpha", "beta"
	for _, s := range []*seat{
		{name: "n1", scopes: []string{alpha, beta}},
		{name: "n2", scopes: []string{alpha, beta}},
		{name: "n3", scopes: []string{beta, alpha}},
		{name: "n4", scopes: []string{alpha}},
		{name: "n5", scopes: []string{beta}},
		{name: "o1", scopes: []string{alpha, beta}, observer: true},
		{name: "o2", scopes: []string{beta, alpha}, observer: true},
	} {
		if err := f.furnish(s); err != nil {
			return err
		}
		f.seats = append(f.seats, s)
	}
	return nil
}

// furnish gives a seat what it needs for a life.
func (f *fleet) furnish(s *seat) (err error) {
	s.bucket, s.dir, s.hist, s.number, s.answer = bucket, f.dir, f.hist, f.number, f.answer
	for i := range s.links {
		if s.links[i], err = newLink(fmt.Sprint("127.0.0.1:", f.servers[i].cfg.Port)); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) seat(name string) *seat {
	return f.seats[slices.IndexFunc(f.seats, func(s *seat) bool { return s.name == name })]
}

// close ends everything that was started, and returns when it has ended.
func (f *fleet) close() {
	f.cancel()
	f.wg.Wait()
	for _, s := range slices.Concat(f.seats, f.ghosts) {
		s.close()
	}
	if f.nc != nil {
		f.nc.Close()
	}
	for i, s := range f.servers {
		if s != nil {
			s.kill()
		}
		for _, l := range f.routes[i] {
			if l != nil {
				l.close()
			}
		}
	}
}

// board starts all nodes, and waits until they have joined.
func (f *fleet) board() error {
	for _, s := range f.seats {
		if err := s.start(); err != nil {
			return err
		}
	}
	for _, s := range f.seats {
		if err := f.await(time.Minute, s.name+" to join", func() bool { return s.now().settled() }); err != nil {
			return err
		}
	}
	return nil
}

// settled says whether a life has joined and has nothing to do.
func (lf *life) settled() bool {
	lf.mu.Lock()
	defer lf.mu.Unlock()
	return lf.joined && len(lf.pending) == 0
}

func (f *fleet) await(most time.Duration, what string, cond func() bool) error {
	for deadline := now().add(most); !cond(); {
		if now() > deadline {
			return fmt.Errorf("waited %v for %s", most, what)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
	return nil
}

// note tells the reader something.
func (f *fleet) note(format string, args ...any) {
	f.hist.add(record{Kind: noted, Text: fmt.Sprintf(format, args...)})
}

// ask asks a process something and waits for the answer; nil if none came in time.
func (f *fleet) ask(p *process, o order, most time.Duration) *record {
	call, answers := f.number(), make(chan record, 1)
	o.Call = call
	f.mu.Lock()
	f.asked[call] = answers
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.asked, call)
		f.mu.Unlock()
	}()
	p.Tell(o)
	select {
	case r := <-answers:
		return &r
	case <-p.Gone:
	case <-time.After(most):
	}
	return nil
}

// askServers asks all servers that run something, and waits for their answers.
func (f *fleet) askServers(o order) {
	var all sync.WaitGroup
	for _, s := range f.servers {
		all.Go(func() { s.tell(f, o) })
	}
	all.Wait()
}

func (f *fleet) answer(r record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if answers := f.asked[r.Call]; answers != nil {
		answers <- r
	}
}

// feelStalls records when the machine had no time for the controller: then it had perhaps none for the others.
func (f *fleet) feelStalls() {
	for last := now(); ; {
		select {
		case <-time.After(tick):
		case <-f.ctx.Done():
			return
		}
		woke := now()
		if woke.since(last) > tick+stallNoted/4 {
			f.hist.add(record{Kind: stalled, At: woke, Began: last})
		}
		last = woke
	}
}

// churn changes roles all the time, a few times a second, until ctx is over.
func (f *fleet) churn(ctx context.Context, rng *rand.Rand, every time.Duration) {
	timeouts := []time.Duration{5 * time.Millisecond, 100 * time.Millisecond, 5 * time.Second}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every/2 + rand.N(every)):
		}
		s := f.seats[rng.IntN(len(f.seats))]
		s.change(s.scopes[rng.IntN(len(s.scopes))], rng, timeouts[rng.IntN(len(timeouts))], 3)
	}
}

// logs returns the end of each server's log.
func (f *fleet) logs(lines int) string {
	var b strings.Builder
	for _, s := range f.servers {
		text, err := os.ReadFile(s.cfg.Log)
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", s.cfg.Name, err)
			continue
		}
		all := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&b, "%s said last:\n", s.cfg.Name)
		for _, line := range all[max(0, len(all)-lines):] {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	return b.String()
}
