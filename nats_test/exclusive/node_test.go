//go:build linux

package exclusive_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/internal/children"
)

// nameSpec is a name that the processes campaign for.
type nameSpec struct {
	Scope, Name string
	Seats       int
	Among       rolebus.Role
}

func (n nameSpec) String() string { return n.Scope + "/" + n.Name }

const (
	mainScope  = "main"
	otherScope = "other"
	worker     = rolebus.Role("worker")
)

// contested are the names of all runs. One is in two scopes, which have nothing to do with each other.
var contested = []nameSpec{
	{Scope: mainScope, Name: "leader"},
	{Scope: mainScope, Name: "lock"},
	{Scope: mainScope, Name: "cron job", Among: worker},
	{Scope: mainScope, Name: "pair", Seats: 2},
	{Scope: mainScope, Name: "trio", Seats: 3},
	{Scope: otherScope, Name: "leader"},
}

func (n nameSpec) seats() int { return max(n.Seats, 1) }

// nodeConfig is what a node process is told.
type nodeConfig struct {
	URLs, Node         string
	Ledger, Judge, Log string
	TTL                time.Duration
	Replicas           int
	Names              []nameSpec
}

// orders to a node, and what it says.
const (
	drainOrder = "drain" // shut down, which lets go first
	closeOrder = "close"

	joinedSaid = "joined"
)

const (
	connectPatience = 5 * time.Minute
	leavingPatience = 10 * time.Second
	superseded      = 3 // the exit code of one whose name a newer process has
)

// node is a process that campaigns for names.
type node struct {
	cfg    nodeConfig
	bus    *rolebus.Bus
	ledger *ledger
	eyes   *eyes
	pen    *pen
}

// openNode connects a process. If its name has been taken meanwhile it ends.
func openNode(in *bufio.Reader) (*node, error) {
	n := &node{eyes: &eyes{open: map[*entry]func() bool{}}}
	if err := children.ReadLine(in, &n.cfg); err != nil {
		return nil, err
	}
	var err error
	if n.ledger, err = openLedger(n.cfg.Ledger); err != nil {
		return nil, err
	}
	conn, err := net.Dial("unix", n.cfg.Judge)
	if err != nil {
		return nil, err
	}
	n.pen = &pen{conn: conn}
	log, err := os.OpenFile(n.cfg.Log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	go n.eyes.run()
	ctx, cancel := context.WithTimeout(context.Background(), connectPatience)
	defer cancel()
	n.bus, err = rolebus.Connect(ctx, n.cfg.URLs,
		rolebus.WithNode(n.cfg.Node), rolebus.WithDefaultScope(mainScope), rolebus.WithTTL(n.cfg.TTL), rolebus.WithReplicas(n.cfg.Replicas),
		rolebus.WithRoles(worker), rolebus.WithSyncInterval(time.Second), rolebus.WithNATS(
			nats.ReconnectWait(100*time.Millisecond), nats.ConnectHandler(func(*nats.Conn) { n.ledger.online() }),
			nats.ReconnectHandler(func(*nats.Conn) { n.ledger.online() }),
			nats.DisconnectErrHandler(func(*nats.Conn, error) { n.ledger.offline() }),
		),
		rolebus.WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{ReplaceAttr: byTheJudgesClock}))))
	if errors.Is(err, rolebus.ErrSuperseded) {
		os.Exit(superseded)
	}
	return n, err
}

// byTheJudgesClock has log lines tell the time that all processes share.
func byTheJudgesClock(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		a.Value = slog.Int64Value(int64(now()))
	}
	return a
}

// runNode is the main function of a node process.
func runNode(in *bufio.Reader) error {
	n, err := openNode(in)
	if err != nil {
		return err
	}
	go func() {
		<-n.bus.Done()
		switch {
		case errors.Is(n.bus.Err(), rolebus.ErrSuperseded):
			os.Exit(superseded)
		case !errors.Is(n.bus.Err(), rolebus.ErrClosed):
			fmt.Fprintln(os.Stderr, "the bus stopped:", n.bus.Err())
			os.Exit(1)
		}
	}()
	fmt.Println(joinedSaid)
	go n.campaign(mainScope)
	go func() {
		for n.bus.Err() == nil { // it is refused only while servers are not in a state to take it
			ctx, cancel := context.WithTimeout(context.Background(), connectPatience)
			err := n.bus.In(otherScope).AddRoles(ctx, worker)
			cancel()
			if err == nil {
				n.campaign(otherScope)
				return
			}
		}
	}()
	for {
		var order string
		if err := children.ReadLine(in, &order); err != nil {
			os.Exit(0) // the test is over
		}
		ctx, cancel := context.WithTimeout(context.Background(), leavingPatience)
		switch order {
		case drainOrder:
			err = n.bus.Shutdown(ctx)
		case closeOrder:
			err = n.bus.Close()
		}
		cancel()
		if errors.Is(err, rolebus.ErrSuperseded) || errors.Is(n.bus.Err(), rolebus.ErrSuperseded) {
			os.Exit(superseded)
		}
		os.Exit(0) // the servers may be down: a goodbye that could not be said is none of this test's business
	}
}

