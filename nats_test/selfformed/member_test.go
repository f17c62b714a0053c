//go:build linux

package selfformed_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/embedded"
)

const (
	ttl          = 5 * time.Second
	clusterPort  = 6222
	tick         = 50 * time.Millisecond
	stallNoted   = 200 * time.Millisecond
	ending       = 30 * time.Second // a bus may take so long to say goodbye
	leaving      = 60 * time.Second // and a member to leave for good, with others before it
	connectAgain = 100 * time.Millisecond
)

// member is a process of the cluster, from within.
type member struct {
	cfg     config
	cluster *embedded.ClusterServer
	shown   shown
	log     *slog.Logger

	ctx    context.Context // of what it does by itself
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	bus    atomic.Pointer[rolebus.Bus]
	end    atomic.Bool
	saying sync.Mutex
}

// runChild is the main function of a child process.
func runChild() error {
	in := bufio.NewReaderSize(os.Stdin, 1<<16)
	m := &member{log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	if err := readLine(in, &m.cfg); err != nil {
		return err
	}
	orders := make(chan order, 4096)
	go func() {
		for {
			var o order
			if err := readLine(in, &o); err != nil {
				os.Exit(0) // the test is gone
			}
			orders <- o
		}
	}()
	go m.feelStalls()
	others := goleak.IgnoreCurrent()

	m.shown.changed = make(chan struct{}, 1)
	var err error
	m.cluster, err = embedded.Cluster(context.Background(), &m.shown, embedded.WithName(m.cfg.Name), embedded.WithHost(m.cfg.Host),
		embedded.WithStoreDir(m.cfg.Dir), embedded.WithSecret(m.cfg.Secret), embedded.WithSize(m.cfg.Size), embedded.WithGrace(m.cfg.Grace),
		embedded.WithClusterPort(clusterPort), embedded.WithPort(4222), embedded.WithRoutePort(6223), embedded.WithLogger(m.log), embedded.WithHooks(m))
	if err != nil {
		m.say(record{Kind: isProblem, Text: err.Error()})
		return err
	}
	m.say(record{Kind: isStarted})
	m.tasks.Go(m.tellState)
	if m.cfg.Bus {
		m.tasks.Go(m.use)
	}
	for o := range orders {
		switch o.Do {
		case doShow:
			m.shown.show(o)
		case doClose, doLeave:
			m.say(record{Kind: isEnding})
			m.say(record{Kind: isEnded, Call: o.Call, Text: m.finish(o.Do, others)})
			return nil
		default:
			m.tasks.Go(func() { m.answer(o) })
		}
	}
	return nil
}

func readLine(in *bufio.Reader, v any) error {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// say says what is so now, at once: this process may be killed.
func (m *member) say(r record) {
	m.saying.Lock()
	defer m.saying.Unlock()
	if r.At == 0 {
		r.At = now()
	}
	line, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.Write(append(line, '\n')) // without a test there is nobody to tell
}

// finish ends this process's part, and says what was wrong about that.
func (m *member) finish(how string, others goleak.Option) string {
	m.end.Store(true)
	m.cancel()
	m.tasks.Wait()
	var errs []error
	if b := m.bus.Load(); b != nil {
		if err := b.Close(); err != nil && !errors.Is(err, rolebus.ErrNotConfirmed) {
			errs = append(errs, fmt.Errorf("close the bus: %w", err))
		}
	}
	if how == doLeave {
		ctx, cancel := context.WithTimeout(context.Background(), leaving)
		defer cancel()
		if err := m.cluster.Leave(ctx); err != nil {
			errs = append(errs, fmt.Errorf("leave: %w", err))
		}
	}
	if err := m.cluster.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close: %w", err))
	}
	if err := goleak.Find(others); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return ""
	}
	return errors.Join(errs...).Error()
}

// feelStalls tells when this process did not run: it was frozen, or the machine had no time for it.
func (m *member) feelStalls() {
	for last := now(); ; {
		time.Sleep(tick)
		woke := now()
		if woke.since(last) > stallNoted {
			m.say(record{Kind: isStalled, At: woke, From: last})
		}
		last = woke
	}
}

// state is what a process says of the cluster.
type state struct {
	Part, Cluster, Leader, Waiting string
	Ready                          bool
	Members, Spares                []string // in order; of members the servers' names
	Silent                         []string // members that do not answer
}

