package rolebus

import (
	"time"
)

func (w *fleet) fireNow(node string) {
	key := [2]string{modelScope, node}
	w.fakeBucket.mu.Lock()
	l := w.leases[key]
	w.fakeBucket.mu.Unlock()
	if l != nil {
		l.timer.Stop()
		w.tell("the switch of %s fires", node)
		w.fire(key, l)
	}
}

// fireLate lets a node's switch fire as if it had been due long ago.
func (w *fleet) fireLate(node string) {
	w.fakeBucket.mu.Lock()
	if l := w.leases[[2]string{modelScope, node}]; l != nil {
		l.c.due = time.Now().Add(-2 * maxLate)
	}
	w.fakeBucket.mu.Unlock()
	w.fireNow(node)
}

// buriedAgain is a node that is buried late, twice. Somebody does not hear what it says in between.
func buriedAgain(w *fleet) {
	w.sync = time.Minute
	all := w.staff(3)
	w.calm()
	w.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	p, q := all[0], all[1]
	w.fault("%s is buried late", p.label())
	began := time.Now()
	w.fireLate(p.Name())
	w.setLoss(q, true)
	q.disturb("does not hear what is announced from now on")
	w.sleep(time.Until(began.Add(w.grace - 200*time.Millisecond)))
	w.setLoss(q, false)
	p.disturb("is cut off for a moment")
	p.link.setCut(true)
	w.fault("it is buried late again")
	w.fireLate(p.Name())
	w.sleep(w.between(500*time.Millisecond, time.Second))
	p.link.setCut(false)
	p.disturb("is back")
	w.sleep(w.grace)
}

// wrongBurials is a server whose clock is wrong: it buries one live node after another. Who was buried before knows better.
func wrongBurials(w *fleet) {
	all := w.staff(3)
	w.calm()
	w.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	until := time.Now().Add(time.Minute)
	w.mu.Lock()
	for _, p := range w.processes {
		p.gullible = until
	}
	w.mu.Unlock()
	for _, p := range all {
		w.fault("the server buries %s", p.label())
		w.mu.Lock()
		p.gullible = time.Time{}
		w.mu.Unlock()
		w.fireNow(p.Name())
		w.sleep(w.between(10*time.Millisecond, 2*time.Second))
	}
	w.sleep(beatAtMost)
}

// forgedSchedules are aimed at the records of others by somebody who may write to his own lease only.
func forgedSchedules(w *fleet) {
	all := w.staff(2)
	w.calm()
	for range 1 + w.rng.IntN(3) {
		victim := anyOf(w.rng, all...)
		c := change{node: victim.Name(), id: life{victim.own() + w.rng.Uint64N(2), 1 + w.rng.Uint64N(2000)}, due: time.Now()}
		c.kind = anyOf(w.rng, kindState, kindLeft, kindExpired)
		w.fault("somebody's schedule writes %s over the record of %s", c.kind, victim.label())
		w.fakeBucket.mu.Lock()
		key := [2]string{modelScope, c.node}
		generation := w.fakeBucket.store(modelScope, c, fakeSubjects.lease(modelScope, "mallory"))
		w.records[key] = fakeRecord{change{}, generation} // what decoding makes of it
		w.fakeBucket.mu.Unlock()
		w.sleep(w.between(0, 2*beatAtMost))
	}
}
