package rolebus

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Snapshot is an immutable view of one scope: which node has which role at one instant. Every answer of one Snapshot
// fits every other. Its methods may be called from any goroutine; they never lock, wait, allocate or fail. The slices
// that they return are shared, sorted by name and must not be changed; appending to one makes a copy.
type Snapshot struct {
	scope   string
	self    string           // this process's node, "" for an observer
	members []*Node          // every node that is listed, sorted by name
	named   map[string]*Node // the same, by name
	nodes   []*Node          // those with at least one role
	holders map[Role][]*Node // those with this role

	suspects []*Node // live by their lease, but this process cannot reach them; not listed, sorted by name

	ends   map[string]end   // the last end heard of, by node name
	doubts map[string]doubt // nodes that the bucket lacks or calls expired, which is not believed yet

	serial     uint64        // counts the snapshots of this scope
	stay       uint64        // counts the joins: snapshots of two stays are not compared
	stale      time.Time     // when contact with the bucket was lost; zero while it lasts
	over       bool          // the scope was left: nothing follows
	superseded chan struct{} // closed when a newer snapshot has taken this one's place
}

// end is what is remembered of a node that went: a tombstone beats every state of the node up to the one it names.
type end struct {
	id         life
	generation uint64
	reason     Reason
	at         time.Time // when this process heard of it
}

// doubt is the time that a node's owner has to write its record again before the node is dropped.
type doubt struct {
	id         life   // the newest that the bucket said, or the known state
	generation uint64 // of what the bucket says instead, 0 if nothing
	until      time.Time
}

// endMemory is how long an end is remembered: as long as the bucket keeps a tombstone.
const endMemory = time.Hour

// news is what a scope's loop has heard since the last snapshot.
type news struct {
	changes  []change
	verdicts []verdict
	whole    bool      // changes hold every record of the scope, as read from the bucket
	began    uint64    // whole: the snapshot's serial when the reading began
	due      time.Time // whole: a doubt must have run out by then
	own      uint64    // this process's own incarnation, 0 before it has one
	now      time.Time
	grace    time.Duration // what a doubted node has left
	believe  bool          // whether a tombstone of kind expired, or a suspicion, counts; see trust
}

func newSnapshot(scope, self string) *Snapshot {
	return &Snapshot{scope: scope, self: self, superseded: make(chan struct{})}
}

// Nodes returns the nodes that have a role.
func (snap *Snapshot) Nodes(role Role) []*Node { return snap.holders[role] }

// AllNodes returns every node with at least one role.
func (snap *Snapshot) AllNodes() []*Node { return snap.nodes }

// Roles returns the roles of a node, sorted; none if the node is not known.
func (snap *Snapshot) Roles(node string) []Role {
	if n := snap.named[node]; n != nil {
		return n.roles
	}
	return nil
}

// MyRoles returns the roles of this process's own node, sorted; none for an observer.
func (snap *Snapshot) MyRoles() []Role { return snap.Roles(snap.self) }

// Generation returns the KV revision of this process's own record; 0 if it has none.
func (snap *Snapshot) Generation() uint64 {
	if n := snap.named[snap.self]; n != nil {
		return n.generation
	}
	return 0
}

// Stale returns for how long this process has had no contact with the bucket, so that the snapshot may be behind; 0
// while all is well.
func (snap *Snapshot) Stale() time.Duration {
	if snap.stale.IsZero() {
		return 0
	}
	return time.Since(snap.stale)
}

// Suspects returns the nodes that this process leaves out of every other answer, because it cannot reach them although
// their lease still runs: see [WithProbeInterval]. Sorted by name.
func (snap *Snapshot) Suspects() []*Node { return snap.suspects }

// live returns the node of this name, listed or suspected; nil if there is none.
func (snap *Snapshot) live(name string) *Node {
	if n := snap.named[name]; n != nil {
		return n
	}
	return find(snap.suspects, name)
}

// successor returns the node that follows on a name in the ring of those listed; nil if there is nobody else.
func (snap *Snapshot) successor(name string) *Node {
	if n := following(snap.members, name); n != nil && n.name != name {
		return n
	}
	return nil
}

// following returns the node that comes after a name in a sorted list, after the last the first; nil if there is none.
func following(list []*Node, name string) *Node {
	if len(list) == 0 {
		return nil
	}
	at, found := slices.BinarySearchFunc(list, name, byName)
	if found {
		at++
	}
	return list[at%len(list)]
}

func byName(n *Node, name string) int { return strings.Compare(n.name, name) }

func find(list []*Node, name string) *Node {
	if at, ok := slices.BinarySearchFunc(list, name, byName); ok {
		return list[at]
	}
	return nil
}

