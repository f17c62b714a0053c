//go:build long

package nats_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/skew"
	"github.com/rolebus/rolebus/rolebustest"
)

// Real processes whose clocks are moved while they run: machines that sleep, machines that stand still, clocks that are set.

const (
	processMachine = "machine" // several nodes on one machine, which say how they are for every line that they read
	processHost    = "host"    // a server alone
)

func init() {
	otherProcesses[processMachine], otherProcesses[processHost] = runMachine, runHost
}

// condition is how the nodes of a machine are.
type condition struct {
	Left  []time.Duration // of each one's lease
	Ended []string        // why the context of each one's first lease is over, "" if it is not
	Lost  []string        // who was lost, in whose eyes and why, since it was last asked
	Seen  []int           // how many nodes each sees
}

func runMachine(in *bufio.Reader, cfg processConfig) error {
	if err := skew.Attach(); err != nil {
		return err
	}
	var mu sync.Mutex
	var lost []string
	var buses []*rolebus.Bus
	var leases []context.Context
	for i := range cfg.Nodes + 1 {
		as := rolebus.WithRoles("process")
		if i == cfg.Nodes {
			as = rolebus.WithObserver() // it has no lease of its own that could tell it anything
		}
		b, err := rolebus.Connect(context.Background(), cfg.URL, rolebus.WithNode(fmt.Sprint(cfg.Node, "-", i)), rolebus.WithTTL(cfg.TTL),
			rolebus.WithSyncInterval(time.Second), as)
		if err != nil {
			return err
		}
		if i < cfg.Nodes {
			buses, leases = append(buses, b), append(leases, b.LeaseContext())
		}
		go func() {
			for ev := range b.Watch(context.Background()) {
				if ev.Kind == rolebus.NodeLeft {
					mu.Lock()
					lost = append(lost, fmt.Sprintf("%s lost %s, %s", b.Name(), ev.Node.Name(), ev.Reason))
					mu.Unlock()
				}
			}
		}()
	}
	fmt.Println("ready")
	for out := json.NewEncoder(os.Stdout); ; {
		if _, err := in.ReadString('\n'); err != nil {
			return nil
		}
		var c condition
		for i, b := range buses {
			c.Left, c.Seen = append(c.Left, b.LeaseLeft()), append(c.Seen, b.Nodes("process").Len())
			ended := ""
			if cause := context.Cause(leases[i]); cause != nil {
				ended = cause.Error()
			}
			c.Ended = append(c.Ended, ended)
		}
		mu.Lock()
		c.Lost, lost = lost, nil
		mu.Unlock()
		if err := out.Encode(c); err != nil {
			return err
		}
	}
}

func runHost(in *bufio.Reader, cfg processConfig) error {
	if err := skew.Attach(); err != nil {
		return err
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: cfg.Name, Host: "127.0.0.1", Port: cfg.Port, JetStream: true, StoreDir: cfg.Dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return err
	}
	srv.Start()
	if !srv.ReadyForConnections(30 * time.Second) {
		return errors.New("the server does not start")
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, in)
	return err
}

// ask returns how the nodes of a machine are.
func (p *process) ask(t *testing.T) (c condition) {
	t.Helper()
	_, err := io.WriteString(p.in, "\n")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(p.line(t)), &c))
	return c
}

func newClock(t *testing.T) *skew.Clock {
	t.Helper()
	c, err := skew.New(t.TempDir())
	require.NoError(t, err)
	return c
}

func startHost(t *testing.T, c *skew.Clock) (url string, p *process) {
	t.Helper()
	port := freePorts(t, 1)[0]
	p = startProcess(t, processHost, processConfig{Name: "host", Port: port, Dir: t.TempDir()}, c.Env())
	return fmt.Sprint("nats://127.0.0.1:", port), p
}