// tellState tells it whenever it is another.
func (m *member) tellState() {
	ticks := time.NewTicker(tick / 2)
	defer ticks.Stop()
	told := ""
	for {
		c := m.cluster.State()
		s := &state{Part: string(c.Part), Cluster: c.Cluster, Leader: c.Leader, Waiting: c.Waiting, Ready: c.Ready}
		for _, p := range c.Members {
			s.Members = append(s.Members, p.Server)
			if !p.Live {
				s.Silent = append(s.Silent, p.Server)
			}
		}
		for _, p := range c.Spares {
			s.Spares = append(s.Spares, p.Name)
		}
		if text := fmt.Sprintf("%+v", *s); text != told {
			told = text
			m.say(record{Kind: isState, State: s})
		}
		select {
		case <-m.ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// What the cluster's hooks tell goes into the timeline.

func (m *member) OnFormed(e embedded.FormedInfo)       { m.event("formed", e) }
func (m *member) OnJoined(e embedded.JoinedInfo)       { m.event("joined", e) }
func (m *member) OnLeft(e embedded.LeftInfo)           { m.event("left", e) }
func (m *member) OnReplaced(e embedded.ReplacedInfo)   { m.event("replaced", e) }
func (m *member) OnRemoved(e embedded.RemovedInfo)     { m.event("removed", e) }
func (m *member) OnRefused(e embedded.RefusedInfo)     { m.event("refused", e) }
func (m *member) OnForgotten(e embedded.ForgottenInfo) { m.event("forgotten", e) }

func (m *member) event(what string, e any) {
	m.say(record{Kind: isEvent, Text: fmt.Sprintf("%s %+v", what, e)})
}

// shown is discovery, which shows what the test wants.
type shown struct {
	mu      sync.Mutex
	now     *order
	changed chan struct{}
}

func (s *shown) show(o order) {
	s.mu.Lock()
	s.now = &o
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *shown) Discover(ctx context.Context, found func([]rolebus.Address, error)) error {
	for {
		s.mu.Lock()
		o := s.now
		s.mu.Unlock()
		if o != nil {
			var err error
			if o.Fails != "" {
				err = errors.New(o.Fails)
			}
			list := []rolebus.Address{}
			for _, host := range o.Hosts {
				list = append(list, rolebus.Address{Host: host, Port: clusterPort, Route: true})
			}
			if err != nil && len(list) == 0 {
				list = nil
			}
			found(list, err)
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// use has a bus for as long as the process is there.
func (m *member) use() {
	online := func(nc *nats.Conn) { m.say(record{Kind: isOnline, Node: nc.ConnectedServerName()}) }
	offline := func(*nats.Conn, error) { m.say(record{Kind: isOffline}) }
	var bus *rolebus.Bus
	for said := ""; bus == nil; {
		var err error
		bus, err = m.cluster.Connect(m.ctx, rolebus.WithNode(m.cfg.Name), rolebus.WithTTL(ttl), rolebus.WithReplicas(m.cfg.Size), rolebus.WithLogger(m.log),
			rolebus.WithNATS(nats.ConnectHandler(online), nats.ReconnectHandler(online), nats.DisconnectErrHandler(offline)))
		switch {
		case err == nil:
		case m.ctx.Err() != nil:
			return
		default:
			if err.Error() != said {
				said = err.Error()
				m.say(record{Kind: isProblem, Text: "join: " + said})
			}
			time.Sleep(connectAgain)
		}
	}
	m.bus.Store(bus)
	own := bus.Snapshot().Node(m.cfg.Name)
	m.say(record{Kind: isJoined, Node: m.cfg.Name, Life: own.Incarnation()})
	m.tasks.Go(func() { m.watch(bus) })
	m.tasks.Go(func() { m.write(bus) })
	m.tasks.Go(func() {
		select {
		case <-bus.Done():
			m.say(record{Kind: isDead, Text: bus.Err().Error()})
		case <-m.ctx.Done():
		}
	})
}

// watch tells who comes and who goes, and for each life whether the context of work for it ends.
func (m *member) watch(bus *rolebus.Bus) {
	for ev := range bus.Watch(m.ctx) {
		n := ev.Node
		switch {
		case n.Name() == m.cfg.Name && ev.Kind == rolebus.NodeJoined:
		case ev.Kind == rolebus.NodeLeft:
			m.say(record{Kind: misses, Node: n.Name(), Life: n.Incarnation(), Text: ev.Reason.String()})
		case ev.Kind == rolebus.NodeJoined:
			m.say(record{Kind: sees, Node: n.Name(), Life: n.Incarnation()})
			work, done := bus.While(m.ctx, n)
			m.tasks.Go(func() {
				defer done()
				<-work.Done()
				if m.ctx.Err() == nil {
					m.say(record{Kind: isOver, Node: n.Name(), Life: n.Incarnation(), Text: context.Cause(work).Error()})
				}
			})
		}
	}
}
