package rolebus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// member is one stay in a scope, from join to leave. Its loop is the only writer of the scope's snapshot; its catcher
// reads the bucket for the loop; its keeper, which an observer has not, writes this node's own record. What the keeper
// writes comes back to the loop by the same road as everybody else's.
type member struct {
	scope   *Scope
	bus     *Bus
	feed    *feed
	trust   *trust
	catcher *catcher
	keeper  *keeper       // nil for an observer
	contact *contact      // an observer's runs; a member's is asked when the leader refuses a heartbeat
	lease   *lease        // of this node
	prober  *prober       // nil if it suspects nobody
	own     atomic.Uint64 // this node's incarnation in the scope, 0 before it has one
	outcome atomic.Int32  // of the join: see arrives and fails

	readings chan reading
	verdicts chan verdict
	voucher  voucher
	moved    chan struct{} // contact was lost or regained
	toldTTL  bool          // start, and then the loop: that TTLs differ was told
	told     bool          // whoever joins or leaves: hooks were told of the join
	retiring atomic.Bool   // no role is given any more: the scope is being left

	ctx     context.Context // over when the stay ends
	cancel  context.CancelFunc
	wg      sync.WaitGroup     // the loop, the catcher and what feeds it
	keeping sync.WaitGroup     // the keeper
	kctx    context.Context    // over when it begins to end
	stop    context.CancelFunc // of kctx
}

func newMember(s *Scope, want wanted) *member {
	b := s.bus
	m := &member{
		scope: s, bus: b,
		readings: make(chan reading), verdicts: make(chan verdict), voucher: voucher{words: make(chan word)}, moved: make(chan struct{}, 1),
	}
	m.lease = &lease{
		hooks: b.hooks, scope: s.name, machine: b.machine, parting: b.parting, sure: b.opts.ttl - b.opts.ttl/leaseReserve,
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.kctx, m.stop = context.WithCancel(m.ctx)
	m.trust = newTrust(time.Now(), 2*b.opts.ttl/3, graceOf(b.opts.ttl))
	if !b.ahead.IsZero() {
		m.trust.shake(b.ahead) // leases of this scope, too, may have ended before their owners could renew them
	}
	m.catcher = &catcher{
		store: b.store, scope: s.name, interval: b.opts.sync,
		snap: s.snap.Load, deliver: m.deliver, lives: m.lives, wake: make(chan struct{}, 1), hooks: b.hooks, silence: b.unannounced,
	}
	if b.opts.probe > 0 && b.peers != nil {
		m.prober = newProber(m)
	}
	m.contact = &contact{
		store: b.store, ttl: b.opts.ttl, trust: m.trust, moved: func() { poke(m.moved) }, wake: make(chan struct{}, 1),
		rhythm: m.rhythm, clock: b.clock, pace: b.pace,
	}
	if b.opts.observer {
		return m
	}
	m.keeper = &keeper{
		store: b.store, clock: b.clock, pace: b.pace, trust: m.trust, lease: m.lease, scope: s.name, node: b.opts.node, named: b.opts.origin(),
		ttl: b.opts.ttl, want: newIntent(want), nudge: make(chan struct{}, 1),
		moved: func() { poke(m.moved) }, last: &s.last, own: &m.own, lives: &b.lives, fleet: b.fleet.current, wall: time.Now,
		asks: m.contact, strip: b.undress, open: s.ears.open,
		hooks: b.hooks,
		log:   b.opts.log.With("scope", s.name, "node", b.opts.node),
	}
	return m
}

// What became of a join. Watchers begin with the snapshot that is joined, so it is decided once: a join of which that snapshot
// was seen has succeeded, whatever goes wrong after it.
const (
	joinBegun int32 = iota
	joinDone
	joinFailed
)

// arrives says whether a snapshot is the one with which the join completes.
func (m *member) arrives(n news, snap *Snapshot) bool {
	if snap.joined {
		return false
	}
	if m.keeper == nil {
		return n.whole && m.outcome.CompareAndSwap(joinBegun, joinDone)
	}
	mine := snap.named.get(m.keeper.node)
	return n.own > 0 && mine != nil && mine.id.incarnation >= n.own && m.outcome.CompareAndSwap(joinBegun, joinDone)
}

// fails makes the join fail, unless it has completed.
func (m *member) fails() bool { return m.outcome.CompareAndSwap(joinBegun, joinFailed) }

// start joins: it hears the announcements, loads the records, applies what was announced meanwhile, arms the lease and
// writes the record. It returns when the snapshot holds all of that; after an error the stay is to be given up.
func (m *member) start(ctx context.Context) (err error) {
	if m.keeper != nil {
		want, _, _ := m.keeper.want.current()
		if err := m.checkSize(want); err != nil {
			return err
		}
	}
	m.scope.publish(emptySnapshot(m.scope.snap.Load()))
	p, at, err := m.admit(ctx)
	if err != nil {
		return err
	}
	m.adopt()
	if err := m.listen(); err != nil {
		return err
	}
	if m.feed, err = m.bus.store.subscribe(ctx, m.scope.name); err != nil {
		return err
	}
	first, err := m.catcher.readTold(ctx, asked{newer: true, whole: true})
	if err != nil {
		return err
	}
	m.apply(news{changes: first.changes, whole: true, began: first.began, lapsed: first.lapsed, leases: first.leases}, true)
	if first.newest() > p.newest {
		p.quiet = 0 // something was stored since
	}
	m.trust.told(at.mono, p, m.rhythm())
	if len(m.feed.messages) > 0 {
		m.apply(news{changes: m.gather(<-m.feed.messages)}, false)
	}
	m.wg.Go(m.loop)
	m.wg.Go(func() { m.catcher.run(m.ctx) })
	m.wg.Go(m.hearDropped)
	if m.keeper == nil {
		m.wg.Go(func() { m.contact.run(m.ctx) })
	} else if err := m.takePlace(ctx); err != nil {
		return err
	}
	if m.prober != nil {
		m.wg.Go(func() { m.prober.run(m.kctx) }) // who leaves does not hear who else does
	}
	return nil
}

// giveUp ends a stay that did not come about. It does not take long: if the goodbye does not get through, the lease ends what was
// written.
func (m *member) giveUp(ctx context.Context) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.bus.pace.patience())
	defer cancel()
	defer context.AfterFunc(m.bus.patience, cancel)()
	_ = m.end(last, ctx, emptySnapshot)
}

