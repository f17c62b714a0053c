package rolebus

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fleet is the model's world: real buses on a fake bucket, in bubble time, with faults between them. It knows what every
// owner wrote and who lives, and so what every snapshot may show.
type fleet struct {
	*fakeBucket
	t     *testing.T
	rng   *rand.Rand
	nth   int // which run of its schedule this is; variant uses it up
	began time.Time
	sync  time.Duration
	grace time.Duration // the longest that any process gives another

	gate sync.Mutex // one request at a time reaches the bucket

	mu        sync.Mutex
	processes []*process
	wrote     map[string]map[life]wanted // by node: every state that its owner ever tried to write
	expected  []expectation
	faults    int                      // so far
	faultAt   time.Time                // the last one
	torn      time.Time                // when the bucket last lost something by itself
	lagging   map[[2]string]fakeRecord // what a replica that lags has; nil if none does
	refusing  bool                     // no write of a client is taken, yet switches fire
	trace     []string
	broken    string // the first invariant that did not hold, and how
}

// process is one member of the fleet, as the operating system knows it.
type process struct {
	*Bus
	fleet *fleet
	link  *modelLink
	alive bool

	// guarded by fleet.mu
	seen     *Snapshot
	newest   map[string]life // the newest state shown of each node, also of those that went
	missing  time.Time       // since when the bucket has not had this process's record
	excused  time.Time       // to report it lost is right until then
	gullible time.Time       // it may report others lost until then: nothing tells it that the server is wrong
	faults   int             // of its own, so far
}

const (
	modelTTL   = 10 * time.Second
	modelGrace = modelTTL + modelTTL/3
	modelScope = "default"

	// beatAtMost is when a process that reaches the bucket has noticed what a heartbeat tells: the interval, and a retry.
	beatAtMost = modelTTL/3 + 1500*time.Millisecond
)

func newFleet(t *testing.T, rng *rand.Rand, nth int) *fleet {
	w := &fleet{
		fakeBucket: newFakeBucket(), t: t, rng: rng, nth: nth, began: time.Now(), grace: modelGrace,
		sync: anyOf(rng, time.Second, 7*time.Second, time.Minute), wrote: map[string]map[life]wanted{},
	}
	w.seq = 100
	return w
}

// start runs a process. It must have joined when start returns, unless its link kills it.
func (w *fleet) start(node string, opts ...Option) *process {
	w.t.Helper()
	p := w.prepare(node, opts...)
	if err := p.run(); err != nil && p.alive {
		w.t.Fatalf("%s does not start: %v", node, err)
	}
	return p
}

func (w *fleet) prepare(node string, opts ...Option) *process {
	o, err := newOptions(append([]Option{WithNode(node), WithTTL(modelTTL), WithSyncInterval(w.sync)}, opts...))
	if err != nil {
		w.t.Fatal(err)
	}
	p := &process{fleet: w, newest: map[string]life{}, alive: true}
	p.link = &modelLink{
		fakeLink: w.link(), fleet: w, process: p, ended: make(chan struct{}), rng: rand.New(rand.NewPCG(w.rng.Uint64(), 0)),
	}
	p.Bus = newBus(o, newNoise(o.log), p.link)
	p.link.identity = p.Bus.fleet
	p.link.look()
	p.seen = p.Snapshot()
	w.mu.Lock()
	w.processes = append(w.processes, p)
	w.mu.Unlock()
	w.t.Cleanup(func() {
		p.link.thaw()
		p.link.kill()
		_ = p.Close()
		close(p.link.ended)
	})
	return p
}

func (p *process) run() error {
	go p.watch()
	err := p.open(p.fleet.t.Context(), false)
	p.fleet.tell("%s has joined: %v", p.label(), err)
	return err
}

func (p *process) label() string {
	if m := p.member.Load(); m != nil && m.keeper != nil {
		return fmt.Sprintf("%s(%d)", p.Name(), p.born())
	}
	return p.Name()
}

// born is the process's incarnation, in milliseconds of the bubble, which are easier to read.
func (p *process) born() int64 {
	if m := p.member.Load(); m != nil {
		return int64(m.own.Load()) - p.fleet.began.UnixMilli()
	}
	return 0
}

func (p *process) own() uint64 {
	if m := p.member.Load(); m != nil {
		return m.own.Load()
	}
	return 0
}

