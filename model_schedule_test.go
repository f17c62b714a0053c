package rolebus

import (
	"fmt"
	"maps"
	"slices"
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
	{"everybody is frozen", allFrozen},
	{"one is cut off, or frozen", oneAway},
	{"an acknowledgement and an announcement are lost", leaderDies},
	{"announcements are lost", lostAnnouncements},
	{"a bucket is made anew, unheard", unheardReset},
	{"one that cannot write reconnects", mutedReconnects},
	{"the bucket is wiped", wiped},
	{"the store goes back", goesBack},
	{"the store goes back and forgets what it announced", forgetsAnnounced},
	{"a generation is given twice", generationTwice},
	{"a restart under the same name", restarts},
	{"a heartbeat of the life before comes in between", lateHeartbeat},
	{"death between two requests", diesBetween},
	{"a burst of changes", burst},
	{"the server buries the living", wrongBurials},
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

func (w *fleet) someChange() { w.somebody().want(w.someRoles()...) }

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
	if until := w.switchOf(a.NodeName()); w.variant(2) == 0 {
		w.sleep(until - w.between(500*time.Millisecond, 3*time.Second))
		w.fault("writes are taken again, not those of %s", a.label())
		a.link.setCut(true)
		refuse(false)
		w.sleep(w.switchOf(a.NodeName()) + w.between(time.Millisecond, 2*time.Second))
		a.link.setCut(false)
	} else {
		w.sleep(until + w.between(0, modelTTL))
		refuse(false)
	}
	w.fault("writes are taken again")
	w.sleep(w.between(0, modelGrace))
}

// unequalOutage takes one process away first, just before it would beat, and then the others, just after they have.
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
	w.until(func() bool { return w.switchOf("b") > 9900*time.Millisecond })
	w.fault("nor of %s", b.label())
	b.link.cutWrites(true)
	w.sleep(w.switchOf("a") + w.between(0, modelTTL))
	w.fault("it takes all again")
	a.link.setCut(false)
	b.link.cutWrites(false)
	w.sleep(w.between(0, modelGrace))
}

// until waits for a moment that comes with each heartbeat.
func (w *fleet) until(now func() bool) {
	for end := time.Now().Add(modelTTL); !now() && time.Now().Before(end); {
		w.sleep(20 * time.Millisecond)
	}
}

func noLeader(w *fleet) {
	w.sync = time.Minute
	for _, node := range []string{"a", "b", "c"} {
		w.start(node, WithRoles("x"))
		w.sleep(w.between(0, modelTTL/3))
	}
	o := w.start("o", WithObserver(), WithTTL(time.Minute)) // asks seldom
	w.grace = o.opts.grace()
	for round := range 2 {
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
		if round > 0 && w.dueSoon() {
			w.gulls() // that what is in time follows on what is late is taken note of once in ten graces
		}
		w.fakeBucket.start()
		w.fault("there is a new leader")
		w.sleep(w.between(modelGrace, 2*modelGrace))
	}
}

// dueSoon says whether the switch of somebody who lives fires now, and not late enough to tell.
func (w *fleet) dueSoon() bool {
	return slices.ContainsFunc(w.running(false), func(p *process) bool {
		due := w.switchOf(p.NodeName())
		return due > -maxLate-time.Millisecond && due < 2*time.Second
	})
}

// gulls lets processes report others lost for a moment.
func (w *fleet) gulls() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.processes {
		p.gullible = time.Now().Add(2 * time.Second)
	}
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
			p.want(w.someRoles()...)
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

// leaderDies is a leader that stores a change and dies: neither the announcement nor the answer gets out.
func leaderDies(w *fleet) {
	w.staff(2)
	for range 1 + w.rng.IntN(2) {
		p := w.somebody()
		w.sleep(w.between(0, modelTTL/3))
		w.fault("the leader dies when it has stored the next change of %s", p.label())
		w.fakeBucket.mu.Lock()
		w.mute, p.link.deaf = true, true
		w.fakeBucket.mu.Unlock()
		roles := anyOf(w.rng, []Role{"p"}, []Role{"q"}, []Role{"r"})
		p.want(append(roles, w.someRoles()...)...)
		w.sleep(time.Millisecond)
		w.fakeBucket.mu.Lock()
		w.mute, p.link.deaf = false, false
		w.fakeBucket.mu.Unlock()
		w.fault("there is a new leader")
		w.expectSeen(p, beatAtMost)
		w.sleep(beatAtMost + time.Second)
	}
}

// expectSeen demands that everybody shows what a process wants, or wanted later, within a time.
func (w *fleet) expectSeen(p *process, within time.Duration) {
	for _, q := range w.running(true) {
		w.expect(expectation{invariant: missedIsFound, of: q, unmet: func() string {
			if got := q.Roles(p.NodeName()); !slices.Equal(got, p.wanted()) {
				return fmt.Sprintf("%s shows %s as %v, which wants %v", q.label(), p.label(), got, p.wanted())
			}
			return ""
		}}, within)
	}
}