// maxLate is how late a switch may fire and still be believed. A server that was up fires it within a quarter of a
// second (nats-server looks no more often). A later one fell due while the stream was down, had no leader, or comes out
// of a backup: then the owner may have been unable to renew it.
const maxLate = time.Second

// outage says whether the news hold a tombstone, of a node not in doubt so far, that fired too late.
func (snap *Snapshot) outage(changes []change) bool {
	return slices.ContainsFunc(changes, func(c change) bool {
		_, doubted := snap.doubts[c.node]
		return c.kind == kindExpired && c.late > maxLate && snap.live(c.node) != nil && !doubted
	})
}

// apply returns the snapshot that follows from the news, the same one if nothing follows, and the nodes whose record
// must be fetched, because a change came without what went before it.
//
// It keeps these: a node's state only moves forward in its own order (life); a tombstone beats the states up to the one
// that it names, for ever; what the bucket merely does not say takes nobody out before its doubt has run out; a suspicion
// hides a node and forgets nothing of it.
func (snap *Snapshot) apply(n news) (*Snapshot, map[string]life) {
	d := draft{old: snap, news: n, confirmed: map[string]bool{}}
	for _, c := range n.changes {
		d.apply(c)
	}
	if n.whole {
		d.compare()
	}
	for _, v := range n.verdicts {
		d.judge(v)
	}
	return d.finish(), d.fetch
}

// withStale returns the snapshot with another time of lost contact.
func (snap *Snapshot) withStale(since time.Time) *Snapshot {
	next := *snap
	next.stale, next.serial, next.superseded = since, snap.serial+1, make(chan struct{})
	return &next
}

// due returns when the first doubt runs out; zero if there is none.
func (snap *Snapshot) due() time.Time {
	var first time.Time
	for _, d := range snap.doubts {
		if first.IsZero() || d.until.Before(first) {
			first = d.until
		}
	}
	return first
}

// draft is a snapshot in the making. It copies of the old one only what changes.
type draft struct {
	old *Snapshot
	news
	nodes     map[string]*Node // changed nodes; nil for one that is not listed any more
	hidden    map[string]*Node // of those not listed, the suspects
	ends      map[string]end   // a copy, once changed
	doubts    map[string]doubt // a copy, once changed
	confirmed map[string]bool  // whole: nodes whose known state the bucket holds
	fetch     map[string]life
}

func (d *draft) known(name string) *Node {
	if n, ok := d.nodes[name]; ok {
		if n == nil {
			n = d.hidden[name]
		}
		return n
	}
	return d.old.live(name)
}

func (d *draft) end(name string) end {
	if d.ends != nil {
		return d.ends[name]
	}
	return d.old.ends[name]
}

func (d *draft) doubt(name string) (doubt, bool) {
	doubts := d.doubts
	if doubts == nil {
		doubts = d.old.doubts
	}
	found, ok := doubts[name]
	return found, ok
}

func (d *draft) apply(c change) {
	known := d.known(c.node)
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
	if known != nil && known.id == c.id || !d.end(c.node).id.before(c.id) {
		return // heard before, or of a life that is over
	}
	switch {
	case c.kind == kindState:
		d.set(&Node{name: c.node, id: c.id, generation: c.generation, roles: c.roles, meta: c.meta})
	case c.kind == kindDelta && known != nil && known.id == life{c.id.incarnation, c.base}:
		d.set(&Node{
			name: c.node, id: c.id, generation: c.generation,
			roles: merge(known.roles, c.added, c.removed), meta: known.meta,
		})
	default:
		if d.fetch == nil {
			d.fetch = map[string]life{}
		}
		if d.fetch[c.node].before(c.id) {
			d.fetch[c.node] = c.id
		}
	}
}

func (d *draft) applyTombstone(known *Node, c change) {
	switch {
	case c.node == d.old.self && c.id.incarnation <= d.own:
		return // about this very process, which knows better
	case known != nil && c.id.before(known.id):
		d.contradict(known, c)
	case known != nil && c.kind == kindExpired && (!d.believe || c.late > maxLate):
		d.cast(known, c)
	case d.end(c.node).id.before(c.id):
		d.bury(c.node, end{id: c.id, generation: c.generation, reason: c.kind.reason(), at: d.now})
	}
}

