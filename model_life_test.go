package rolebus

import (
	"fmt"
	"time"
)

func restarts(w *fleet) {
	w.staff(2)
	old := w.somebody()
	young := w.prepare(old.Name(), WithRoles("young"))
	switch w.variant(3) {
	case 0: // at the very same instant
		w.tell("%s is killed and started again", old.label())
		w.mu.Lock()
		old.alive = false
		w.mu.Unlock()
		old.link.kill()
		_ = old.Close()
	case 1: // the older runs on, and wants something else at that moment; it may hear nothing of the younger
		w.setLoss(old, w.variant(2) == 0)
		w.mu.Lock()
		young.link.latency, old.link.latency = 50*time.Millisecond, 50*time.Millisecond
		w.mu.Unlock()
		pauses := make([]time.Duration, 20)
		for i := range pauses {
			pauses[i] = w.between(time.Millisecond, 400*time.Millisecond)
		}
		go func() {
			for i, pause := range pauses {
				old.want(Role(fmt.Sprint("p", i)))
				time.Sleep(pause)
			}
		}()
	}
	if err := young.run(); err != nil {
		w.t.Fatal(err)
	}
	w.sleep(w.between(beatAtMost+time.Second, modelTTL))
	if old.Err() == nil {
		w.violate(oneLife, "%s goes on beside a newer life", old.label())
	}
	w.mu.Lock()
	old.alive = false
	young.link.latency = 0
	w.mu.Unlock()
	w.sleep(w.between(0, modelTTL))
}

// lateHeartbeat lets the life before arm its lease between the new life's lease and its record. Then the new one dies.
func lateHeartbeat(w *fleet) {
	all := w.staff(2)
	w.calm()
	old := anyOf(w.rng, all...)
	young := w.prepare(old.Name(), WithRoles("young"))
	young.link.before = func() {
		poke(old.member.Load().keeper.nudge)
		time.Sleep(time.Millisecond)
	}
	if err := young.run(); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	old.alive = false
	w.mu.Unlock()
	young.crash()
	w.sleep(2 * modelTTL)
}

// diesBetween lets a process die after any of the requests by which it joins, or writes its record again.
func diesBetween(w *fleet) {
	all := w.staff(2)
	if w.variant(2) == 0 {
		p := w.prepare("d", WithRoles("x"))
		p.link.opsLeft = 4 + w.variant(4)
		p.run()
	} else {
		p := anyOf(w.rng, all...)
		w.tear("the record of %s is purged", p.Name())
		w.purge(p.Name())
		w.mu.Lock()
		p.link.opsLeft = 1 + w.variant(4)
		w.mu.Unlock()
		p.want("y")
		w.sleep(modelTTL)
	}
	w.sleep(modelTTL)
	for _, p := range w.processes {
		if !p.alive {
			_ = p.Close()
		}
	}
}

// clockAhead is a machine whose wall clock was ahead when the life before began; and a bucket that has forgotten the
// life before, which everybody remembers.
func clockAhead(w *fleet) {
	ahead := uint64(time.Now().Add(time.Hour).UnixMilli())
	c := change{kind: kindState, node: "a", id: life{ahead, 1}, roles: []Role{"old"}}
	w.ownerWrites(c)
	w.fakeBucket.mu.Lock()
	w.fakeBucket.store(modelScope, c, "")
	w.fakeBucket.mu.Unlock()
	l := w.link()
	_ = l.arm(w.t.Context(), modelScope, change{kind: kindExpired, node: "a", id: life{ahead, 1001}, due: time.Now().Add(modelTTL)}, w.seq)
	all := w.staff(2)
	w.calm()
	b := all[1]
	b.leave()
	w.tear("the bucket forgets that %s was there", b.Name())
	w.purge(b.Name())
	w.sleep(w.between(0, modelTTL))
	w.start(b.Name(), WithRoles("x"))
	w.sleep(time.Second)
}

// crossed are two processes of one name that join the same scopes at about the same time, in another order.
func crossed(w *fleet) {
	all := w.staff(2)
	old := anyOf(w.rng, all...)
	old.crash()
	old = w.start(old.Name(), WithRoles("old"))
	w.setLoss(old, true) // it learns of the younger by its next heartbeat only
	w.sleep(w.between(2*time.Millisecond, 20*time.Millisecond))
	young := w.start(old.Name(), WithRoles("young"))
	join := func(p *process, scope string) {
		time.Sleep(w.between(2*time.Millisecond, 20*time.Millisecond))
		_, err := p.Join(w.t.Context(), scope)
		w.tell("%s joins %s: %v", p.label(), scope, err)
	}
	join(young, "second")
	if w.variant(2) == 0 {
		join(old, "third")
	}
	join(old, "second")
	w.sleep(beatAtMost + time.Second)
	if old.Err() == nil {
		w.violate(oneLife, "%s goes on beside a newer life", old.label())
	}
	if err := young.Err(); err != nil {
		w.violate(oneLife, "%s is the newest life, and stops: %v", young.label(), err)
	}
	w.mu.Lock()
	old.alive = false
	w.mu.Unlock()
	w.sleep(time.Second)
}
