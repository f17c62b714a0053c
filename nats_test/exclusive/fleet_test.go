//go:build linux

package exclusive_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rolebus/rolebus/internal/children"
)

const (
	bucket = "rolebus"
	stream = "KV_" + bucket

	patience = 2 * time.Minute // for what is not measured
)

// fleet is all servers and nodes of a run, what is between them, and what is known of what was done to them.
type fleet struct {
	dir, judgePath string
	began          instant
	names          []nameSpec
	servers        []*serverSeat
	seats          []*seat
	judge          *judge
	registers      map[place]register // once the judge has ended
	nc             *nats.Conn         // the test's own
	js             jetstream.JetStream
	live           bool // what is done is told as it is

	mu      sync.Mutex
	started int
	lives   []*life
	aways   map[int][]*span
	losses  []loss
	clocks  []instant // when servers' clocks were set
	told    strings.Builder
}

// newFleet starts servers, and makes seats of nodes, which are empty.
func newFleet(dir string, servers int, ttls []time.Duration, names []nameSpec) (f *fleet, err error) {
	f = &fleet{dir: dir, began: now(), names: names, aways: map[int][]*span{}, live: testing.Verbose()}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	socket, err := os.MkdirTemp("", "judge") // the path of a socket may not be long
	if err != nil {
		return f, err
	}
	f.judgePath = filepath.Join(socket, "judge")
	if f.judge, err = newJudge(f.judgePath); err != nil {
		return f, err
	}
	if err := f.startServers(servers); err != nil {
		return f, err
	}
	for i, ttl := range ttls {
		s := &seat{name: fmt.Sprint("n", i+1), ttl: ttl}
		for _, server := range f.servers {
			l, err := newLink(fmt.Sprint("127.0.0.1:", server.cfg.Port))
			if err != nil {
				return f, err
			}
			s.links = append(s.links, l)
		}
		f.seats = append(f.seats, s)
	}
	return f, nil
}

func (f *fleet) startServers(n int) error {
	ports, err := children.TakePorts(2 * n)
	if err != nil {
		return err
	}
	var urls, routes []string
	for i := range n {
		urls, routes = append(urls, fmt.Sprint("nats://127.0.0.1:", ports[2*i])), append(routes, fmt.Sprint("127.0.0.1:", ports[2*i+1]))
	}
	if n == 1 {
		routes = nil
	}
	for i := range n {
		name := fmt.Sprint("server-", i)
		f.servers = append(f.servers, &serverSeat{cfg: serverConfig{
			Name: name, Dir: filepath.Join(f.dir, name), Log: filepath.Join(f.dir, name+".log"), Port: ports[2*i], Cluster: ports[2*i+1], Routes: routes,
		}})
	}
	if err := f.startAll(f.servers); err != nil {
		return err
	}
	if f.nc, err = nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(time.Second)); err != nil {
		return err
	}
	if f.js, err = jetstream.New(f.nc); err != nil {
		return err
	}
	if err := f.overhear(); err != nil {
		return err
	}
	return f.await(patience, "JetStream", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := f.js.AccountInfo(ctx)
		return err == nil
	})
}

// overhear keeps what is announced, for whoever looks for a cause.
func (f *fleet) overhear() error {
	if *keepFlag == "" {
		return nil
	}
	file, err := os.Create(filepath.Join(f.dir, "announced"))
	if err != nil {
		return err
	}
	_, err = f.nc.Subscribe(bucket+".changes.>", func(m *nats.Msg) {
		_, _ = fmt.Fprintln(file, now().after(f.began), m.Subject, m.Header)
	})
	return err
}

func (f *fleet) startAll(servers []*serverSeat) error {
	errs := make(chan error, len(servers))
	for _, s := range servers {
		go func() { errs <- s.start() }()
	}
	var err error
	for range servers {
		err = errors.Join(err, <-errs)
	}
	return err
}

// board starts all nodes, and waits until they have joined.
func (f *fleet) board(part string) error {
	for _, s := range f.seats {
		if err := f.start(s, part); err != nil {
			return err
		}
	}
	for _, s := range f.seats {
		select {
		case <-s.now.said:
		case <-s.now.Gone:
			return fmt.Errorf("%s ended at once: %s", s.name, s.now.Ending())
		case <-time.After(patience):
			return fmt.Errorf("%s has not joined after %v", s.name, patience)
		}
	}
	return nil
}

func (f *fleet) await(most time.Duration, what string, cond func() bool) error {
	for deadline := now().add(most); !cond(); time.Sleep(10 * time.Millisecond) {
		if now() > deadline {
			return fmt.Errorf("waited %v for %s", most, what)
		}
	}
	return nil
}

// tell keeps what was done, for the reader.
func (f *fleet) tell(format string, args ...any) {
	line := fmt.Sprintf("%s %s", now().after(f.began), fmt.Sprintf(format, args...))
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintln(&f.told, line)
	if f.live {
		fmt.Println(line)
	}
}

// lost notes what the store has lost since then: one claim, or anything.
func (f *fleet) lost(from instant, what, of string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.losses = append(f.losses, loss{span{from, now()}, what, of})
}

func (f *fleet) logOf(lf *life) string {
	return filepath.Join(f.dir, fmt.Sprintf("%s-%d.log", lf.node, lf.number))
}

// story is what is to be judged; the judge must have ended, if it is to be judged, too.
func (f *fleet) story() story {
	s := story{start: f.began, seats: map[string]int{}, away: map[int][]span{}, registers: f.registers}
	for _, n := range f.names {
		s.seats[n.String()] = n.seats()
	}
	for _, seat := range f.seats {
		s.ttl = max(s.ttl, seat.ttl)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, lf := range f.lives {
		terms, offline := lf.ledger.terms(lf.number, lf.node, f.names)
		s.terms = append(s.terms, terms...)
		s.away[lf.number] = offline
	}
	s.losses, s.clocks = f.losses, f.clocks
	for proc, spans := range f.aways {
		for _, u := range spans {
			s.away[proc] = append(s.away[proc], *u)
		}
	}
	return s
}

// close ends everything that was started, and returns when it has ended. What processes held is known until then.
func (f *fleet) close() {
	f.endNodes()
	for _, s := range f.seats {
		for _, l := range s.links {
			l.close()
		}
	}
	if f.nc != nil {
		f.nc.Close()
	}
	for _, s := range f.servers {
		s.kill()
	}
	for _, lf := range f.lives {
		_ = lf.ledger.close()
	}
	_ = os.RemoveAll(filepath.Dir(f.judgePath))
}

// endNodes ends all nodes, and then the judge.
func (f *fleet) endNodes() {
	for _, lf := range f.lives {
		f.kill(lf)
	}
	if f.judge != nil {
		f.registers = f.judge.close(f.names)
		f.judge = nil
	}
}
