package rolebus

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// stop makes the server unreachable, which every client notices.
func (w *fleet) stop() {
	w.fault("the server stops")
	w.fakeBucket.stop()
	for _, p := range w.running(true) {
		p.flap(false)
	}
}

// restart brings the server back; the clients follow, each in its own time.
func (w *fleet) restart() {
	w.fault("the server is back")
	w.fakeBucket.mu.Lock()
	for _, p := range w.running(true) {
		p.link.cut = true
	}
	w.fakeBucket.mu.Unlock()
	w.fakeBucket.start()
	all := w.running(true)
	w.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, p := range all {
		w.sleep(w.between(0, 1500*time.Millisecond))
		p.disturb("reconnects")
		p.link.setCut(false)
		p.flap(true)
	}
	w.fault("all are back")
}

func outages(w *fleet) {
	all := w.staff(3)
	for range 1 + w.rng.IntN(3) {
		if w.rng.IntN(3) == 0 && len(w.running(false)) > 1 {
			w.somebody().crash()
		}
		w.stop()
		w.someChange()
		until := anyOf(w.rng, w.switchOf("a"), w.switchOf("b"), w.between(0, 3*modelTTL))
		w.sleep(max(0, until+w.between(-time.Second, time.Second)))
		w.restart()
		w.sleep(w.between(0, 2*modelGrace))
	}
	_ = all
}

func refusedWrites(w *fleet) {
	all := w.staff(2)
	a, b := all[0], all[1]
	if w.rng.IntN(2) == 0 {
		a, b = b, a
	}
	for _, p := range w.running(true) {
		if p.opts.observer {
			p.crash() // it asks too seldom to notice this
		}
	}
	refuse := func(on bool) {
		w.mu.Lock()
		w.refusing = on
		w.mu.Unlock()
	}
	w.fault("writes are refused")
	refuse(true)
	// b gets through again before the switch of a fires, or long after; a after it fired.
	if until := w.switchOf(a.Name()); w.variant(2) == 0 {
		w.sleep(until - w.between(500*time.Millisecond, 3*time.Second))
		w.fault("writes are taken again, not those of %s", a.label())
		a.link.setCut(true)
		refuse(false)
		w.sleep(w.switchOf(a.Name()) + w.between(time.Millisecond, 2*time.Second))
		a.link.setCut(false)
	} else {
		w.sleep(until + w.between(0, modelTTL))
		refuse(false)
	}
	w.fault("writes are taken again")
	w.sleep(w.between(0, modelGrace))
}

// unequalOutage takes one process away first, just before it would beat, and then the others, just after they have. Their next
// heartbeat, which fails, comes before its switch fires: else nobody could tell its outage from its death.
func unequalOutage(w *fleet) {
	all := w.staff(2)
	a, b := all[0], all[1]
	for _, p := range w.running(true) {
		if p.opts.observer {
			p.crash() // it asks too seldom to notice this
		}
	}
	w.until(func() bool { return w.switchOf("a") < 7100*time.Millisecond })
	w.fault("the server takes nothing of %s", a.label())
	a.link.setCut(true)
	w.sleep(w.between(500*time.Millisecond, time.Second))
	tooLate := func() bool { return w.switchOf("a") < modelTTL/3+50*time.Millisecond }
	w.until(func() bool { return w.switchOf("b") > 9900*time.Millisecond || tooLate() })
	if !tooLate() {
		w.fault("nor of %s", b.label())
		b.link.cutWrites(true)
		w.sleep(w.switchOf("a") + w.between(0, modelTTL))
	}
	w.fault("it takes all again")
	a.link.setCut(false)
	b.link.cutWrites(false)
	w.sleep(w.between(0, modelGrace))
}

func noLeader(w *fleet) {
	w.sync = time.Minute
	for _, node := range []string{"a", "b", "c"} {
		w.start(node, WithRoles("x"))
		w.sleep(w.between(0, modelTTL/3))
	}
	o := w.start("o", WithObserver(), WithTTL(time.Minute)) // asks seldom
	w.grace = graceOf(o.opts.ttl)
	for range 2 {
		w.sleep(w.grace + o.opts.ttl/3 + w.between(0, modelTTL/3))
		w.fault("the leader dies")
		w.fakeBucket.mu.Lock()
		w.headless = true
		w.fakeBucket.mu.Unlock()
		// A new one comes when some switches are overdue, and others fall due.
		first, second := anyOf(w.rng, "a", "b"), "c"
		early, late := w.switchOf(first), w.switchOf(second)
		if early > late {
			early, late = late, early
		}
		until := early + w.between(1100*time.Millisecond, 3*time.Second)
		if w.rng.IntN(2) == 0 && late > early+1200*time.Millisecond {
			until = late - time.Millisecond
		}
		w.sleep(until)
		w.fakeBucket.start()
		w.fault("there is a new leader")
		w.sleep(w.between(modelGrace, 2*modelGrace))
	}
}

// nothingStored is a stream that has no leader, or one that stores nothing, until a lease has just run out: its switch
// fires in time.
func nothingStored(w *fleet) {
	w.sync = time.Minute
	w.staff(3)
	for range 2 {
		w.sleep(2*w.grace + modelTTL/3 + w.between(0, modelTTL/3))
		w.fault("nothing is stored any more")
		w.fakeBucket.mu.Lock()
		if w.variant(2) == 0 {
			w.stuck = true
		} else {
			w.headless = true
		}
		w.fakeBucket.mu.Unlock()
		w.sleep(min(w.switchOf("a"), w.switchOf("b"), w.switchOf("c")) + w.between(time.Millisecond, maxLate-10*time.Millisecond))
		w.fault("all is stored again")
		w.fakeBucket.start()
		w.sleep(w.between(0, modelTTL))
	}
}