// confirm takes note that the bucket holds what is known.
func (d *draft) confirm(known *Node, c change) {
	d.confirmed[c.node] = true
	d.clear(c.node)
	if known.generation != c.generation {
		moved := *known
		moved.generation = c.generation
		if d.suspected(known.name) {
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
	if found, ok := d.doubt(known.name); ok && !found.id.before(c.id) {
		return
	}
	id := known.id
	if id.before(c.id) {
		id = c.id
	}
	d.ownDoubts()[known.name] = doubt{id: id, generation: c.generation, until: d.now.Add(d.grace)}
}

func (d *draft) clear(name string) {
	if _, ok := d.doubt(name); ok {
		delete(d.ownDoubts(), name)
	}
}

func (d *draft) ownDoubts() map[string]doubt {
	if d.doubts == nil {
		d.doubts = map[string]doubt{}
		maps.Copy(d.doubts, d.old.doubts)
	}
	return d.doubts
}

func (d *draft) ownEnds() map[string]end {
	if d.ends == nil {
		d.ends = map[string]end{}
		maps.Copy(d.ends, d.old.ends)
	}
	return d.ends
}

func (d *draft) set(n *Node) {
	n.heard = d.old.serial + 1
	d.change(n.name, n)
	d.confirmed[n.name] = true
	d.clear(n.name)
}

func (d *draft) bury(name string, e end) {
	d.ownEnds()[name] = e
	d.clear(name)
	if d.known(name) != nil {
		d.change(name, nil)
	}
}

// change lists a node as it is now, or with nil lists it no more.
func (d *draft) change(name string, n *Node) {
	if d.nodes == nil {
		d.nodes = map[string]*Node{}
	}
	d.nodes[name] = n
	delete(d.hidden, name)
}

// compare holds the nodes that are known against a whole reading of the bucket: what the bucket lacks is doubted, and
// dropped once its doubt has run out.
func (d *draft) compare() {
	for _, n := range slices.Concat(d.old.members, d.old.suspects) {
		if d.known(n.name) == nil || d.confirmed[n.name] || n.heard > d.began || n.name == d.old.self {
			continue
		}
		found, ok := d.doubt(n.name)
		switch {
		case !ok:
			d.cast(n, change{})
		case d.believe && !d.due.Before(found.until):
			d.bury(n.name, end{id: found.id, generation: found.generation, reason: ReasonExpired, at: d.now})
		}
	}
	for name, e := range d.old.ends {
		if d.now.Sub(e.at) > endMemory && d.end(name) == e {
			delete(d.ownEnds(), name)
		}
	}
}

// finish builds the next snapshot, sharing with the old one whatever did not change.
func (d *draft) finish() *Snapshot {
	if len(d.nodes) == 0 && d.ends == nil && d.doubts == nil {
		return d.old
	}
	next := *d.old
	next.serial, next.superseded = d.old.serial+1, make(chan struct{})
	if d.ends != nil {
		next.ends = d.ends
	}
	if d.doubts != nil {
		next.doubts = d.doubts
	}
	if len(d.nodes) == 0 {
		return &next
	}
	next.named = make(map[string]*Node, len(d.old.named)+len(d.nodes))
	maps.Copy(next.named, d.old.named)
	touched := map[Role]bool{}
	for name, n := range d.nodes {
		if old := d.old.named[name]; old != nil {
			for _, role := range old.roles {
				touched[role] = true
			}
		}
		if n == nil {
			delete(next.named, name)
			continue
		}
		next.named[name] = n
		for _, role := range n.roles {
			touched[role] = true
		}
	}
	next.members = replace(d.old.members, d.nodes, func(*Node) bool { return true })
	next.nodes = replace(d.old.nodes, d.nodes, func(n *Node) bool { return len(n.roles) > 0 })
	if len(d.old.suspects)+len(d.hidden) > 0 {
		suspects := map[string]*Node{}
		for name := range d.nodes {
			suspects[name] = d.hidden[name]
		}
		next.suspects = replace(d.old.suspects, suspects, func(*Node) bool { return true })
	}
	next.holders = make(map[Role][]*Node, len(d.old.holders)+len(touched))
	maps.Copy(next.holders, d.old.holders)
	for role := range touched {
		held := replace(d.old.holders[role], d.nodes, func(n *Node) bool { return n.Has(role) })
		if len(held) == 0 {
			delete(next.holders, role)
		} else {
			next.holders[role] = held
		}
	}
	return &next
}

// replace returns a sorted list of nodes in which the changed ones have taken their own place, if they fit.
func replace(list []*Node, changed map[string]*Node, fits func(*Node) bool) []*Node {
	out := make([]*Node, 0, len(list)+len(changed))
	for _, n := range list {
		if _, ok := changed[n.name]; !ok {
			out = append(out, n)
		}
	}
	for _, n := range changed {
		if n != nil && fits(n) {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b *Node) int { return strings.Compare(a.name, b.name) })
	return slices.Clip(out)
}
