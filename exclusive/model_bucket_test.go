package exclusive

import (
	"time"

	"github.com/rolebus/rolebus"
)

// The bucket of the model's world: one post, the records of the nodes, and the switches that bury them. All times are milliseconds since
// the world began.

// vita is a state of a node: its incarnation, and in that its version.
type vita struct{ incarnation, version uint64 }

func (a vita) before(b vita) bool {
	return a.incarnation < b.incarnation || a.incarnation == b.incarnation && a.version < b.version
}

type record struct {
	id         vita
	generation uint64
	over       bool  // a tombstone
	due        int64 // by the server's clock: then the switch fires
	ttl        int64
	beat       uint64 // the generation of the last heartbeat
}

type bucket struct {
	made       int   // which of the buckets of this name it is
	madeAt     int64 // by this machine's clock
	leaderFrom int64
	last       uint64 // generation
	entry      rolebus.Entry
	records    map[string]record
}

func (b *bucket) clone() *bucket {
	c := *b
	c.records = map[string]record{}
	for node, r := range b.records {
		c.records[node] = r
	}
	return &c
}

// nodeNews is what is announced of a node, or what a reading of all of them has.
type nodeNews struct {
	node       string
	id         vita
	generation uint64
	kind       string // state, left, expired or whole
	wrong      bool   // expired: its owner may be certain of its lease
	whole      map[string]record
}

// entryNews is what is announced of the post, or what a reading has.
type entryNews struct {
	entry rolebus.Entry
	whole bool
}

// compareAndSet writes at the post.
func (w *world) compareAndSet(value string, removed bool, replaces uint64) (uint64, bool) {
	if w.entry.Generation != replaces {
		return 0, false
	}
	w.last++
	w.entry = rolebus.Entry{Name: "n", Generation: w.last, Value: value, Removed: removed}
	w.announceEntry(w.entry)
	w.tracef("bucket: %s removed=%v replaces %d, is %d", value, removed, replaces, w.last)
	return w.last, true
}

func (w *world) announceEntry(e rolebus.Entry) {
	for _, p := range w.processes {
		if w.loses(p) {
			p.missedEntries = true
			continue
		}
		p.entryNews = append(p.entryNews, entryNews{entry: e})
	}
}

func (w *world) announceNode(n nodeNews) {
	w.tracef("bucket: %s of %s %v, %d wrong=%v", n.kind, n.node, n.id, n.generation, n.wrong)
	for _, p := range w.processes {
		if w.loses(p) {
			p.missedNodes = true
			continue
		}
		p.nodeNews = append(p.nodeNews, n)
	}
}

// loses says whether a process misses an announcement.
func (w *world) loses(p *process) bool {
	return p.up && p.cut || !p.up || w.faulty && w.n(20) == 19
}

// store writes a record.
func (w *world) store(node string, id vita, ttl, sentServer, sent int64) {
	w.last++
	w.records[node] = record{id: id, generation: w.last, ttl: ttl, due: sentServer + ttl}
	w.sure[id.incarnation] = max(w.sure[id.incarnation], sent+sureOf(ttl))
	w.announceNode(nodeNews{node: node, id: id, generation: w.last, kind: "state"})
}

func (w *world) bury(node, kind string) {
	r := w.records[node]
	w.last++
	wrong := kind == "expired" && w.now < w.sure[r.id.incarnation]
	r.generation, r.over = w.last, true
	w.records[node] = r
	w.announceNode(nodeNews{node: node, id: r.id, generation: w.last, kind: kind, wrong: wrong})
}

// fire buries those whose switches are due.
func (w *world) fire() {
	for _, node := range nodeNames {
		if r, is := w.records[node]; is && !r.over && w.server() >= r.due {
			w.bury(node, "expired")
		}
	}
}

func (w *world) server() int64 { return w.now + w.ahead }

// sureOf is for how long a heartbeat makes its sender certain: the root's lease keeps a tenth in reserve.
func sureOf(ttl int64) int64 { return ttl - ttl/10 }

var epoch = time.UnixMilli(1_700_000_000_000)

func at(ms int64) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

// The losses.

// goBack has the bucket be what it was once.
func (w *world) goBack() {
	if w.backup == nil {
		return
	}
	made, madeAt := w.made, w.madeAt
	if w.backup.made != made {
		return
	}
	w.bucket = *w.backup.clone()
	w.made, w.madeAt, w.leaderFrom = made, madeAt, w.now
	w.breaks++ // servers are restarted for that
	w.lost("the bucket went back", true)
}

func (w *world) makeAnew() {
	w.bucket = bucket{made: w.made + 1, madeAt: w.now, leaderFrom: w.now, records: map[string]record{}}
	w.lost("the bucket was made anew", true)
}

func (w *world) purge() {
	w.entry = rolebus.Entry{}
	w.lost("the claim was purged", false)
}

func (w *world) purgeRecord(node string) {
	delete(w.records, node)
	w.lost("the record of "+node+" was purged", false)
}

// scribble has somebody who knows no rules write at the post.
func (w *world) scribble(value string, removed bool) {
	w.lost("somebody wrote "+value, false)
	w.compareAndSet(value, removed, w.entry.Generation)
}

// loss is one of what was acknowledged.
type loss struct {
	at    int64
	again bool // generations that were given are given again
}

// lost takes note that what was acknowledged is lost.
func (w *world) lost(how string, again bool) {
	w.tracef("bucket: %s; now at %d", how, w.last)
	w.now++ // not in the millisecond of what it lost
	w.losses = append(w.losses, loss{w.now, again})
	for _, p := range w.processes {
		// Whoever reaches the bucket finds that out in time. Nothing is announced.
		p.missedNodes, p.missedEntries = true, true
	}
}