// nobodyCanWrite is a bucket that can be read and not written for longer than a doubt lasts. All know of it.
func (w *fleet) nobodyCanWrite() {
	w.fault("nobody can write")
	w.fakeBucket.mu.Lock()
	w.headless = true
	w.fakeBucket.mu.Unlock()
	for _, p := range w.running(true) {
		p.flap(false)
		p.flap(true)
	}
	w.sleep(w.between(0, 2*modelGrace))
	w.fakeBucket.start()
	w.fault("there is a leader again")
}

func allFrozen(w *fleet) {
	all := w.staff(3)
	for _, p := range w.running(true) {
		if p.opts.observer {
			p.crash()
		}
	}
	w.fault("everybody is frozen")
	for _, p := range all {
		p.link.freeze()
	}
	w.sleep(w.between(modelTTL, 2*modelTTL))
	w.fault("everybody runs again")
	for _, p := range all {
		p.link.thaw()
	}
	w.sleep(w.between(0, modelGrace))
}

func oneAway(w *fleet) {
	w.staff(3)
	for range 1 + w.rng.IntN(3) {
		w.someChange()
		p := w.somebody()
		d := w.between(0, modelTTL/3)
		if w.rng.IntN(2) == 0 {
			d = w.between(modelTTL, 2*modelTTL)
			p.excuse(d + 2*time.Second)
		}
		noticed := w.rng.IntN(2) == 0
		if frozen := w.rng.IntN(2) == 0; frozen {
			p.disturb("is frozen")
			p.link.freeze()
			w.sleep(d)
			p.link.thaw()
			p.disturb("runs again")
		} else {
			p.disturb("is cut off")
			p.link.setCut(true)
			if noticed {
				p.flap(false)
			}
			p.wantSome()
			w.sleep(d)
			p.disturb("is back")
			p.link.setCut(false)
			if noticed {
				p.flap(true)
			}
		}
		w.fault("")
		w.sleep(w.between(beatAtMost, modelGrace))
	}
}

// mutedReconnects is a process that can read and not write: it reconnects, and has missed something.
func mutedReconnects(w *fleet) {
	all := w.staff(2)
	p, q := all[0], all[1]
	q.excuse(time.Hour)
	w.fault("%s cannot write", q.label())
	q.link.cutWrites(true)
	w.sleep(w.between(modelTTL, 2*modelTTL))
	q.flap(false)
	w.setLoss(q, true)
	p.want("missed")
	w.sleep(w.between(10*time.Millisecond, time.Second))
	w.setLoss(q, false)
	q.disturb("reconnects")
	q.flap(true)
	w.expect(expectation{invariant: missedIsFound, of: q, unmet: func() string {
		if q.Roles("a").Len() != 1 || q.Roles("a").At(0) != "missed" {
			return fmt.Sprintf("%s shows a as %v", q.label(), q.Roles("a"))
		}
		return ""
	}}, time.Second)
	w.sleep(2 * time.Second)
}

// A leader whose replicas do not follow decides in time what it stores much later, and its tombstones bear the time of then.
// Who joins in between learns that it has stored nothing for long.
func TestAnObserverThatJoinsBelievesNoTombstonesThatWereHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		for _, node := range []string{"a", "b", "c"} {
			f.bus(t, node, WithRoles("x"))
		}
		time.Sleep(3 * fakeTTL)
		f.mu.Lock()
		f.stuck = true
		f.mu.Unlock()
		time.Sleep(fakeTTL + time.Second)
		o := f.bus(t, "o", WithObserver())
		seen := watchLog(t.Context(), o.Scope)
		require.Len(t, seen.take(), 6, "all are listed")
		f.start()
		time.Sleep(3 * fakeTTL)
		require.Empty(t, seen.take())
		require.Len(t, o.Nodes("x").Slice(), 3)
	})
}

// lateLink is a way to the bucket on which something happens right after the first question for the leader's pulse.
type lateLink struct {
	*fakeLink
	then func()
}

func (l *lateLink) pulse(ctx context.Context) (pulse, error) {
	p, err := l.fakeLink.pulse(ctx)
	if then := l.then; then != nil {
		l.then = nil
		then()
	}
	return p, err
}

// In a bucket in which nobody was for long, those who join at the same time take each other for no survivors of an outage.
func TestJoiningAtOnceIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		require.NoError(t, f.bus(t, "early").Close())
		time.Sleep(time.Hour)
		o, err := newOptions([]Option{WithNode("a"), WithRoles("x"), WithTTL(fakeTTL)})
		require.NoError(t, err)
		link := f.link()
		b := newBus(o, newNoise(o.log), &lateLink{link, func() {
			f.bus(t, "b", WithRoles("x"))
			f.bus(t, "c", WithRoles("x"))
		}})
		link.identity = b.fleet
		link.look()
		require.NoError(t, b.open(t.Context(), false))
		defer func() { _ = b.Close() }()
		require.Len(t, b.Nodes("x").Slice(), 3)
		require.Equal(t, forEver, b.member.Load().trust.calm(time.Now()))
	})
}

// A replica that lost its disk, or was damaged, lacks what the leader has.
func TestWhatOneReplicaLacksTakesNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		seen := watchLog(t.Context(), b.Scope)
		seen.take()
		b.link.mu.Lock()
		b.link.damaged = true
		b.link.mu.Unlock()
		time.Sleep(100 * fakeTTL)
		require.Empty(t, seen.take())
		require.NoError(t, a.Err())

		a.crash()
		f.wipe(false) // no tombstone: now the leader lacks it, too
		time.Sleep(30 * fakeTTL)
		require.Equal(t, []string{"RoleRemoved a x expired", "NodeLeft a expired"}, seen.take())
	})
}
