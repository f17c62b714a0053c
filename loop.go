package rolebus

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// The scope's loop: the only writer of its snapshot.

// loop applies what is heard and read, one snapshot after another.
func (m *member) loop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var armed time.Time // for which the timer is set
	for {
		m.adopt() // before anything is decoded: what is of the fleet before must not count for this one
		select {
		case <-m.ctx.Done():
			return
		case msg := <-m.feed.messages:
			m.apply(news{changes: m.gather(msg)}, false)
		case r := <-m.readings:
			if r.began < m.scope.snap.Load().adopted {
				m.catcher.ask(asked{whole: true}) // again: it may be of another bucket
				break
			}
			m.apply(news{changes: r.changes, whole: r.whole, began: r.began, due: r.due, lapsed: r.lapsed, leases: r.leases}, true)
		case v := <-m.verdicts:
			// What was announced before it was asked comes first: a goodbye, say.
			n := news{verdicts: []verdict{v}}
			if len(m.feed.messages) > 0 {
				n.changes = m.gather(<-m.feed.messages)
			}
			m.apply(n, false)
		case w := <-m.voucher.words:
			m.vouched(w)
		case <-m.moved:
			m.apply(news{}, false)
			if !m.scope.snap.Load().stale.IsZero() {
				m.catcher.ask(asked{whole: true}) // once contact is back, a reading says so
			}
		case <-timer.C:
			armed = time.Time{}
			if now := time.Now(); m.scope.snap.Load().settles(now, m.trust.calm(now)) {
				m.catcher.ask(asked{whole: true})
			}
		}
		if due := m.scope.snap.Load().due; !due.IsZero() && due != armed {
			armed = due
			timer.Reset(max(time.Until(due), dueAgain))
		}
	}
}

// dueAgain is how often it is looked whether what is due can be settled, if the bus was not believed at first.
const dueAgain = 100 * time.Millisecond

// adopt makes the snapshot one of the fleet that this process belongs to now.
func (m *member) adopt() {
	snap := m.scope.snap.Load()
	now := time.Now()
	if next := snap.adopt(m.bus.fleet.current(), now); next != snap {
		m.scope.publish(next)
		if h := m.bus.hooks; h != nil && snap.fleet != "" { // else nothing was read yet
			h.tellSnapshot(snap, next, 0, now)
		}
	}
}

// gather decodes a message and those that wait behind it: a burst makes one snapshot.
func (m *member) gather(msg *nats.Msg) []change {
	var changes []change
	var newest time.Time
	m.bus.wake()
	heard := m.bus.machine.now() // all that is taken below was there by now
	for n := len(m.feed.messages); ; n-- {
		c, err := m.bus.store.decode(msg)
		var stranger *strangerError
		switch {
		case err == nil:
			changes = append(changes, c)
			m.catcher.announced.Store(true)
			m.catcher.hear(c.generation)
			if h := m.bus.hooks; h != nil {
				h.tellChange(m.scope.name, m.bus.clock, &c)
			}
			if c.stored.After(newest) {
				newest = c.stored
			}
		case errors.As(err, &stranger):
			m.bus.noise.skip() // who it is has been told, or is found out now
			if !m.bus.fleet.stranger(stranger.id) {
				m.catcher.ask(asked{stranger: stranger.id})
			}
		default:
			m.bus.noise.ignore(msg.Subject, err)
		}
		if n == 0 {
			m.bus.clock.hear(newest, heard) // before they are applied: an expired one may be wrong
			return changes
		}
		msg = <-m.feed.messages
	}
}

func (m *member) apply(n news, read bool) {
	m.bus.wake()
	now := time.Now()
	n.now, n.own, n.ttl = now, m.own.Load(), m.bus.opts.ttl
	snap := m.scope.snap.Load()
	if snap.outage(n.changes) {
		m.trust.suspect(now)
	}
	n.calm, n.followed = m.trust.calm(now), m.bus.clock.followed(now)
	next, gap := snap.apply(n)
	// Contact is back when the heartbeat says so and the bucket was read since.
	if since := m.trust.staleSince(now); since != next.stale && (read || !since.IsZero()) {
		next = next.withStale(since)
	}
	if m.arrives(n, next) {
		next = next.asJoined()
	}
	if next != snap {
		m.scope.publish(next)
		if h := m.bus.hooks; h != nil {
			h.tellSnapshot(snap, next, len(n.changes), now)
		}
	}
	if gap.whole || len(gap.nodes) > 0 {
		m.catcher.ask(asked{nodes: gap.nodes, whole: gap.whole, crowd: gap.whole})
	}
	m.vouch(gap.vouch, gap.doubted)
	m.compareTTLs(n.changes)
	if m.keeper != nil && n.own > 0 && m.disputed(n, next) {
		poke(m.keeper.nudge)
	}
	m.tellUnburied(n.lapsed, snap, next)
}

// disputed says whether the news speak of this node's own record as something else than what it wrote. The keeper is
// told of a tombstone's version, because others heard it, too, and the bucket may forget it before the keeper looks.
func (m *member) disputed(n news, now *Snapshot) bool {
	if n.lapsed[m.keeper.node] != "" {
		return true // somebody took the lease away
	}
	held := !n.whole
	for _, c := range n.changes {
		if c.node != m.keeper.node {
			continue
		}
		if c.id.incarnation == n.own && c.kind.isTombstone() {
			m.keeper.told.Store(max(m.keeper.told.Load(), c.id.version))
			m.lease.lose(time.Time{}, fmt.Errorf("%w: this node was buried", ErrLeaseLost))
			return true
		}
		if c.id.incarnation > n.own {
			return true
		}
		mine := now.named.get(m.keeper.node)
		held = held || mine != nil && c.id == mine.id
	}
	return !held
}

// farApart is how many times as long one TTL is as another before that is worth a word.
const farApart = 4

// compareTTLs tells once if somebody's TTL is very different from this process's: a slip, more often than not.
func (m *member) compareTTLs(changes []change) {
	own := m.bus.opts.ttl
	for _, c := range changes {
		if c.kind == kindState {
			m.bus.clock.mind(c.ttl)
		}
		if c.kind == kindState && !m.toldTTL && (c.ttl >= farApart*own || own >= farApart*c.ttl) {
			m.toldTTL = true
			m.bus.opts.log.Warn("a node has a very different TTL: how long it may be silent is counted in its own",
				"scope", m.scope.name, "node", c.node, "ttl", c.ttl, "own", own)
		}
	}
}
