package embedded

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// world is a simulation of processes that form a cluster: the real brain of each, and models of all else: the network, discovery, asking, stores, and
// nats-server with its consensus (sim_server_test.go, sim_entries_test.go). Time is the world's own, and so is chance: a seed is one history, always the same.
//
//	machine (host, store, name) - process (brain, asks) - server (of the model)
type world struct {
	now      time.Time
	rng      *rand.Rand
	settings settings
	machines []*machine
	events   events
	serial   int // of events, instances

	delay time.Duration        // an answer's, at most
	loss  float64              // of questions that are never answered
	far   map[[2]int]bool      // machines between which an answer takes nearly as long as it is waited for
	slow  time.Duration        // a copy's to a new member, at most
	cuts  map[[2]*machine]bool // the first cannot dial the second

	groups   []*group
	linked   map[[2]*srv]time.Time // since when, or from when on
	breaks   breaks
	lossy    bool // more stores were lost at once than can be survived
	failure  string
	history  []string
	removals int
	pending  int // faults that are not over
}

// breaks are ways to break the brain, to show that what is checked can fail.
type breaks struct {
	orders func(p *proc, o order) (order, bool) // what is carried out in an order's stead
	hello  func(p *proc, h *hello)              // what is said
	status func(p *proc, s *status)             // what is known of the own server
	brain  func(b *brain)                       // before it decides
}

type machine struct {
	w      *world
	n      int
	host   string
	name   string
	disk   disk
	proc   *proc
	fixed  bool                   // the same ports in each life
	shown  map[*machine]time.Time // by discovery, from then on
	exists bool                   // its process is to run
	lives  int
	busy   bool // something goes wrong with it already
	gone   bool // it will be
}

type disk struct {
	saved *identity
	store *simStore
}

// proc is one life of a process.
type proc struct {
	m       *machine
	b       *brain
	own     *hello
	said    time.Time // when own was made
	status  status
	srv     *srv
	port    int
	route   int
	next    time.Time
	asks    map[contact]*simAsk
	frozen  bool
	late    []func() // what came while it was frozen
	leaving bool
	gone    bool
	told    []any
	twice   time.Time // since when another has its server's name
	stale   time.Time // since when it runs a store that was removed, and could know
}

type simAsk struct {
	next, last time.Time
	waits      bool
	fails      int
	open       bool // was never answered, nor failed
}

type event struct {
	at time.Time
	n  int
	do func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

const simTick = 50 * time.Millisecond

func newWorld(seed uint64, size int) *world {
	return &world{
		now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), rng: rand.New(rand.NewPCG(seed, 1)),
		settings: settings{fleet: "sim", size: size, settle: usualSettle, grace: 5 * time.Second, patience: 5 * time.Minute},
		delay:    50 * time.Millisecond, slow: time.Second, cuts: map[[2]*machine]bool{}, linked: map[[2]*srv]time.Time{},
	}
}

func (w *world) log(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf("%8.2f ", w.now.Sub(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, args...)
		w.log("FAILED: %s", w.failure)
	}
}

func (w *world) between(a, b time.Duration) time.Duration {
	if b <= a {
		return a
	}
	return a + time.Duration(w.rng.Int64N(int64(b-a)))
}

func (w *world) after(d time.Duration, do func()) {
	w.serial++
	heap.Push(&w.events, event{w.now.Add(d), w.serial, do})
}

// machine adds one on which no process runs yet.
func (w *world) machine(name string) *machine {
	m := &machine{w: w, n: len(w.machines), name: name, shown: map[*machine]time.Time{}, fixed: true}
	m.host = fmt.Sprintf("10.0.0.%d", m.n+1)
	w.machines = append(w.machines, m)
	return m
}

// show has discovery show one machine to another, from then on.
func (w *world) show(to, of *machine, at time.Time) { to.shown[of] = at }

func (m *machine) start() {
	w := m.w
	id := identity{name: m.name, phase: phaseSpare}
	if m.disk.saved != nil {
		id = m.disk.saved.afterRestart(m.disk.store != nil)
	}
	w.serial++
	m.lives++
	m.exists = true
	p := &proc{m: m, port: 6222, route: 7000, asks: map[contact]*simAsk{}, next: w.now}
	if !m.fixed {
		p.port, p.route = 10000+w.serial%20000, 30000+w.serial%30000
	}
	p.b = newBrain(w.now, w.settings, id, fmt.Sprintf("%08x", w.rng.Uint32()))
	p.b.nonce = fmt.Sprintf("%08x", w.rng.Uint32())
	m.proc = p
	p.own = w.helloOf(p)
	w.log("%s starts as %s, instance %s", m.name, p.b.phase, p.b.instance)
}

// stop ends the process, as SIGKILL does.
func (m *machine) stop() {
	if m.proc == nil {
		return
	}
	m.w.log("%s (%s) is gone", m.name, m.proc.b.instance)
	m.w.halt(m.proc)
	m.proc, m.exists = nil, false
}