func lostAnnouncements(w *fleet) {
	w.staff(2)
	for range 1 + w.rng.IntN(2) {
		q := anyOf(w.rng, w.running(true)...)
		q.disturb("hears nothing")
		w.setLoss(q, true)
		p := w.somebody()
		for p == q {
			p = w.somebody()
		}
		for range 1 + w.rng.IntN(3) {
			p.want(w.someRoles()...)
			w.sleep(10 * time.Millisecond)
		}
		p.want("lost")
		w.sleep(10 * time.Millisecond)
		syncs := 1
		if w.variant(2) == 0 { // something else is heard, and hides what is missing
			syncs = newerEvery
			w.setLoss(q, false)
			w.start("d").leave()
		}
		q.disturb("misses only what was announced so far")
		w.setLoss(q, false)
		w.expectSeen(p, time.Duration(syncs)*w.sync+2*time.Second)
		w.sleep(time.Duration(syncs)*w.sync + 3*time.Second)
		p.want("found")
		w.sleep(time.Second)
	}
}

// unheardReset is a bucket that is made anew while a process hears nothing: its count begins again.
func unheardReset(w *fleet) {
	all := w.staff(2)
	w.calm()
	p := anyOf(w.rng, all...)
	for _, q := range w.running(true) {
		w.setLoss(q, q != p)
	}
	w.tear("the bucket is made anew, and few hear what is written")
	w.wipe(true)
	p.want("y", "z")
	w.expectSeen(p, beatAtMost+w.sync+2*time.Second)
	w.sleep(beatAtMost + w.sync + 3*time.Second)
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
		if len(q.Roles("a")) != 1 || q.Roles("a")[0] != "missed" {
			return fmt.Sprintf("%s shows a as %v", q.label(), q.Roles("a"))
		}
		return ""
	}}, time.Second)
	w.sleep(2 * time.Second)
}

func (w *fleet) setLoss(p *process, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.link.loss = on
}

