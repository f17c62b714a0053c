package embedded

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/found"
	hellos "github.com/rolebus/rolebus/internal/hello"
)

// loop is the one goroutine that decides and acts for a process's part in a cluster.
//
//	discovery -> asking -> hellos --\
//	        the others' hellos ------> view -> brain (pure) -> orders -> server, store
//	                own server ------/            \-> own hello, state
type loop struct {
	c        *ClusterServer
	ctx      context.Context
	cfg      *config
	log      *slog.Logger
	store    *store
	sec      *security
	listener net.Listener // of hellos
	brain    *brain
	asking   *asking
	ways     *ways
	host     string // by which this process's server is reached from this machine

	own        atomic.Pointer[hello] // what is answered
	heard      chan heard
	discovered atomic.Pointer[[]contact]

	member    *running
	auth      *routeAuth
	ends      []route   // the others' routes
	routes    []route   // where the ways to them begin: what the server was told
	ownRoutes int       // how often its own route is among its server's
	problem   string    // why the server does not run
	kept      place     // of the identity that was written last
	unsaved   bool      // it is another one now, and could not be written
	full      bool      // the store is to be emptied, and could not be yet
	tried     time.Time // when it was last written
	status    status
	waited    string
	leader    string
	cannot    found.Complaints // what could not be done
	troubled  found.Complaints // what discovery failed with; of its goroutine only
	strangers sync.Mutex
	strange   found.Complaints // guarded by strangers
	gone      []chan error     // of Leave
	rescued   func(error)      // of a rescue
	companion *companion       // of its server, in a rescue
	looked    time.Time        // for the file that asks for one
}

// heard is a hello that came in.
type heard struct {
	from  net.Addr
	hello *hello
	at    time.Time
}

const (
	stepEvery   = 100 * time.Millisecond
	stepSettled = 500 * time.Millisecond
	clockApart  = time.Minute
	mostHeard   = 256
)

func newLoop(c *ClusterServer, ctx context.Context, st *store, id identity, sec *security, listener net.Listener) *loop {
	l := &loop{
		c: c, ctx: ctx, cfg: c.cfg, log: c.log, store: st, sec: sec, listener: listener,
		brain: newBrain(time.Now(), c.cfg.cluster.settings, id, randomText()),
		heard: make(chan heard, mostHeard), host: c.cfg.cluster.advertise,
	}
	if l.host == "" {
		l.host = loopback
	}
	l.ways = newWays(c.cfg.cluster.transport, c.log)
	asker := &hellos.Asker{Secrets: sec.secrets, Dial: l.ways.dial}
	if sec.cluster != nil {
		asker.TLS = sec.cluster.Client
	}
	l.asking = newAsking(ctx, asker, c.log)
	l.kept = place{cluster: id.cluster, server: id.server}
	l.own.Store(l.self())
	return l
}

// run is what the process does until ctx is over.
func (l *loop) run(strategy rolebus.Strategy, announces announcer, own rolebus.Address) {
	var wg sync.WaitGroup
	server := &hellos.Server{Secrets: l.sec.secrets, Answer: l.answer, Strange: l.stranger}
	if l.sec.cluster != nil {
		server.TLS = l.sec.cluster.Mutual()
	}
	wg.Go(func() { server.Serve(l.listener) })
	port := l.brain.ports.Hello
	wg.Go(func() { l.discover(strategy, port) })
	wg.Go(func() { l.sec.look(l.ctx) })
	open, shut := context.WithCancel(context.WithoutCancel(l.ctx)) // until the server has let others lead
	defer shut()
	wg.Go(func() { l.ways.run(open) })
	if announces != nil {
		wg.Go(func() { l.announce(announces, own) })
	}
	l.steps()
	l.alone()
	if l.member != nil {
		l.member.rest(context.Background(), l.log)
		l.member.stop()
	}
	server.Close()
	l.asking.close()
	shut()
	wg.Wait()
	l.c.err = l.store.close()
}

func (l *loop) steps() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			l.step(time.Now())
			pace := stepEvery
			if l.settled() {
				pace = stepSettled
			}
			timer.Reset(pace)
		case a := <-l.asking.answers:
			l.take(time.Now(), a)
		case h := <-l.heard:
			l.hear(h.at, contactOf(h.from), h.hello)
		case ask := <-l.c.commands:
			ask(l)
		case <-l.ctx.Done():
			return
		}
	}
}

// settled says whether there is nothing to wait for.
func (l *loop) settled() bool {
	b := l.brain
	return b.waits == "" && len(l.gone) == 0 && b.rescue == nil && (b.phase == phaseMember && l.status.leader != "" || b.phase == phaseSpare && b.cluster != "" && b.proposal == "")
}

