package rolebus

import (
	"fmt"
	"maps"
	"time"
)

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
		w.tear("the record of %s is purged", dead.Name())
		w.purge(dead.Name())
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
			w.expect(expectation{invariant: boundedLoss, of: q, unmet: func() string { return q.stillShows(dead.Name(), id) }},
				wholeEvery*w.sync+modelGrace+modelTTL)
		}
		w.sleep(wholeEvery*w.sync + modelGrace + modelTTL)
	}
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
	leases  map[[2]string]fakeLease
}

func (w *fleet) backup() backup {
	w.fakeBucket.mu.Lock()
	defer w.fakeBucket.mu.Unlock()
	b := backup{seq: w.seq, records: maps.Clone(w.records), leases: map[[2]string]fakeLease{}}
	for key, l := range w.leases {
		b.leases[key] = fakeLease{c: l.c, armed: l.armed, at: l.at}
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
	for key, l := range b.leases {
		w.leases[key] = &l
		l.timer = time.AfterFunc(time.Until(l.c.due), func() { w.fire(key, &l) })
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
	w.fireNow(a.Name())
	w.restore(copied)
	w.sleep(beatAtMost + time.Second)
	for _, q := range w.running(true) {
		w.expect(expectation{invariant: nothingLost, of: q, unmet: func() string {
			if q.Snapshot().named.get(a.Name()) == nil {
				return fmt.Sprintf("%s does not see %s", q.label(), a.label())
			}
			return ""
		}}, 0)
	}
	w.sleep(0)
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
		if key[1] != a.Name() {
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

// wipedTwice loses a record and its switch, and once more between the two when its owner writes them again.
func wipedTwice(w *fleet) {
	all := w.staff(2)
	p := anyOf(w.rng, all...)
	p.link.before = func() {
		w.tear("and once more")
		w.purge(p.Name())
	}
	w.tear("the record of %s is purged", p.Name())
	w.purge(p.Name())
	w.sleep(beatAtMost)
}