// takePlace writes this node's record, and waits until the snapshot shows it.
func (m *member) takePlace(ctx context.Context) error {
	err := m.keeper.join(ctx)
	if errors.Is(err, ErrSuperseded) {
		m.bus.cancel(err)
	}
	if err != nil && m.fails() {
		return err
	}
	if err != nil {
		poke(m.keeper.nudge) // it was stored and is seen, though nobody said so to the keeper
	}
	m.keeping.Go(func() {
		if err := m.keeper.run(m.kctx); err != nil {
			m.bus.cancel(err)
		}
	})
	err = m.confirmed(ctx, m.keeper.want.place()) // with other metadata, perhaps, than the record was written with
	switch {
	case err == nil || !m.fails():
		return nil
	case ctx.Err() != nil:
		return ended(ctx) // a join that fails leaves nothing wanted
	}
	return err
}

// admit asks the stream's leader how it is, and when that was.
func (m *member) admit(ctx context.Context) (p pulse, at instant, err error) {
	err = calmly(ctx, m.bus.pace.way(), func() (err error) {
		at = m.bus.machine.now()
		p, err = m.bus.store.pulse(ctx)
		return err
	})
	if err == nil {
		m.bus.clock.tell(p.now, at)
	}
	return p, at, err
}

// rhythm returns the second shortest TTL in the scope: every third of it something is stored while all is well, also if the node
// with the shortest is dead. 0 if there are no two nodes.
func (m *member) rhythm() time.Duration {
	snap := m.scope.snap.Load()
	first, second := forEver, forEver
	for _, n := range snap.suspects {
		first, second = twoLeast(first, second, n.ttl)
	}
	for _, n := range snap.named.all() {
		first, second = twoLeast(first, second, n.ttl)
	}
	if second == forEver {
		return 0
	}
	return second
}

func twoLeast(first, second, more time.Duration) (time.Duration, time.Duration) {
	return min(first, more), min(second, max(first, more))
}

