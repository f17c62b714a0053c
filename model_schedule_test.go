package rolebus

import (
	"fmt"
	"time"
)

// schedule is a kind of trouble: what happens to a fleet, with the details left to chance.
type schedule struct {
	name string
	run  func(w *fleet)
}

var schedules = []schedule{
	{"changes and crashes", changesAndCrashes},
	{"an outage of the server", outages},
	{"writes are refused, and switches fire", refusedWrites},
	{"an outage that begins with one", unequalOutage},
	{"no leader, twice", noLeader},
	{"nothing is stored for a while", nothingStored},
	{"everybody is frozen", allFrozen},
	{"one is cut off, or frozen", oneAway},
	{"an acknowledgement and an announcement are lost", leaderDies},
	{"a change is announced and forgotten", tornChange},
	{"announcements are lost", lostAnnouncements},
	{"a bucket is made anew, unheard", unheardReset},
	{"one that cannot write reconnects", mutedReconnects},
	{"the bucket is wiped", wiped},
	{"a record is wiped twice", wipedTwice},
	{"the store goes back", goesBack},
	{"the store goes back and forgets what it announced", forgetsAnnounced},
	{"a generation is given twice", generationTwice},
	{"a restart under the same name", restarts},
	{"two processes join in another order", crossed},
	{"a heartbeat of the life before comes in between", lateHeartbeat},
	{"death between two requests", diesBetween},
	{"a burst of changes", burst},
	{"the server buries the living", wrongBurials},
	{"buried late, twice", buriedAgain},
	{"schedules of others", forgedSchedules},
	{"a clock that was ahead", clockAhead},
	{"any of it", mixed},
}

// variant returns a number below k, such that all combinations come up in the first runs of a schedule.
func (w *fleet) variant(k int) int {
	v := w.nth % k
	w.nth /= k
	return v
}

// between returns a time from a range.
func (w *fleet) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rng.Int64N(int64(to-from)+1))
}

func (w *fleet) somebody() *process { return anyOf(w.rng, w.running(false)...) }

func (w *fleet) someRoles() []Role {
	var roles []Role
	for _, role := range []Role{"x", "y", "z"} {
		if w.rng.IntN(2) == 0 {
			roles = append(roles, role)
		}
	}
	return roles
}

func (w *fleet) someChange() { w.somebody().wantSome() }

// wantSome makes the process want other roles, other metadata, or both at once.
func (p *process) wantSome() {
	w := p.fleet
	what := w.rng.IntN(3)
	if what != 0 {
		p.want(w.someRoles()...)
	}
	if what != 1 {
		p.wantMeta(anyOf(w.rng, nil, map[string]string{"zone": "b"}, map[string]string{"zone": "c", "load": fmt.Sprint(w.rng.IntN(100))}))
	}
}

// staff starts members a, b, c, ... and an observer.
func (w *fleet) staff(members int) []*process {
	var out []*process
	for i := range members {
		out = append(out, w.start(string(rune('a'+i)), WithRoles("x")))
	}
	w.start("o", WithObserver())
	w.sleep(w.between(0, modelTTL))
	return out
}

// calm waits until everybody believes the server.
func (w *fleet) calm() { w.sleep(modelGrace + beatAtMost + w.sync + w.between(0, modelTTL/3)) }

// switchOf returns when a node's switch is due, from now.
func (w *fleet) switchOf(node string) time.Duration {
	w.fakeBucket.mu.Lock()
	defer w.fakeBucket.mu.Unlock()
	if l := w.leases[[2]string{modelScope, node}]; l != nil {
		return time.Until(l.c.due)
	}
	return 0
}

// until waits for a moment that comes with each heartbeat.
func (w *fleet) until(now func() bool) {
	for end := time.Now().Add(modelTTL); !now() && time.Now().Before(end); {
		w.sleep(20 * time.Millisecond)
	}
}

func (w *fleet) setLoss(p *process, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.link.loss = on
}

func changesAndCrashes(w *fleet) {
	all := w.staff(3)
	for range 5 + w.rng.IntN(10) {
		w.someChange()
		w.sleep(w.between(0, 3*time.Second))
	}
	w.someChange()
	if w.rng.IntN(2) == 0 {
		w.sleep(w.between(0, time.Second))
	}
	anyOf(w.rng, all...).crash()
	w.sleep(modelTTL + time.Second)
	w.somebody().leave()
	w.sleep(time.Second)
}

// burst makes more changes than a lease reaches ahead, and a crash right after.
func burst(w *fleet) {
	all := w.staff(2)
	w.calm()
	p := anyOf(w.rng, all...)
	n := leaseAhead - 3 + w.rng.IntN(10)
	w.tell("%s changes %d times", p.label(), n)
	for i := range n {
		p.want(Role(fmt.Sprint(i)))
		if err := p.confirmedNow(); err != nil {
			w.t.Fatal(err)
		}
	}
	p.crash()
	w.sleep(modelTTL + time.Second)
}

func (p *process) confirmedNow() error { return p.SetRoles(p.fleet.t.Context(), p.wanted().roles...) }

// mixed is some of all that in a row, on one fleet.
func mixed(w *fleet) {
	w.staff(3)
	for range 3 + w.rng.IntN(4) {
		switch w.rng.IntN(6) {
		case 0:
			w.stop()
			w.sleep(w.between(0, 2*modelTTL))
			w.restart()
		case 1:
			reset := w.rng.IntN(2) == 0
			w.tear("the bucket is wiped; made anew: %v", reset)
			w.wipe(reset)
		case 2:
			copied := w.backup()
			w.sleep(w.between(0, 2*modelTTL))
			w.stop()
			w.restore(copied)
			w.sleep(w.between(0, modelTTL))
			w.restart()
		case 3:
			if len(w.running(false)) > 1 {
				p := w.somebody()
				p.crash()
				if w.rng.IntN(2) == 0 {
					w.start(p.Name(), WithRoles("x"))
				}
			}
		case 4:
			q := anyOf(w.rng, w.running(true)...)
			q.disturb("hears nothing")
			w.setLoss(q, true)
			w.someChange()
			w.sleep(w.between(0, time.Second))
			w.setLoss(q, false)
			q.disturb("hears again")
		case 5:
			for range w.rng.IntN(5) {
				w.someChange()
			}
		}
		w.sleep(w.between(0, modelTTL))
	}
}