// A laptop sleeps: the network is not up yet when it wakes up, so nobody tells it that it was buried.
func TestAMachineThatSleptIsNotCertain(t *testing.T) {
	t.Parallel()
	for name, sleep := range map[string]func(*testing.T, *skew.Clock, *process){
		"asleep": func(t *testing.T, c *skew.Clock, p *process) { require.NoError(t, c.Sleep(p.cmd.Process, ttl)) },
		"frozen": func(t *testing.T, _ *skew.Clock, p *process) {
			p.freeze(t)
			time.Sleep(ttl)
			p.thaw(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := rolebustest.NewServer(t)
			provision(t, srv)
			o := bus(srv, "o", rolebus.WithObserver())
			link, clock := srv.Link(), newClock(t)
			p := startProcess(t, processMachine, processConfig{URL: link.URL(), Node: "n", Nodes: 1, TTL: ttl}, clock.Env())
			for range 3 {
				eventually(t, "the process", func() bool { return o.Nodes("process").Len() == 1 })
				eventually(t, "its lease", func() bool { return p.ask(t).Left[0] > 0 })
				link.Cut()
				sleep(t, clock, p)
				c := p.ask(t)
				require.Zero(t, c.Left[0], "it is the first thing that it does when it is awake")
				require.Contains(t, c.Ended[0], "lease lost")
				eventually(t, "it to be gone", func() bool { return o.Nodes("process").Len() == 0 })
				require.Zero(t, p.ask(t).Left[0])
				link.Mend()
			}
			eventually(t, "its lease", func() bool { return p.ask(t).Left[0] > 0 })
		})
	}
}

// A device that dozes for most of the time heartbeats whenever it is awake, and by the server's time as it is then.
func TestADeviceThatDozesKeepsItsPlace(t *testing.T) {
	t.Parallel()
	const ttl = 6 * time.Second
	srv := rolebustest.NewServer(t)
	provision(t, srv)
	o := srv.Bus(rolebus.WithNode("o"), rolebus.WithObserver(), rolebus.WithTTL(ttl), rolebus.WithProbeInterval(0))
	clock := newClock(t)
	p := startProcess(t, processMachine, processConfig{URL: srv.URL(), Node: "n", Nodes: 1, TTL: ttl}, clock.Env())
	eventually(t, "the process", func() bool { return o.Nodes("process").Len() == 1 })
	seen := watch(t, o.Scope)
	for range 5 {
		require.NoError(t, clock.Sleep(p.cmd.Process, ttl/2))
		eventually(t, "its lease, right after", func() bool { return p.ask(t).Left[0] > ttl*8/10 })
	}
	require.Zero(t, seen.count(rolebus.NodeLeft), "%v", seen.list())
}

// Somebody sets the clock of a machine, on and back, while it runs: that costs it one heartbeat, and nobody else anything.
func TestAWallClockIsSetWhileItRuns(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	provision(t, srv)
	o := bus(srv, "o", rolebus.WithObserver())
	clock := newClock(t)
	p := startProcess(t, processMachine, processConfig{URL: srv.URL(), Node: "n", Nodes: 2, TTL: ttl}, clock.Env())
	eventually(t, "the process", func() bool { return o.Nodes("process").Len() == 2 })
	seen := watch(t, o.Scope)
	for _, by := range []time.Duration{time.Hour, -2 * time.Hour, time.Hour, ttl, -ttl} {
		clock.Step(by)
		began := time.Now()
		eventually(t, "the leases", func() bool { c := p.ask(t); return c.Left[0] > 0 && c.Left[1] > 0 })
		t.Logf("set by %v: certain again after %v", by, time.Since(began))
	}
	for _, ended := range p.ask(t).Ended {
		require.Contains(t, ended, "slept, or its clock was set")
	}
	again := time.Now()
	eventually(t, "a lease more to pass", func() bool { return time.Since(again) > 2*ttl })
	require.Empty(t, p.ask(t).Lost)
	require.Zero(t, seen.count(rolebus.NodeLeft), "%v", seen.list())
}

// world is a server and machines with nodes, each with a clock that can be moved.
type world struct {
	url      string
	clocks   []*skew.Clock // the server's first
	all      []*process
	machines []*process
	nodes    int
}

func startWorld(t *testing.T, ttl time.Duration) *world {
	t.Helper()
	const machines, each = 4, 5
	w := &world{clocks: []*skew.Clock{newClock(t)}, nodes: machines * each}
	url, host := startHost(t, w.clocks[0])
	w.url, w.all = url, []*process{host}
	for i := range machines {
		c := newClock(t)
		p := startProcess(t, processMachine, processConfig{URL: url, Node: fmt.Sprint("m", i), Nodes: each, TTL: ttl}, c.Env())
		w.clocks, w.all, w.machines = append(w.clocks, c), append(w.all, p), append(w.machines, p)
	}
	// The server looks at the schedules when the first one is due that it knew of when it last looked: a short one has it look soon.
	metronome, err := rolebus.Connect(t.Context(), url, rolebus.WithNode("metronome"), rolebus.WithTTL(time.Second), rolebus.WithDefaultScope("elsewhere"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = metronome.Close() })
	w.settle(t)
	return w
}

