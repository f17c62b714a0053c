package rolebustest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

// formedGrace is after how long a dead member is replaced, unless options say otherwise: soon, and long enough for a process to be
// stopped and started again on a machine that is busy.
const formedGrace = 4 * time.Second

// SelfFormed is processes that are a NATS cluster by themselves, as [embedded.Cluster] makes it, all inside the test's process: each a part
// of its own, with its own store, and ways to the others that the test can break.
//
//	                  the others see              ends with
//	Process.Stop      a member that goes in order     Start: has its place, if it is back before it was replaced
//	Process.Kill      a process that died             Start: as one that crashed; never: a spare takes its place
//	Process.Freeze    a process that hangs            Thaw
//	Process.Replace   a process that died             a new one, under another name, with an empty store
//	Process.Leave     a member that goes for good     Start: a blank one
//	SelfFormed.Split  a network that is split         Heal
//
// Its methods and those of its processes are for the test's own goroutine, as each of them may fail the test.
type SelfFormed struct {
	tb    testing.TB
	size  int
	opts  []embedded.Option
	names *names // of buses outside
	dir   string

	secret string
	ways   *ways

	mu        sync.Mutex
	processes []*Process
	all       []*Process    // also those that were replaced
	changed   chan struct{} // closed when there are others
}

// NewSelfFormed starts processes of which size, 3 or 5, form a cluster, and the others are spares, and returns when they have: see
// [SelfFormed.WaitReady]. They are named process-1, process-2 and so on, and are stopped when the test ends, after everything that was made
// of them.
//
// The options are for all of them, in each of their lives. Unless they say otherwise a dead member is replaced after 4 seconds
// ([embedded.WithGrace]), so that tests need not wait long. How the processes reach each other, and which secret they have, is decided here.
//
// It takes two seconds or three until they have formed, and a few more if the first election fails.
func NewSelfFormed(tb testing.TB, size, processes int, opts ...embedded.Option) *SelfFormed {
	tb.Helper()
	if processes < size {
		tb.Fatalf("rolebustest: %d processes: a cluster of %d needs at least as many", processes, size)
	}
	f := &SelfFormed{
		tb: tb, size: size, opts: opts, names: &names{}, dir: tb.TempDir(), secret: rand.Text(),
		ways: &ways{pipes: map[path]*pipe{}}, changed: make(chan struct{}),
	}
	tb.Cleanup(f.close)
	for range processes {
		f.add(func(p *Process) { f.processes = append(f.processes, p) })
	}
	f.WaitReady()
	return f
}

// Processes returns the processes, running or not, in the order in which they were made; one that took the place of another has its place.
func (f *SelfFormed) Processes() []*Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.processes)
}

// URL is where clients connect: the URLs of all members, as the processes know them, with commas between them. They are reached directly
// there, past all that the test breaks, but not if their process does not run.
func (f *SelfFormed) URL() string { return strings.Join(f.urls(), ",") }

// Bus connects a bus that is of none of the processes to any of the members, and to another when that one goes; otherwise as [Server.Bus] does.
func (f *SelfFormed) Bus(opts ...rolebus.Option) *rolebus.Bus {
	f.tb.Helper()
	b := openBus(f.tb, "", f.names, append([]rolebus.Option{
		rolebus.WithDiscovery(f.found()), rolebus.WithNATS(nats.SetCustomDialer(dialer{f.ways, outside})),
	}, opts...))
	f.tb.Cleanup(f.calm) // before the bus is closed, which would wait long, or in vain, for its goodbye
	return b
}

// Conn makes a plain connection that is of none of the processes to any of those that are members now, and to another of them when that one
// goes; otherwise as [Server.Conn] does.
func (f *SelfFormed) Conn(opts ...nats.Option) *nats.Conn {
	f.tb.Helper()
	return openConn(f.tb, f.URL(), append([]nats.Option{nats.SetCustomDialer(dialer{f.ways, outside})}, opts...))
}

