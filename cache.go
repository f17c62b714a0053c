package rolebus

import (
	"slices"
	"time"
)

// endMemory is how long an end is remembered: as long as the bucket keeps a tombstone.
const endMemory = time.Hour

// news is what a scope's loop has heard since the last snapshot.
type news struct {
	changes  []change
	verdicts []verdict
	whole    bool              // changes hold every record of the scope, as read from the bucket
	began    uint64            // whole: the snapshot's serial when the reading began
	due      time.Time         // whole: a doubt must have run out by then
	lapsed   map[string]string // whole: nodes whose records stand without a lease that buries them, and why
	leases   map[string]armed  // whole: those that were read
	own      uint64            // this process's own incarnation, 0 before it has one
	now      time.Time
	calm     time.Duration // for how long the bus has been as it should be; see trust
	followed time.Duration // for how long the server's clock has been known
	ttl      time.Duration // this process's own
	vouched  bool          // the leader was asked about changes
}

// believes says whether a tombstone of kind expired, or a suspicion, counts of a node with a TTL: not before its owner has had
// its grace since the bus was last in trouble.
func (n *news) believes(ttl time.Duration) bool { return n.calm >= graceOf(ttl) }

// gap is what must be read, because the news came without what goes before them.
type gap struct {
	nodes map[string]life // these records, of at least this state
	whole bool            // everything: the bucket was purged, or made anew
	vouch []change        // these tombstones again, when the leader has said for how long it has been one

	doubted []verdict // these again, when the leader has said anything
}

// maxLate is how late a switch may fire and still be believed. A server that was up fires it within a quarter of a
// second (nats-server looks no more often). A later one fell due while the stream was down, had no leader, or comes out
// of a backup: then the owner may have been unable to renew it.
const maxLate = time.Second

// outage says whether the news hold a tombstone, of a node not in doubt so far, that fired too late.
func (snap *Snapshot) outage(changes []change) bool {
	return slices.ContainsFunc(changes, func(c change) bool {
		return c.kind == kindExpired && c.late > maxLate && snap.live(c.node) != nil && snap.doubts.find(c.node) == nil
	})
}

// apply returns the snapshot that follows from the news, the same one if nothing follows, and what must be read.
//
// It keeps these: a node's state only moves forward in its own order (life); a tombstone beats the states up to the one
// that it names, for ever; what the bucket merely does not say takes nobody out before its doubt has run out; a suspicion
// hides a node and forgets nothing of it.
func (snap *Snapshot) apply(n news) (*Snapshot, gap) {
	d := newDraft(snap, n)
	for _, c := range n.changes {
		d.apply(c)
	}
	if n.whole {
		d.compare()
	}
	for _, v := range n.verdicts {
		d.judge(v)
	}
	return d.finish(), d.gap
}

// draft is a snapshot in the making. What it does not change it shares with the old one.
type draft struct {
	old *Snapshot
	news
	by        *edition
	named     table[*Node]
	suspects  []*Node // a copy, once changed
	ends      table[end]
	doubts    table[doubt]
	earliest  time.Time       // no doubt runs out before
	standing  map[string]bool // whole: nodes that are over, though their records stand
	touched   []string        // names whose node was listed, or hidden, or dropped
	confirmed map[string]bool // whole: nodes whose known state the bucket holds
	forgotten map[string]bool // whole: nodes of another fleet that were dropped
	gap       gap
}

func newDraft(old *Snapshot, n news) *draft {
	d := &draft{
		old: old, news: n, by: &edition{}, named: old.named, suspects: old.suspects, ends: old.ends, doubts: old.doubts, earliest: old.due,
	}
	if n.whole {
		d.named.reserve(d.by, len(n.changes))
		d.touched = make([]string, 0, max(len(n.changes)-old.named.len(), 0)) // those that are new, as a rule
		d.confirmed = make(map[string]bool, old.named.len())
	}
	return d
}

// known returns a node that lives by its lease, listed or hidden; nil if there is none.
func (d *draft) known(name string) *Node {
	if n := d.named.get(name); n != nil {
		return n
	}
	return find(d.suspects, name)
}

func (d *draft) apply(c change) {
	known := d.known(c.node)
	if c.first && known != nil && d.doubts.find(c.node) == nil {
		d.gap.whole = true
	}
	if c.kind.isTombstone() {
		d.applyTombstone(known, c)
		return
	}
	if known != nil && known.id == c.id && c.kind == kindState {
		d.confirm(known, c)
		return
	}
	if known != nil && c.id.before(known.id) {
		d.contradict(known, c)
		return
	}
	if known != nil && known.id == c.id || !d.ends.get(c.node).id.before(c.id) && !d.rearmed(c) {
		return // heard before, or of a life that is over
	}
	switch {
	case c.kind == kindState:
		n := &Node{
			name: c.node, hash: hashText(c.node), id: c.id, generation: c.generation, ttl: c.ttl, roles: c.roles, meta: c.meta,
			deaf: known.deafAs(c.id),
		}
		d.set(n)
		d.lapse(n, n.heard)
	case c.kind == kindDelta && known != nil && known.id == life{c.id.incarnation, c.base}:
		d.set(&Node{
			name: c.node, hash: known.hash, id: c.id, generation: c.generation, ttl: known.ttl,
			roles: merge(known.roles, c.added, c.removed), meta: known.meta, deaf: known.deaf,
		})
	default:
		if d.gap.nodes == nil {
			d.gap.nodes = map[string]life{}
		}
		if d.gap.nodes[c.node].before(c.id) {
			d.gap.nodes[c.node] = c.id
		}
	}
}