// listen starts to hear other processes: those who ask for this node, and those who suspect somebody.
func (m *member) listen() error {
	if m.bus.peers == nil {
		return nil
	}
	if m.keeper != nil {
		run, err := m.bus.peers.answer(m.scope.name, m.keeper.node, m.says)
		if err != nil {
			return err
		}
		m.wg.Go(func() { run(m.ctx) })
	}
	if m.prober != nil {
		run, err := m.bus.peers.hints(m.scope.name, m.prober.hear)
		if err != nil {
			return err
		}
		m.wg.Go(func() { run(m.ctx) })
	}
	return nil
}

// hearDropped has what the client dropped read.
func (m *member) hearDropped() {
	for {
		select {
		case _, ok := <-m.feed.dropped:
			if !ok {
				return
			}
			m.catcher.ask(asked{newer: true})
		case <-m.ctx.Done():
			return
		}
	}
}

func (m *member) deliver(ctx context.Context, r reading) {
	select {
	case m.readings <- r:
	case <-ctx.Done():
	}
}

// says is what this node answers to those who ask whether it is there: in which life, and whom it suspects, for them to
// check.
func (m *member) says() answer {
	if m.prober == nil {
		return answer{incarnation: m.own.Load(), passive: true}
	}
	return answer{incarnation: m.own.Load(), passive: !m.prober.mayAny(m.bus.opts.ttl), suspects: m.prober.suspects()}
}

// lives says whether a node answers, in a life.
func (m *member) lives(ctx context.Context, node string, incarnation uint64) bool {
	if m.bus.peers == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	a, err := m.bus.peers.probe(ctx, m.scope.name, node)
	return err == nil && a.incarnation == incarnation
}

func (m *member) judge(ctx context.Context, v verdict) {
	select {
	case m.verdicts <- v:
	case <-ctx.Done():
	}
}

// connected is called when the connection is back.
func (m *member) connected() {
	if m.kctx.Err() != nil {
		m.reassure() // who leaves wants to know no more than that the goodbye may get through now
		return
	}
	m.catcher.ask(asked{whole: true, crowd: true})
	m.reassure()
}

// speak tells the others that this node is there again: whoever has found that nobody listens for it asks it then.
func (m *member) speak() {
	if own := m.own.Load(); m.keeper != nil && own > 0 && m.bus.peers != nil {
		h := hint{node: m.keeper.node, incarnation: own, server: m.bus.peers.server(), back: true}
		_ = m.bus.peers.hint(m.scope.name, h) // if it is lost, it is found out soon
	}
}

// reassure has it found out whether there is contact.
func (m *member) reassure() {
	if m.keeper != nil {
		poke(m.keeper.nudge)
	} else {
		poke(m.contact.wake)
	}
}

// relocated is called when the bucket is another one.
func (m *member) relocated() {
	poke(m.moved) // so that the loop looks at which it is
	m.connected()
}

// disconnected is called when the connection is lost.
func (m *member) disconnected() {
	if m.trust.fail() {
		poke(m.moved)
	}
}

// emptySnapshot is what a stay begins with, and what is left of a scope that was left.
func emptySnapshot(snap *Snapshot) *Snapshot {
	next := newSnapshot(snap.scope, snap.self)
	next.serial, next.stay = snap.serial+1, snap.stay+1
	return next
}

// end says goodbye, see there for the contexts, stops and joins everything that the stay started, and publishes the snapshot
// that last makes of the scope's newest. It does not wait for the user's handler. An error says that the goodbye did not get
// through: others will see the node go when its lease ends.
func (m *member) end(ctx, again context.Context, last func(*Snapshot) *Snapshot) error {
	var err error
	began := time.Now()
	if cause := context.Cause(m.bus.ctx); cause != nil {
		m.lease.end(cause)
	} else {
		m.lease.end(ErrNotJoined)
	}
	m.stop()
	m.keeping.Wait()
	if m.feed != nil {
		m.feed.stop() // first: when all leave at once, nobody need hear everybody's goodbye
	}
	if m.keeper != nil {
		if err = m.keeper.goodbye(ctx, again); err != nil {
			err = fmt.Errorf("goodbye: %w: the lease will end it: %w", ErrNotConfirmed, err)
		}
	}
	m.scope.ears.close(m.bus.patience.Err() != nil)
	m.bus.forget(m) // so that nothing new begins
	m.cancel()
	m.wg.Wait()
	m.tellLeft(began, err)
	m.scope.publish(last(m.scope.snap.Load()))
	return err
}