// Split splits the network: what is in one group does not reach what is in another. Connections between them are closed on both sides, and new
// ones are refused, between processes, their servers, and their buses. Processes that are in no group are one more, together. Clients
// that are of no process reach all, and stay where they are: also on a server that has no majority, and no news. It lasts until
// [SelfFormed.Heal] or another Split; a process that is made meanwhile reaches all.
func (f *SelfFormed) Split(groups ...[]*Process) {
	f.tb.Helper()
	f.befall(func(all []*ends) {
		for _, e := range all {
			e.group = len(groups) + 1
		}
		for i, group := range groups {
			for _, p := range group {
				all[p.place].group = i + 1
			}
		}
	})
}

// Heal ends [SelfFormed.Split]. The processes find each other within a few seconds: see [SelfFormed.WaitReady].
func (f *SelfFormed) Heal() {
	f.tb.Helper()
	f.befall(func(all []*ends) {
		for _, e := range all {
			e.group = 0
		}
	})
}

func (f *SelfFormed) befall(what func(all []*ends)) {
	f.tb.Helper()
	if err := onOwnPort(func() error { return f.ways.befall(what) }); err != nil {
		f.tb.Fatalf("rolebustest: the ways between processes: %v", err)
	}
}

// add makes a process and starts it.
func (f *SelfFormed) add(place func(p *Process)) *Process {
	f.tb.Helper()
	p := &Process{tb: f.tb, fleet: f, name: fmt.Sprintf("process-%d", len(f.all)+1)}
	err := onFreePorts(f.tb, 3, func(ports []int) error {
		p.ports = ports
		p.place = f.ways.add(ports[0], ports[1], ports[2])
		return p.start()
	})
	if err != nil {
		f.tb.Fatalf("rolebustest: %s: %v", p.name, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	place(p)
	f.all = append(f.all, p)
	close(f.changed)
	f.changed = make(chan struct{})
	return p
}

// options are those of a process.
func (f *SelfFormed) options(p *Process) []embedded.Option {
	usual := []embedded.Option{embedded.WithGrace(formedGrace)}
	own := []embedded.Option{
		embedded.WithSize(f.size), embedded.WithName(p.name), embedded.WithStoreDir(filepath.Join(f.dir, p.name)), embedded.WithSecret(f.secret),
		embedded.WithClusterPort(p.ports[0]), embedded.WithRoutePort(p.ports[1]), embedded.WithPort(p.ports[2]),
		embedded.WithTransport(transport{f.ways, p.place}),
		embedded.WithServerOptions(func(o *server.Options) { o.Cluster.Advertise, o.Cluster.NoAdvertise = nowhere, true }),
	}
	return slices.Concat(usual, f.opts, own)
}

// discover shows all processes to all.
func (f *SelfFormed) discover(ctx context.Context, found func([]rolebus.Address, error)) error {
	for {
		f.mu.Lock()
		var list []rolebus.Address
		for _, p := range f.processes {
			list = append(list, rolebus.Address{Host: loopback, Port: p.ports[0], Route: true})
		}
		changed := f.changed
		f.mu.Unlock()
		if len(list) > 0 {
			found(list, nil)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// calm takes back all that is broken, but for processes that do not run.
func (f *SelfFormed) calm() {
	_ = f.ways.befall(func(all []*ends) { // what cannot be mended stays broken
		for _, e := range all {
			e.frozen, e.group = false, 0
		}
	})
}

// close stops the processes together: one that is left alone would look for the others first.
func (f *SelfFormed) close() {
	f.calm()
	errs := make([]error, len(f.all))
	var wg sync.WaitGroup
	for i, p := range f.all {
		wg.Go(func() { errs[i] = p.end(false) })
	}
	wg.Wait()
	f.ways.close(func(path) bool { return true })
	for _, p := range f.all {
		dropPorts(p.ports)
	}
	if err := errors.Join(errs...); err != nil {
		f.tb.Errorf("rolebustest: %v", err)
	}
}