// step looks, decides and acts.
func (l *loop) step(now time.Time) {
	for range mostHeard { // what came meanwhile, so that nothing is decided without it
		select {
		case a := <-l.asking.answers:
			l.take(now, a)
			continue
		case h := <-l.heard:
			l.hear(h.at, contactOf(h.from), h.hello)
			continue
		default:
		}
		break
	}
	l.status = status{problem: l.problem}
	if l.member != nil {
		l.status = l.member.status(l.brain.phase == phaseLeaving, l.brain.fellows(now))
		l.status.named(l.brain.peers)
	}
	if l.brain.rescue == nil && l.status.leader != "" {
		l.alone()
	}
	l.saveAgain(now)
	l.brain.open = l.asking.open(l.contacts())
	l.sec.names.Store(l.brain.names(l.host))
	for _, o := range l.brain.step(now, l.status) {
		l.carryOut(o)
	}
	l.reroute() // ways may have broken down
	l.renew(now)
	l.rescueOver()
	l.tell()
	l.ask(now)
	l.rescueByFile(now)
	if l.brain.going.gone {
		for _, gone := range l.gone {
			gone <- nil
		}
		l.gone = nil
	}
}

// contacts are those to be asked: the sure ones, and those of whom others told. This process, where it knows that, is none.
func (l *loop) contacts() (sure, told []contact) {
	if list := l.discovered.Load(); list != nil {
		sure = append(sure, *list...)
	}
	sure = append(sure, l.brain.members...)
	for _, o := range l.brain.view.others {
		told = append(told, o.contact)
		told = append(told, o.hello.Others...)
	}
	itself := func(c contact) bool { return c.Host == l.cfg.cluster.advertise && c.Port == l.brain.ports.Hello }
	return slices.DeleteFunc(sure, itself), slices.DeleteFunc(told, itself)
}

// ask asks those whose turn it is.
func (l *loop) ask(now time.Time) {
	sure, told := l.contacts()
	partners := map[contact]bool{}
	founders := namesOf(l.brain.founders)
	for _, o := range l.brain.view.others {
		if o.hello.Phase != phaseSpare && o.hello.Cluster == l.brain.cluster || slices.Contains(founders, o.hello.Name) {
			partners[o.contact] = true
		}
	}
	settled := l.settled()
	l.asking.step(now, sure, told, func(c contact) time.Duration {
		switch {
		case !settled && partners[c]:
			return askEvery
		case !settled:
			return unsettled(len(l.asking.asked))
		case partners[c]:
			return askSettled
		case l.brain.phase == phaseSpare:
			return askSeldom // they ask the members, as this one does
		}
		return askRarely
	}, l.own.Load().encode())
}

// tell lets others, users and hooks know what is.
func (l *loop) tell() {
	l.own.Store(l.self())
	l.c.publish(l.brain.state(time.Now(), l.status, l.own.Load()))
	if l.brain.waits != l.waited {
		l.waited = l.brain.waits
		l.c.hooks.tell(l.log, WaitingInfo{For: l.waited})
	}
	if l.brain.phase.serves() && l.status.leader != l.leader {
		l.leader = l.status.leader
		l.c.hooks.tell(l.log, LeaderInfo{Leader: l.leader})
	}
}

// self is what this process says of itself.
func (l *loop) self() *hello {
	b := l.brain
	h := &hello{
		Version: helloVersion, Fleet: b.fleet, Name: b.name, Instance: b.instance, Nonce: b.nonce, Size: b.size, Phase: b.phase,
		Time: time.Now().UTC(), Host: l.cfg.cluster.advertise, Port: l.brain.ports.Hello, RoutePort: l.brain.ports.Route,
		Cluster: b.cluster, Server: b.server, Proposal: b.proposal, Refused: b.refused, Took: b.tookFor(time.Now()),
		Leader: l.status.leader, Lead: b.leading.lead, Going: b.going.began,
		Peers: namesOfPeers(l.status.peers),
	}
	if l.member != nil {
		h.Accepts = l.auth.marks()
	}
	if b.phase == phaseFounding {
		h.Founders = b.founders
	}
	if l.member != nil {
		h.Client, h.Scheme = l.brain.ports.Client, "nats"
		if l.sec.clientTLS != nil {
			h.Scheme = "tls"
		}
	}
	for _, o := range b.view.lately(time.Now()) {
		if len(h.Others) < mostOthers {
			h.Others = append(h.Others, o.contact)
		}
	}
	if list := l.discovered.Load(); list != nil && b.phase == phaseSpare && b.cluster == "" { // who founds must have asked all whom anybody knows
		for _, c := range *list {
			if len(h.Others) < mostOthers && !slices.Contains(h.Others, c) {
				h.Others = append(h.Others, c)
			}
		}
	}
	return h
}