// lose empties its store directory, whole.
func (m *machine) lose() { m.disk = disk{} }

func (m *machine) freeze() {
	if m.proc != nil {
		m.w.log("%s is frozen", m.name)
		m.proc.frozen = true
	}
}

func (m *machine) thaw() {
	if p := m.proc; p != nil && p.frozen {
		m.w.log("%s thaws", m.name)
		p.frozen, p.next = false, m.w.now
		for _, do := range p.late {
			do()
		}
		p.late = nil
	}
}

func (w *world) dials(a, b *machine) bool { return a == b || !w.cuts[[2]*machine{a, b}] }

// run lets time go by until it is over, or something is wrong.
func (w *world) run(d time.Duration) {
	w.until(d, func() bool { return false })
}

// until lets time go by until ok; it says whether that came.
func (w *world) until(d time.Duration, ok func() bool) bool {
	for end := w.now.Add(d); w.now.Before(end) && w.failure == ""; {
		if ok() {
			return true
		}
		w.now = w.now.Add(simTick)
		for len(w.events) > 0 && !w.events[0].at.After(w.now) {
			heap.Pop(&w.events).(event).do()
		}
		w.serve()
		for _, m := range w.machines {
			if p := m.proc; p != nil && !p.frozen && !w.now.Before(p.next) {
				w.step(p)
			}
		}
		w.check()
	}
	return ok()
}

func (w *world) step(p *proc) {
	p.status = w.statusOf(p)
	if w.breaks.status != nil {
		w.breaks.status(p, &p.status)
	}
	p.b.open = w.open(p)
	if w.breaks.brain != nil {
		w.breaks.brain(p.b)
	}
	phase, waits, refused := p.b.phase, p.b.waits, p.b.refused
	for _, o := range p.b.step(w.now, p.status) {
		if w.breaks.orders != nil {
			var ok bool
			if o, ok = w.breaks.orders(p, o); !ok {
				continue
			}
		}
		w.carryOut(p, o)
	}
	if p.b.phase != phase || p.b.waits != waits || p.b.refused != refused {
		w.log("%s is %s of %s, server %q, waits for %q", p.m.name, p.b.phase, p.b.cluster, p.b.server, p.b.waits)
	}
	p.own, p.said = w.helloOf(p), w.now
	w.ask(p)
	p.next = w.now.Add(stepEvery)
	if simSettled(p) {
		p.next = w.now.Add(stepSettled)
	}
	if p.leaving && p.b.going.gone {
		p.gone = true
		p.m.stop()
	}
}

func simSettled(p *proc) bool {
	b := p.b
	return b.waits == "" && !p.leaving && (b.phase == phaseMember && p.status.leader != "" || b.phase == phaseSpare && b.cluster != "" && b.proposal == "")
}

// leave has a process leave for good.
func (w *world) leave(p *proc) {
	w.log("%s is to leave", p.m.name)
	p.leaving, p.next = true, w.now
	p.b.goes(w.now)
	for _, o := range p.b.orders {
		w.carryOut(p, o)
	}
}

func (w *world) carryOut(p *proc, o order) {
	disk := &p.m.disk
	switch o.do {
	case doSave:
		id := p.b.identity
		id.members = slices.Clone(id.members)
		disk.saved = &id
	case doStart:
		w.halt(p)
		if o.fresh {
			disk.store = nil
		}
		w.startServer(p, o)
	case doEmpty:
		w.halt(p)
		disk.store = nil
	case doRoutes:
		if p.srv != nil {
			p.srv.routes = o.routes
		}
	case doRemove:
		w.remove(p, o)
	case doEvacuate:
		w.evacuate(p)
	case doStepDown:
		w.stepDown(p)
	case doTell:
		p.told = append(p.told, o.event)
		w.log("%s tells %T%+v", p.m.name, o.event, o.event)
	}
}

// helloOf is what loop.self says.
func (w *world) helloOf(p *proc) *hello {
	b := p.b
	h := &hello{
		Version: helloVersion, Fleet: b.fleet, Name: b.name, Instance: b.instance, Nonce: b.nonce, Size: b.size, Phase: b.phase,
		Port: p.port, RoutePort: p.route, Cluster: b.cluster, Server: b.server, Proposal: b.proposal, Refused: b.refused, Took: b.tookFor(w.now),
		Leader: p.status.leader, Lead: b.leading.lead, Going: b.going.began,
	}
	if b.phase == phaseFounding {
		h.Founders = slices.Clone(b.founders)
	}
	for _, peer := range p.status.peers {
		h.Peers = append(h.Peers, peer.name)
	}
	for _, o := range b.view.lately(w.now) {
		h.Others = append(h.Others, o.contact)
	}
	for _, c := range w.shown(p) {
		if b.phase == phaseSpare && b.cluster == "" && !slices.Contains(h.Others, c) {
			h.Others = append(h.Others, c)
		}
	}
	if w.breaks.hello != nil {
		w.breaks.hello(p, h)
	}
	return h
}
