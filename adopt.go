package rolebus

import "time"

// What is left of a snapshot when the bucket turns out to be another one: it was made anew, or this process is connected to
// another server now, which has one of its own. It does not know which. In the first case the nodes are the same, and write
// their records again. In the second they are other ones, and of two that have one name the newer life need not be the one that
// is of this fleet.

// adopt returns the snapshot as the beginning of what is known of a fleet. All nodes are in doubt: who is not of this fleet is
// dropped, and only then may another one of its name be listed whose life is older. Ends were those of the other fleet.
func (snap *Snapshot) adopt(fleet string, now time.Time) *Snapshot {
	if fleet == "" || fleet == snap.fleet {
		return snap
	}
	next := *snap
	next.fleet, next.serial, next.superseded = fleet, snap.serial+1, make(chan struct{})
	if snap.fleet == "" {
		return &next
	}
	next.adopted, next.ends = next.serial, table[end]{}
	by := &edition{}
	cast := func(n *Node) {
		if n.name == snap.self {
			return
		}
		d := doubt{id: n.id, until: now.Add(graceOf(n.ttl))}
		if found := snap.doubts.find(n.name); found != nil {
			d = found.value
		}
		d.elsewhere = true
		next.doubts.put(by, n.name, d)
		next.due = earlier(next.due, d.until)
	}
	for _, n := range snap.named.all() {
		cast(n)
	}
	for _, n := range snap.suspects {
		cast(n)
	}
	return &next
}

// forget drops a node that is of another fleet, and leaves nothing of it.
func (d *draft) forget(name string) {
	d.doubts.drop(d.by, name)
	d.unlist(name)
	if d.forgotten == nil {
		d.forgotten = map[string]bool{}
	}
	d.forgotten[name] = true
}

// succeed lists those in the places of nodes that were forgotten whom the reading holds.
func (d *draft) succeed() {
	if d.forgotten == nil {
		return
	}
	for _, c := range d.changes {
		if d.forgotten[c.node] {
			d.apply(c)
		}
	}
}
