package rolebustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

const (
	leavePatience   = time.Minute // more than a process waits for another that takes its place
	goodbyePatience = 5 * time.Second
)

// Process is one of the processes of a [SelfFormed]: a part in a cluster, and the buses that were connected by it.
type Process struct {
	tb    testing.TB
	fleet *SelfFormed
	name  string
	ports []int // of hellos, routes, clients
	place int   // among the ways

	mu      sync.Mutex
	cluster *embedded.ClusterServer // nil while it does not run
	buses   []*rolebus.Bus          // of this life
	last    *embedded.ClusterServer // of the life before, while it does not run
}

// Name is the process's name, and its node's.
func (p *Process) Name() string { return p.name }

// Running says whether the process runs, be it frozen or not.
func (p *Process) Running() bool { return p.running() != nil }

// Cluster is the process's part in the cluster: what it knows of the others, hooks aside. While the process does not run it is that of its last
// life, which is closed; [Process.Start] makes another one.
//
// A bus that is connected by it alone goes to the servers directly, past Freeze and Split. [Process.Bus] goes the ways that the test breaks, and
// so does a bus of the program that is tested, if it has [Process.Dialer].
func (p *Process) Cluster() *embedded.ClusterServer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cluster == nil {
		return p.last
	}
	return p.cluster
}

// Dialer connects clients on the ways from this process to the servers, its own among them, as they are: for nats.SetCustomDialer, in
// [rolebus.WithNATS].
func (p *Process) Dialer() nats.CustomDialer { return dialer{p.fleet.ways, p.place} }

// Bus connects a bus of this process, which follows the members, on the ways that the test breaks. It is closed when the process stops or
// leaves, before its server; when the process is killed it says no goodbye; and else when the test ends. Unless the options say otherwise its
// node has the process's name, and a further one of the same life -2, -3 and so on behind it; its TTL is 3 s, and its sync interval 1 s.
func (p *Process) Bus(opts ...rolebus.Option) *rolebus.Bus {
	p.tb.Helper()
	cluster := p.mustRun("a bus")
	p.mu.Lock()
	name := p.name
	if n := len(p.buses); n > 0 {
		name = fmt.Sprintf("%s-%d", p.name, n+1)
	}
	p.mu.Unlock()
	b := openBus(p.tb, "", p.fleet.names, append([]rolebus.Option{
		rolebus.WithNode(name), rolebus.WithDiscovery(cluster), rolebus.WithNATS(nats.SetCustomDialer(p.Dialer())),
	}, opts...))
	p.tb.Cleanup(p.fleet.calm) // before the bus is closed, which would wait long, or in vain, for its goodbye
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buses = append(p.buses, b)
	return b
}

// Conn makes a plain connection of this process to those that are members now, on the ways that the test breaks; otherwise as [Server.Conn] does. It
// does not end with the process, but no server is reached from it while the process does not run.
func (p *Process) Conn(opts ...nats.Option) *nats.Conn {
	p.tb.Helper()
	return openConn(p.tb, p.mustRun("a connection").URL(), append([]nats.Option{nats.SetCustomDialer(p.Dialer())}, opts...))
}

// Kill ends the process so that the others see what they see of SIGKILL: all its connections end without a word, so that it says no goodbye
// and lets nobody lead in its stead. What it had written is in its store. It stays a member until a spare has its place, after the grace; before
// that [Process.Start] brings it back. A process that does not run is left alone.
func (p *Process) Kill() {
	p.tb.Helper()
	if !p.Running() {
		return
	}
	p.fleet.befall(func(all []*ends) { all[p.place].down = true }) // first: nothing that it does from now on is heard
	if err := p.end(true); err != nil {
		p.tb.Fatalf("rolebustest: %s: %v", p.name, err)
	}
}

// Stop ends the process as a planned restart does, and returns when it has: its buses say goodbye, and what its server leads is led by others
// before it stops. It stays a member, see [embedded.ClusterServer.Close]. A process that does not run is left alone.
func (p *Process) Stop() {
	p.tb.Helper()
	if err := p.end(false); err != nil {
		p.tb.Fatalf("rolebustest: %s: %v", p.name, err)
	}
}