// settle waits until all see all, and all are certain.
func (w *world) settle(t *testing.T) {
	t.Helper()
	for _, p := range w.machines {
		eventually(t, "everybody", func() bool {
			c := p.ask(t)
			for i := range c.Seen {
				if c.Seen[i] != w.nodes || c.Left[i] == 0 {
					return false
				}
			}
			return true
		})
	}
}

// lost returns who was lost in whose eyes since it was last asked.
func (w *world) lost(t *testing.T) (lost []string) {
	t.Helper()
	for _, p := range w.machines {
		lost = append(lost, p.ask(t).Lost...)
	}
	return lost
}

// atOnce does something to every process of the world.
func (w *world) atOnce(t *testing.T, do func(*skew.Clock, *os.Process) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i, p := range w.all {
		wg.Go(func() {
			if err := do(w.clocks[i], p.cmd.Process); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestTimeThatJumpsLosesNobody(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	jumps := map[string]func(*testing.T, *world, time.Duration){
		"the server's clock is set ahead": func(_ *testing.T, w *world, by time.Duration) { w.clocks[0].Step(by) },
		"the server's clock is set back":  func(_ *testing.T, w *world, by time.Duration) { w.clocks[0].Step(-by) },
		"everything sleeps": func(t *testing.T, w *world, by time.Duration) {
			w.atOnce(t, func(c *skew.Clock, p *os.Process) error { return c.Sleep(p, by) })
		},
		"everything stands still": func(t *testing.T, w *world, by time.Duration) {
			w.atOnce(t, func(_ *skew.Clock, p *os.Process) error { return p.Signal(syscall.SIGSTOP) })
			time.Sleep(by)
			w.atOnce(t, func(_ *skew.Clock, p *os.Process) error { return p.Signal(syscall.SIGCONT) })
		},
	}
	for name, jump := range jumps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := startWorld(t, ttl)
			for _, percent := range []time.Duration{75, 92} {
				w.lost(t)
				by := ttl * percent / 100
				jump(t, w, by)
				again := time.Now()
				eventually(t, "what follows", func() bool { return time.Since(again) > 2*ttl })
				w.settle(t)
				lost := w.lost(t)
				require.Empty(t, lost, "%v: %d of %d", by, len(lost), w.nodes*(w.nodes-1))
			}
		})
	}
}

// The server's clock is set back by an hour. Who dies then has a lease that ends in an hour, and is gone all the same; who lives has
// one soon that does not.
func TestTheServersClockIsSetBackByAnHour(t *testing.T) {
	t.Parallel()
	w := startWorld(t, ttl)
	w.clocks[0].Step(-time.Hour)
	w.machines[0].kill(t)
	w.machines = w.machines[1:]
	began := time.Now()
	w.nodes = 15
	w.settle(t)
	t.Logf("the dead are gone after %v", time.Since(began))
	eventually(t, "suspicion to have ended", func() bool { return time.Since(began) > 3*ttl })
	w.settle(t)
	nc, err := nats.Connect(w.url)
	require.NoError(t, err)
	defer nc.Close()
	joins, err := rolebus.Connect(t.Context(), w.url, rolebus.WithNode("joins"), rolebus.WithTTL(ttl)) // that is announced, with the time
	require.NoError(t, err)
	defer func() { require.NoError(t, joins.Close()) }()
	began = time.Now()
	eventually(t, "leases that end in time", func() bool {
		stream, err := jetStream(t, nc).Stream(t.Context(), "KV_rolebus")
		require.NoError(t, err)
		now := stream.CachedInfo().TimeStamp
		for i := 1; i < 4; i++ {
			for j := range 5 {
				m, err := stream.GetLastMsgForSubject(t.Context(), fmt.Sprintf("$KV.rolebus=lease.default.m%d-%d", i, j))
				require.NoError(t, err)
				due, err := time.Parse("@at "+time.RFC3339, m.Header.Get("Nats-Schedule"))
				require.NoError(t, err)
				if due.Sub(now) > 2*ttl {
					return false
				}
			}
		}
		return true
	})
	t.Logf("all leases end in time %v after somebody announced something", time.Since(began))
}
