package rolebus

import (
	"fmt"
	"time"
)

// A record stands until its lease buries it. So a record is worth no more than its lease: the server may have lost that, because
// it could not store what came due, and somebody else may have taken it away. Whoever died then would be listed for ever. So
// whole readings look at the leases, too, and whose record stands without one that will bury it is doubted.

// armed is a lease, as it stands in the bucket.
type armed struct {
	id         life      // up to which it buries
	due        time.Time // when, by the server's clock
	generation uint64
	unfit      string // why it buries nobody; "" if it does
}

// leases are those of a scope, as far as they were read: the ones that were armed longest ago come first, as they are those
// that may be overdue.
type leases struct {
	of     map[string]armed // by node
	all    bool             // who is not among them has none
	last   uint64           // the generation of the last one
	newest time.Time        // when the newest lease of the bucket was armed, in whatever scope, before they were read
	began  uint64           // its generation: what is above was armed since
}

// lapsed returns whose record stands without a lease that buries it, and why. The newest lease that anybody armed tells what
// the time is: so nobody is overdue while nobody can heartbeat, because the disk is full, say, and no clock need be asked.
func (l *leases) lapsed(records []change) map[string]string {
	lapsed := map[string]string{}
	for _, c := range records {
		if c.kind == kindState {
			if why := l.lapse(c); why != "" {
				lapsed[c.node] = why
			}
		}
	}
	return lapsed
}

// lapse says why the lease of a record does not bury it; "" if it does, or may do so within a grace.
func (l *leases) lapse(c change) string {
	a, found := l.of[c.node]
	late := l.newest.Sub(a.due)
	switch {
	case !found && l.all:
		return "it has no lease"
	case !found:
		return ""
	case a.unfit != "":
		return "its lease is none: " + a.unfit
	case a.id.before(c.id):
		return "its lease buries less than its record"
	case late > graceOf(c.ttl):
		return fmt.Sprintf("its lease was due %v ago, and the server did not bury it", late.Round(time.Second))
	case -late > graceOf(c.ttl) && a.generation <= l.began:
		return fmt.Sprintf("its lease is due in %v only", -late.Round(time.Second))
	}
	return ""
}

// lapse puts a node in doubt whose record stands, but not its lease; it says whether that doubt goes on. Only a whole reading ends
// it, which finds the lease as it should be, or a newer state: the record alone, read or announced once more, is no sign of life.
// What was heard since the reading began is one.
func (d *draft) lapse(known *Node, began uint64) (doubted bool) {
	found := d.doubts.find(known.name)
	doubted = found != nil && found.value.lapsed
	if !d.whole {
		return doubted
	}
	if d.lapsed[known.name] == "" || known.name == d.old.self || known.heard > began {
		return false
	}
	lease := d.leases[known.name]
	if !doubted || lease.unfit == "" && lease.generation > found.value.lease {
		d.doubts.drop(d.by, known.name) // the record, or a lease that was armed since, ends that doubt, and this one begins
		d.cast(known, change{generation: known.generation})
		doubt := d.doubts.get(known.name)
		doubt.lapsed, doubt.lease = true, lease.generation
		d.doubts.put(d.by, known.name, doubt)
	}
	return true
}

// rearmed says whether a node that was dropped because of its lease has armed it again since: no tombstone said that it is over. (The
// same lease proves nothing: one that was due too late looks sound when its time comes.) Of whom else is over, though its record
// stands, it takes note: the end must be remembered.
func (d *draft) rearmed(c change) bool {
	if !d.whole || c.kind != kindState {
		return false
	}
	e := d.ends.get(c.node)
	if e.lapsed && e.id == c.id && d.lapsed != nil && d.lapsed[c.node] == "" && d.leases[c.node].generation > e.lease {
		return true
	}
	if d.standing == nil {
		d.standing = map[string]bool{}
	}
	d.standing[c.node] = true
	return false
}

// tellUnburied tells of those who were dropped because of their leases: their records stand until somebody takes them away, and
// each process that joins lists them for a grace.
func (m *member) tellUnburied(lapsed map[string]string, was, is *Snapshot) {
	for node, why := range lapsed {
		if was.live(node) != nil && is.live(node) == nil {
			m.bus.opts.log.Warn("a node is gone, and the server does not bury it: purge its record from the bucket",
				"scope", m.scope.name, "node", node, "key", SubjectToken(m.scope.name)+"."+SubjectToken(node), "cause", why)
		}
	}
}

// shortest returns the shortest TTL of the records.
func shortest(records []change) time.Duration {
	least := maxTTL
	for _, c := range records {
		if c.kind == kindState {
			least = min(least, c.ttl)
		}
	}
	return least
}

// standing is what the stream's leader says of a scope: which nodes have a record or a tombstone there, and which a lease.
type standing struct {
	records, leases map[string]bool
}