// campaign has the process want all names of a scope, until its bus stops: about half of them by Run, and the others by Campaign.
func (n *node) campaign(scope string) {
	for i, name := range n.cfg.Names {
		if name.Scope != scope {
			continue
		}
		opts := []exclusive.Option{exclusive.Seats(name.seats())}
		if name.Among != "" {
			opts = append(opts, exclusive.Among(name.Among))
		}
		if name.Seats == 0 && rand.IntN(2) == 0 {
			go n.byRun(i, name, opts)
		} else {
			go n.byCampaign(i, name, opts)
		}
	}
}

const again = 20 * time.Millisecond // is tried what ended for good, as long as the bus does not

func (n *node) byRun(i int, name nameSpec, opts []exclusive.Option) {
	s := n.bus.In(name.Scope)
	for ; n.bus.Err() == nil; time.Sleep(again) {
		err := exclusive.Run(n.bus.Context(), s, name.Name, func(ctx context.Context, token uint64) error {
			n.work(ctx, i, 0, token, func() bool { return s.LeaseLeft() > 0 && ctx.Err() == nil })
			return nil
		}, opts...)
		n.complain(err)
	}
}

func (n *node) byCampaign(i int, name nameSpec, opts []exclusive.Option) {
	s := n.bus.In(name.Scope)
	for ; n.bus.Err() == nil; time.Sleep(again) {
		ctx, cancel := context.WithCancel(n.bus.Context())
		if rand.IntN(4) == 0 { // some give up waiting, perhaps just when they have it
			time.AfterFunc(rand.N(2*time.Second), cancel)
		}
		t, err := exclusive.Campaign(ctx, s, name.Name, opts...)
		cancel()
		if err != nil {
			n.complain(err)
			continue
		}
		n.work(t.Context(), i, t.Seat(), t.Token(), func() bool { return t.Left() > 0 })
		if rand.IntN(3) > 0 {
			ctx, cancel := context.WithTimeout(n.bus.Context(), time.Second)
			_ = t.Resign(ctx) // or later
			cancel()
		} else {
			resigned, cancel := context.WithCancel(context.Background())
			cancel()
			_ = t.Resign(resigned) // without waiting for it
		}
	}
}

// complain tells of what should not end a campaign.
func (n *node) complain(err error) {
	if n.bus.Err() == nil && !errors.Is(err, context.Canceled) && !errors.Is(err, rolebus.ErrClosed) && !errors.Is(err, rolebus.ErrNotJoined) {
		fmt.Fprintln(os.Stderr, "a campaign ended:", err)
	}
}

// work is what is done in a term: a register is opened, and written to, again and again. Most give the name up by themselves.
func (n *node) work(ctx context.Context, name, seat int, token uint64, holds func() bool) {
	e := n.ledger.begin(name, seat, token)
	e.look(holds)
	n.eyes.watch(e, holds)
	defer n.eyes.rest(e)
	enough := time.Hour
	if rand.IntN(4) > 0 {
		enough = rand.N(3 * time.Second)
	}
	over := time.NewTimer(enough)
	defer over.Stop()
	r := request{Name: int64(name), Seat: int64(seat), Token: token}
	value, accepted := n.pen.ask(r)
	r.Write = true
	for accepted {
		r.Value = value + 1
		value, accepted = n.pen.ask(r)
		select {
		case <-time.After(10*time.Millisecond + rand.N(20*time.Millisecond)):
			continue
		case <-over.C:
		case <-ctx.Done():
		}
		break
	}
	if !accepted { // somebody else has a later term
		<-ctx.Done()
		return
	}
	if ctx.Err() != nil && rand.IntN(2) == 0 { // what was on its way when the term ended
		time.Sleep(rand.N(2 * time.Second))
		r.Value = value + 1
		n.pen.ask(r)
	}
}
