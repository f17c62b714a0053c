package rolebus

import (
	"sync"
	"time"
)

// A machine that sleeps takes its monotonic clock with it: Go's stands still meanwhile, and what is reckoned by it goes on as if
// nothing had been. The wall clock does not, but it can be set. So neither is believed alone: where they part, this process has
// slept, or somebody has set its clock. Which of the two is not to be known, and all that is reckoned by them is void.

// machine has the clocks of the machine that this process runs on.
type machine struct {
	wall func(now time.Time) time.Time // the wall clock's reading of a moment; tests have another
	nap  time.Duration                 // a machine that sleeps for less has not slept

	mu     sync.Mutex
	looked instant
}

// instant is a moment by both clocks.
type instant struct{ mono, wall time.Time }

// newMachine makes the one of a process with a TTL. A nap is half of what a lease has in reserve.
func newMachine(ttl time.Duration) *machine {
	m := &machine{wall: func(now time.Time) time.Time { return now.Round(0) }, nap: ttl / (2 * leaseReserve)}
	m.looked = m.now()
	return m
}

func (m *machine) now() instant {
	now := time.Now()
	return instant{mono: now, wall: m.wall(now)}
}

// apart returns by how much the wall clock went further than the monotonic one since an instant.
func (i instant) apart(since instant) time.Duration {
	return i.wall.Sub(since.wall) - i.mono.Sub(since.mono)
}

// slept says whether the two clocks have parted since an instant, by more than a nap and what a wall clock is slowed down or
// sped up by to be right again: at most half of a thousandth.
func (m *machine) slept(now, since instant) bool {
	return now.apart(since).Abs() > m.nap+now.mono.Sub(since.mono)/1000
}

// wakes says whether the clocks have parted since it was last asked: each sleep is told once, to do, before anybody else who asks
// goes on.
func (m *machine) wakes(do func(by time.Duration)) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, then := m.now(), m.looked
	m.looked = now
	if !m.slept(now, then) {
		return false
	}
	do(now.apart(then))
	return true
}

// watchMachine looks often enough to end a lease that is not certain any more before its reserve is used up. Whoever asks for a
// lease looks, too, and has it look at once.
func (b *Bus) watchMachine() {
	ticker := time.NewTicker(b.machine.nap)
	defer ticker.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-ticker.C:
		case <-b.parting:
		}
		b.wake()
	}
}

// wake makes a process that has slept sure of nothing until it has asked. It is called before anything is believed.
func (b *Bus) wake() {
	var by time.Duration
	if b.machine.wakes(func(d time.Duration) {
		by = d
		b.clock.drop()
		for _, m := range b.staying() {
			m.slept(by)
		}
	}) {
		b.opts.log.Warn("this machine has slept, or its clock was set: asking anew", "node", b.opts.node, "by", by)
		b.askAnew()
	}
}

func (m *member) slept(by time.Duration) {
	m.lease.lose(time.Time{}, errSlept)
	m.trust.sleep(by)
	poke(m.moved)
}

// askAnew has every stay ask what is so. It is called under none of the clocks' locks, which whoever heartbeats waits for.
func (b *Bus) askAnew() {
	for _, m := range b.staying() {
		m.connected()
	}
}

// awake takes note that this process has not slept, as its server says: it has missed nothing.
func (b *Bus) awake() {
	for _, m := range b.staying() {
		m.trust.wasAwake()
	}
}

// jumped takes note that the server's clock is ahead of what it should be, or behind: it was set, another server leads, or this
// machine stood still. If it is ahead, leases have ended before their owners could renew them; if it is behind, those that were
// armed lie too far ahead, until askAnew has them armed again.
func (b *Bus) jumped(by time.Duration) {
	if by <= 0 {
		return
	}
	now := time.Now()
	b.mu.Lock()
	b.ahead = now
	b.mu.Unlock()
	for _, m := range b.staying() {
		m.trust.shake(now)
		m.lease.shorten(by)
	}
}