// Start starts the process again, with its name, its ports and what it stored, and returns when it listens for the others. It then still has to find
// out what it is: see [SelfFormed.WaitReady]. A process that runs is left alone.
func (p *Process) Start() {
	p.tb.Helper()
	if err := onOwnPort(p.start); err != nil {
		p.tb.Fatalf("rolebustest: %s again: %v", p.name, err)
	}
}

// Leave has the process leave for good, as [embedded.ClusterServer.Leave] does: its buses say goodbye, it waits until another has its place, at most
// 15 seconds, and what its server stores and leads is handed on. It returns when the process has ended. Its store is empty then, and
// [Process.Start] makes it a blank process. A process that does not run is left alone. If it cannot leave within a minute the test has failed.
func (p *Process) Leave() {
	p.tb.Helper()
	cluster := p.running()
	if cluster == nil {
		return
	}
	p.closeBuses(false)
	ctx, cancel := context.WithTimeout(p.tb.Context(), leavePatience)
	defer cancel()
	err := cluster.Leave(ctx)
	if ended := p.end(false); err == nil {
		err = ended
	}
	if err != nil {
		p.tb.Fatalf("rolebustest: %s: %v", p.name, err)
	}
}

// Freeze lets nothing in or out any more, and closes nothing: neither what the processes tell each other, nor what servers and clients do, also
// of the process's own clients to its own server. So does SIGSTOP, or a network that is dead, except that here the timers of the process run
// on. It lasts until [Process.Thaw], also while the process is stopped and started.
func (p *Process) Freeze() {
	p.tb.Helper()
	p.fleet.befall(func(all []*ends) { all[p.place].frozen = true })
}

// Thaw ends [Process.Freeze]: what was held flows on.
func (p *Process) Thaw() {
	p.tb.Helper()
	p.fleet.befall(func(all []*ends) { all[p.place].frozen = false })
}

// Replace kills the process, if it runs, and starts another one in its stead, which has another name and an empty store: as when a machine is
// lost, and there is a new one. It returns the new one, which has the old one's place among [SelfFormed.Processes]; the old one is not to be started
// again. In the cluster a spare has its place after the grace, the new one if there is no other: see [SelfFormed.WaitReady].
func (p *Process) Replace() *Process {
	p.tb.Helper()
	p.Kill()
	return p.fleet.add(func(another *Process) {
		i := slices.Index(p.fleet.processes, p)
		p.fleet.processes[i] = another
	})
}

// start starts it, if it does not run.
func (p *Process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cluster != nil {
		return nil
	}
	if err := p.fleet.ways.befall(func(all []*ends) { all[p.place].down = false }); err != nil {
		return err
	}
	cluster, err := embedded.Cluster(context.Background(), strategy(p.fleet.discover), p.fleet.options(p)...)
	if err != nil {
		return err
	}
	p.cluster, p.buses = cluster, nil
	return nil
}

// end stops it, if it runs.
func (p *Process) end(killed bool) error {
	p.closeBuses(killed)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cluster == nil {
		return nil
	}
	err := p.cluster.Close()
	p.cluster, p.last = nil, p.cluster
	return errors.Join(err, p.fleet.ways.befall(func(all []*ends) { all[p.place].down = true }))
}

// closeBuses closes the buses of this life. Those of a process that was killed have no time for a goodbye.
func (p *Process) closeBuses(killed bool) {
	p.mu.Lock()
	buses := p.buses
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), goodbyePatience)
	defer cancel()
	if killed {
		cancel()
	}
	var wg sync.WaitGroup
	for _, b := range buses {
		wg.Go(func() { _ = b.Shutdown(ctx) }) // one that the test has cut off cannot say goodbye
	}
	wg.Wait()
}

func (p *Process) running() *embedded.ClusterServer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cluster
}

func (p *Process) mustRun(what string) *embedded.ClusterServer {
	p.tb.Helper()
	cluster := p.running()
	if cluster == nil {
		p.tb.Fatalf("rolebustest: %s of %s: it does not run", what, p.name)
	}
	return cluster
}

// strategy is a function that finds.
type strategy func(ctx context.Context, found func([]rolebus.Address, error)) error

// Discover finds.
func (s strategy) Discover(ctx context.Context, found func([]rolebus.Address, error)) error {
	return s(ctx, found)
}