func (d *draft) applyTombstone(known *Node, c change) {
	switch {
	case c.node == d.old.self && c.id.incarnation <= d.own:
		return // about this very process, which knows better
	case known != nil && c.id.before(known.id):
		d.contradict(known, c)
	case known != nil && c.kind == kindExpired && (!d.believes(known.ttl) || c.late > maxLate):
		d.cast(known, c)
	case known != nil && c.kind == kindExpired && known.ttl < d.ttl && !d.vouched:
		d.gap.vouch = append(d.gap.vouch, c)
	case d.ends.get(c.node).id.before(c.id):
		judged := c.kind == kindLeft || known != nil && known.id.incarnation == c.id.incarnation && d.followed >= graceOf(known.ttl)
		d.bury(c.node, end{id: c.id, generation: c.generation, reason: c.kind.reason(), at: d.now, judged: judged})
	}
}

// confirm takes note that the bucket holds what is known.
func (d *draft) confirm(known *Node, c change) {
	lapsed := d.lapse(known, d.began)
	if !lapsed {
		d.settle(c.node)
	}
	hidden := d.suspected(known.name)
	if hidden && !lapsed && d.outlives(known) {
		d.acquit(known)
		return
	}
	if known.generation != c.generation {
		moved := *known
		moved.generation = c.generation
		if hidden {
			moved.heard = d.old.serial + 1
			d.hide(&moved) // the bucket was written anew, by whomever: it is no sign of life
		} else {
			d.set(&moved)
		}
	}
}

// contradict takes note that an older state stands in the bucket where a newer one is known.
func (d *draft) contradict(known *Node, c change) {
	if c.generation > known.generation {
		d.cast(known, c)
	}
}

// cast puts a node in doubt, if it is not in doubt already. What names a later state than the doubt shows that the owner
// lived after it was cast: then its time begins anew.
func (d *draft) cast(known *Node, c change) {
	if known.name == d.old.self {
		return
	}
	if found := d.doubts.find(known.name); found != nil && !found.value.id.before(c.id) {
		return
	}
	id := known.id
	if id.before(c.id) {
		id = c.id
	}
	until := d.now.Add(graceOf(known.ttl))
	d.doubts.put(d.by, known.name, doubt{id: id, generation: c.generation, until: until})
	if d.earliest.IsZero() || until.Before(d.earliest) {
		d.earliest = until
	}
}

// settle takes note that the bucket holds the newest that is known of a node: that ends its doubt.
func (d *draft) settle(name string) {
	if d.whole && d.old.live(name) != nil {
		d.confirmed[name] = true
	}
	d.doubts.drop(d.by, name)
}

func (d *draft) set(n *Node) {
	n.heard = d.old.serial + 1
	d.list(n)
	d.settle(n.name)
}

func (d *draft) bury(name string, e end) {
	d.ends.put(d.by, name, e)
	d.doubts.drop(d.by, name)
	if d.known(name) != nil {
		d.unlist(name)
	}
}

// list lists a node as it is now.
func (d *draft) list(n *Node) {
	d.named.put(d.by, n.name, n)
	d.unhide(n.name)
}

// unlist makes a node neither listed nor hidden.
func (d *draft) unlist(name string) {
	d.named.drop(d.by, name)
	d.unhide(name)
}

func (d *draft) unhide(name string) {
	d.touched = append(d.touched, name)
	if at, found := slices.BinarySearchFunc(d.suspects, name, byName); found {
		d.suspects = slices.Delete(slices.Clone(d.suspects), at, at+1)
		if len(d.suspects) == 0 {
			d.suspects = nil // so that Suspects is the zero Nodes
		}
	}
}

// compare holds the nodes that are known against a whole reading of the bucket: what the bucket lacks is doubted, and
// dropped once its doubt has run out.
func (d *draft) compare() {
	for _, n := range d.old.named.all() {
		d.miss(n)
	}
	for _, n := range d.old.suspects {
		d.miss(n)
	}
	d.succeed()
	for name, e := range d.old.ends.all() {
		if d.now.Sub(e.at) > endMemory && d.ends.get(name) == e && !d.standing[name] {
			d.ends.drop(d.by, name)
		}
	}
}

// miss doubts a node, or drops it, if the reading lacks it.
func (d *draft) miss(n *Node) {
	if d.known(n.name) == nil || d.confirmed[n.name] || n.heard > d.began || n.name == d.old.self {
		return
	}
	switch found := d.doubts.find(n.name); {
	case found == nil:
		d.cast(n, change{})
	case d.believes(n.ttl) && !d.due.Before(found.value.until):
		if found.value.elsewhere {
			d.forget(n.name)
		} else {
			d.bury(n.name, end{
				id: found.value.id, generation: found.value.generation, reason: ReasonExpired, at: d.now,
				lapsed: found.value.lapsed, lease: found.value.lease,
			})
		}
	}
}

// finish builds the next snapshot, sharing with the old one whatever did not change.
func (d *draft) finish() *Snapshot {
	if len(d.touched) == 0 && d.ends.owner != d.by && d.doubts.owner != d.by {
		return d.old
	}
	next := *d.old
	next.serial, next.superseded = d.old.serial+1, make(chan struct{})
	next.ends, next.doubts = d.ends, d.doubts
	if len(d.touched) > 0 {
		next.named, next.suspects = d.named, d.suspects
		d.relist(&next)
	}
	if d.doubts.owner == d.by || len(d.touched) > 0 && len(d.old.suspects)+len(d.suspects) > 0 {
		next.due = earlier(d.firstDue(), d.firstAcquittal())
	}
	return &next
}

// firstDue returns when the first doubt runs out. Many were cast at once, as a rule: one of the earliest is soon found.
func (d *draft) firstDue() (first time.Time) {
	for _, found := range d.doubts.all() {
		if first.IsZero() || found.until.Before(first) {
			first = found.until
		}
		if first.Equal(d.earliest) {
			break
		}
	}
	return first
}