func (w *fleet) tear(format string, args ...any) {
	w.fault(format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.torn = time.Now()
}

func wiped(w *fleet) {
	all := w.staff(3)
	w.calm()
	dead := anyOf(w.rng, all...)
	kill := w.variant(2) == 0
	if kill {
		dead.crash()
	}
	switch w.variant(2) {
	case 0: // one record only, and nothing says so
		w.tear("the record of %s is purged", dead.NodeName())
		w.purge(dead.NodeName())
	default:
		reset := w.rng.IntN(2) == 0
		w.tear("the bucket is wiped; made anew: %v", reset)
		w.wipe(reset)
	}
	if w.variant(2) == 0 {
		w.nobodyCanWrite()
	}
	w.sleep(w.between(0, 2*time.Second))
	if w.rng.IntN(2) == 0 {
		w.someChange()
	}
	if kill {
		id := life{dead.own(), 1 << 62}
		for _, q := range w.running(true) {
			w.expect(expectation{invariant: boundedLoss, of: q, unmet: func() string { return q.stillShows(dead.NodeName(), id) }},
				wholeEvery*w.sync+modelGrace+modelTTL)
		}
		w.sleep(wholeEvery*w.sync + modelGrace + modelTTL)
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

func (w *fleet) purge(node string) {
	w.fakeBucket.mu.Lock()
	defer w.fakeBucket.mu.Unlock()
	key := [2]string{modelScope, node}
	if l := w.leases[key]; l != nil {
		l.timer.Stop()
	}
	delete(w.leases, key)
	delete(w.records, key)
}

// backup is a copy of the store.
type backup struct {
	seq     uint64
	records map[[2]string]fakeRecord
	leases  map[[2]string]change
}

func (w *fleet) backup() backup {
	w.fakeBucket.mu.Lock()
	defer w.fakeBucket.mu.Unlock()
	b := backup{seq: w.seq, records: maps.Clone(w.records), leases: map[[2]string]change{}}
	for key, l := range w.leases {
		b.leases[key] = l.c
	}
	w.tell("a copy of the store is made")
	return b
}

// restore brings the store back to a copy. A switch that was due meanwhile fires at once, if the server is up.
func (w *fleet) restore(b backup) {
	w.tear("the store goes back to a copy")
	w.fakeBucket.mu.Lock()
	defer w.fakeBucket.mu.Unlock()
	for _, l := range w.leases {
		l.timer.Stop()
	}
	clear(w.leases)
	w.seq, w.records = b.seq, maps.Clone(b.records)
	for key, c := range b.leases {
		l := &fakeLease{c: c}
		w.leases[key] = l
		l.timer = time.AfterFunc(time.Until(c.due), func() { w.fire(key, l) })
	}
}

func goesBack(w *fleet) {
	all := w.staff(3)
	w.someChange()
	w.sleep(w.between(0, time.Second))
	copied := w.backup()
	for range w.rng.IntN(5) {
		w.someChange()
		w.sleep(w.between(0, anyOf(w.rng, 500*time.Millisecond, modelTTL)))
	}
	if w.rng.IntN(3) == 0 {
		anyOf(w.rng, all...).crash()
		w.sleep(w.between(0, modelTTL))
	}
	if w.rng.IntN(3) == 0 {
		w.somebody().leave()
	}
	w.stop()
	w.sleep(w.between(0, modelTTL))
	w.restore(copied)
	w.sleep(time.Millisecond)
	w.restart()
	w.someChange()
	w.sleep(w.between(0, modelGrace))
}

// forgetsAnnounced is a server that buries a node, says so, and then forgets it.
func forgetsAnnounced(w *fleet) {
	all := w.staff(2)
	w.calm()
	a := anyOf(w.rng, all...)
	for _, p := range w.running(true) {
		w.mu.Lock()
		p.gullible = time.Now().Add(time.Second)
		w.mu.Unlock()
	}
	copied := w.backup()
	w.fault("%s is buried early", a.label())
	w.fireNow(a.NodeName())
	w.restore(copied)
	w.sleep(beatAtMost + time.Second)
	for _, q := range w.running(true) {
		w.expect(expectation{invariant: nothingLost, of: q, unmet: func() string {
			if q.Snapshot().named[a.NodeName()] == nil {
				return fmt.Sprintf("%s does not see %s", q.label(), a.label())
			}
			return ""
		}}, 0)
	}
	w.sleep(0)
}

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

// generationTwice is a store that goes back to just before a record, and gives that record's generation to the
// tombstone that comes of the older copy's switch, while nobody hears it. What is read comes from a replica that lags.
func generationTwice(w *fleet) {
	w.sync = time.Minute
	all := w.staff(2)
	a := anyOf(w.rng, all...)
	w.sleep(time.Second)
	copied := w.backup()
	a.want("again")
	w.sleep(w.between(time.Millisecond, 2*time.Second))
	long, lags, noticed := w.variant(2) == 0, w.variant(2) == 0, w.variant(2) == 0
	if !long {
		w.sleep(modelTTL)
		noticed = true // else nothing at all tells of it
	}
	if noticed {
		w.stop()
	} else {
		w.fault("the server hangs")
		w.fakeBucket.stop()
	}
	if long {
		w.sleep(w.between(modelTTL, 2*modelTTL))
	}
	replica := w.backup()
	w.fakeBucket.mu.Lock()
	w.mute = true
	for key := range copied.leases {
		if key[1] != a.NodeName() {
			delete(copied.leases, key) // else theirs may come first
		}
	}
	w.fakeBucket.mu.Unlock()
	w.restore(copied)
	if lags {
		w.mu.Lock()
		w.lagging = replica.records
		w.mu.Unlock()
		w.tell("a replica lags")
	}
	w.fakeBucket.start()
	for _, p := range w.running(true) {
		if noticed {
			p.flap(true)
		}
	}
	w.sleep(time.Millisecond)
	w.fakeBucket.mu.Lock()
	w.mute = false
	w.fakeBucket.mu.Unlock()
	w.fault("announcements are heard again")
	w.sleep(w.between(beatAtMost+time.Second, modelGrace))
}

func restarts(w *fleet) {
	w.staff(2)
	old := w.somebody()
	young := w.prepare(old.NodeName(), WithRoles("young"))
	switch w.variant(3) {
	case 0: // at the very same instant
		w.tell("%s is killed and started again", old.label())
		w.mu.Lock()
		old.alive = false
		w.mu.Unlock()
		old.link.kill()
		_ = old.Close()
	case 1: // the older runs on, and wants something else at that moment
		w.mu.Lock()
		young.link.latency, old.link.latency = 50*time.Millisecond, 50*time.Millisecond
		w.mu.Unlock()
		go func() {
			for range 20 {
				old.want(anyOf(young.link.rng, []Role{"p"}, []Role{"q"})...)
				time.Sleep(7 * time.Millisecond)
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
	young := w.prepare(old.NodeName(), WithRoles("young"))
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
		w.tear("the record of %s is purged", p.NodeName())
		w.purge(p.NodeName())
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

func (p *process) confirmedNow() error { return p.SetRoles(p.fleet.t.Context(), p.wanted()...) }

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
		w.fireNow(p.NodeName())
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
		c := change{node: victim.NodeName(), id: life{victim.own() + w.rng.Uint64N(2), 1 + w.rng.Uint64N(2000)}, due: time.Now()}
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
	w.tear("the bucket forgets that %s was there", b.NodeName())
	w.purge(b.NodeName())
	w.sleep(w.between(0, modelTTL))
	w.start(b.NodeName(), WithRoles("x"))
	w.sleep(time.Second)
}

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
					w.start(p.NodeName(), WithRoles("x"))
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