// crash ends a process without a goodbye. It is to be gone when its lease ends.
func (p *process) crash() {
	p.fleet.tell("%s crashes", p.label())
	p.fleet.mu.Lock()
	p.alive = false
	p.fleet.mu.Unlock()
	id := life{p.own(), 1 << 62}
	p.link.kill()
	_ = p.Close()
	p.fleet.expectGone(p.Name(), id)
}

// leave ends a process with a goodbye.
func (p *process) leave() {
	p.fleet.tell("%s leaves", p.label())
	p.fleet.mu.Lock()
	p.alive = false
	p.fleet.mu.Unlock()
	_ = p.Close()
}

// flap tells the process's client that the connection is lost, or is back.
func (p *process) flap(up bool) {
	p.mu.Lock()
	stays := slices.Collect(maps.Keys(p.stays))
	p.mu.Unlock()
	for _, m := range stays {
		if up {
			m.connected()
		} else {
			m.disconnected()
		}
	}
}

// want makes the process want to be something else, without waiting for it.
func (p *process) want(roles ...Role) {
	if m := p.member.Load(); m != nil && p.alive {
		p.fleet.tell("%s wants %v", p.label(), roles)
		_, _ = m.keeper.want.edit(func([]Role) []Role { return roleSet(roles) }, func(wanted) error { return nil })
	}
}

// wantMeta makes the process want other metadata, in every scope, without waiting for it.
func (p *process) wantMeta(meta map[string]string) {
	if p.alive && !p.opts.observer {
		p.fleet.tell("%s wants %v", p.label(), meta)
		_, _ = p.dress(meta)
	}
}

// wanted is what the process wants to be.
func (p *process) wanted() wanted {
	want, _, _ := p.member.Load().keeper.want.current()
	return want
}

func (w *fleet) tell(format string, args ...any) {
	line := fmt.Sprintf("%9.3f  ", time.Since(w.began).Seconds()) + fmt.Sprintf(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, line)
}

// violate takes note of an invariant that does not hold. Only the first counts. The caller does not hold w.mu.
func (w *fleet) violate(invariant, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violateLocked(invariant, format, args...)
}

func (w *fleet) violateLocked(invariant, format string, args ...any) {
	if w.broken == "" {
		w.broken = invariant + ": " + fmt.Sprintf(format, args...)
		w.trace = append(w.trace, fmt.Sprintf("%9.3f  %s", time.Since(w.began).Seconds(), w.broken))
	}
}

// fault takes note that something is not as it should be: bounds that hold for healthy servers do not count now.
func (w *fleet) fault(format string, args ...any) {
	w.tell(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults++
	w.faultAt = time.Now()
	for _, p := range w.processes {
		p.missing = time.Time{}
	}
}

func (p *process) disturb(format string, args ...any) {
	p.fleet.tell(p.label()+" "+format, args...)
	p.fleet.mu.Lock()
	defer p.fleet.mu.Unlock()
	p.faults++
	p.fleet.faultAt = time.Now()
}

// excuse allows others to report the process lost, for so long.
func (p *process) excuse(d time.Duration) {
	p.fleet.mu.Lock()
	defer p.fleet.mu.Unlock()
	p.excused = time.Now().Add(d)
}

// running returns the processes that live, observers among them if asked for.
func (w *fleet) running(observers bool) []*process {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*process
	for _, p := range w.processes {
		if p.alive && (observers || !p.opts.observer) {
			out = append(out, p)
		}
	}
	return out
}

// sleep lets time pass, and looks at the invariants meanwhile.
func (w *fleet) sleep(d time.Duration) {
	w.t.Helper()
	const step = 250 * time.Millisecond
	for end := time.Now().Add(d); ; {
		synctest.Wait()
		w.look()
		w.mustHold()
		left := time.Until(end)
		if left <= 0 {
			return
		}
		time.Sleep(min(left, step))
	}
}

func (w *fleet) mustHold() {
	w.t.Helper()
	w.mu.Lock()
	broken, trace := w.broken, w.trace
	w.mu.Unlock()
	if broken != "" {
		w.t.Fatalf("broken invariant: %s\n%s", broken, strings.Join(trace[max(0, len(trace)-100):], "\n"))
	}
}

func (w *fleet) show(id life) string {
	return fmt.Sprintf("%d.%d", int64(id.incarnation)-w.began.UnixMilli(), id.version)
}
