package rolebus

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// moment is one state of the smallest world: one node, the bucket, and what one process that looks on makes of it. It is
// a value: a step makes another one.
type moment struct {
	// the node's owner
	alive    bool
	id       life
	bound    uint64 // the highest version that its lease buries
	past     life   // what a lease of the life before buries
	over     life   // of that life and version and all before, somebody was right to say that they are gone
	lives    uint64
	silenced bool // it could not reach the bucket since it was buried

	// the bucket
	record   change
	sequence uint64
	copied   *moment // a backup
	lapses   int     // how often it forgot a record, or buried a node that lives; once is possible
	said     []change

	// the process that looks on
	snap     *Snapshot
	reading  *reading
	newest   life // the newest that it showed, or that was ended
	ticks    int
	howCame  *moment
	lastStep string
}

const (
	searchGrace = 2 // ticks
	searchReach = 2 // what a lease buries beyond the version that stands
)

var searchEpoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// happening is something that can happen; do returns false if it cannot happen now.
type happening struct {
	name string
	do   func(m *moment) bool
}

// rolesOf are the roles that a node has in a state. Each state has others, so a mixture shows.
func rolesOf(id life) []Role { return []Role{Role(fmt.Sprintf("r%d.%d", id.incarnation, id.version))} }

func (m *moment) store(record, said change) {
	m.sequence++
	record.node, said.node = "a", "a"
	record.generation, said.generation = m.sequence, m.sequence
	m.record = record
	m.said = append(slices.Clip(m.said), said)
}

// write is the owner's: its whole state.
func (m *moment) write() {
	m.bound = m.id.version + searchReach
	c := change{kind: kindState, id: m.id, roles: rolesOf(m.id)}
	m.store(c, c)
}

func (m *moment) holds() bool { return m.record.kind == kindState && m.record.id == m.id }

// beat is a heartbeat: it finds out if the record is not the owner's, and writes it again.
func (m *moment) beat() bool {
	if !m.alive || m.holds() {
		return false
	}
	m.id.version = max(m.id.version, m.bound) + 1
	m.silenced = false
	m.write()
	return true
}

func (m *moment) bury(kind kind, id life, late time.Duration) {
	c := change{kind: kind, id: id, late: late}
	m.store(c, c)
}

func (m *moment) ends(id life) {
	if m.over.before(id) {
		m.over = id
	}
}

var happenings = map[string]func(m *moment) bool{
	"join": func(m *moment) bool {
		if m.alive || m.lives == 2 {
			return false
		}
		m.lives++
		m.past = life{m.id.incarnation, m.bound}
		m.alive, m.id = true, life{m.lives, 1}
		m.ends(life{m.lives - 1, maxNumber})
		m.write()
		return true
	},
	"change": func(m *moment) bool { return m.change(kindDelta) },
	"notice": func(m *moment) bool { return m.change(kindNotice) },
	"beat":   (*moment).beat,
	"crash": func(m *moment) bool {
		was := m.alive
		m.alive = false
		m.ends(life{m.id.incarnation, maxNumber})
		return was
	},
	"expire": func(m *moment) bool { // it crashed, or was silent for longer than its TTL
		if !m.holds() {
			return false
		}
		m.silenced = m.alive
		m.ends(life{m.id.incarnation, m.bound})
		m.bury(kindExpired, life{m.id.incarnation, m.bound}, 0)
		return true
	},
	"expire wrongly": func(m *moment) bool { // after an outage, so it is late
		if !m.holds() || !m.alive || m.lapses == 1 {
			return false
		}
		m.lapses++
		m.bury(kindExpired, life{m.id.incarnation, m.bound}, time.Minute)
		return true
	},
	"expire the life before": func(m *moment) bool {
		if m.past.version == 0 || m.record.kind != kindState {
			return false
		}
		m.bury(kindExpired, m.past, 0)
		return true
	},
	"leave": func(m *moment) bool {
		if !m.alive {
			return false
		}
		m.alive = false
		m.ends(life{m.id.incarnation, maxNumber})
		m.bury(kindLeft, life{m.id.incarnation, max(m.id.version, m.bound)}, 0)
		return true
	},
	"purge": func(m *moment) bool {
		if m.record.kind == 0 || m.lapses == 1 {
			return false
		}
		m.lapses++
		m.record = change{}
		return true
	},
	"copy": func(m *moment) bool {
		was := m.copied
		copied := *m
		m.copied = &copied
		return was == nil
	},
	"restore": func(m *moment) bool {
		if m.copied == nil || m.copied.sequence == m.sequence || m.lapses == 1 {
			return false
		}
		m.lapses++
		m.record, m.sequence = m.copied.record, m.copied.sequence
		return true
	},
	"tick": func(m *moment) bool {
		if m.ticks == 4 {
			return false
		}
		if !m.silenced {
			m.beat()
		}
		m.ticks++
		m.reading = nil // no reading takes so long
		return true
	},
	"get": func(m *moment) bool {
		if m.record.kind == 0 {
			return false
		}
		m.hear(reading{changes: []change{m.record}})
		return true
	},
	"begin to read": func(m *moment) bool {
		if m.reading != nil {
			return false
		}
		r := m.whole()
		m.reading = &r
		return true
	},
	"have read": func(m *moment) bool {
		if m.reading == nil {
			return false
		}
		r := *m.reading
		m.reading = nil
		m.hear(r)
		return true
	},
	"read": func(m *moment) bool {
		m.hear(m.whole())
		return true
	},
}

// An announcement may come at any time, more than once, or never: it stays on its way for ever.
func hearNumber(n int) happening {
	return happening{fmt.Sprint("hear no. ", n+1), func(m *moment) bool {
		if n >= len(m.said) {
			return false
		}
		m.hear(reading{changes: m.said[n : n+1]})
		return true
	}}
}

func (m *moment) change(kind kind) bool {
	if !m.alive || !m.holds() || m.id.version >= m.bound {
		return false
	}
	was := m.id
	m.id.version++
	said := change{kind: kind, id: m.id}
	if kind == kindDelta {
		said.base, said.added, said.removed = was.version, rolesOf(m.id), rolesOf(was)
	}
	m.store(change{kind: kindState, id: m.id, roles: rolesOf(m.id)}, said)
	return true
}

func (m *moment) whole() reading {
	r := reading{whole: true, began: m.snap.serial}
	if m.record.kind != 0 {
		r.changes = []change{m.record}
	}
	return r
}

// hear lets the real code make of it what it does, and checks what must be so then.
func (m *moment) hear(r reading) {
	own := uint64(0)
	if m.snap.self == "a" {
		own = m.lives
	}
	old := m.snap.named["a"]
	next, fetch := m.snap.apply(news{
		changes: r.changes, whole: r.whole, began: r.began, own: own, believe: true,
		now: searchEpoch.Add(time.Duration(m.ticks) * time.Second), grace: searchGrace * time.Second,
	})
	m.snap = next
	now := next.named["a"]
	if e := next.ends["a"]; m.newest.before(e.id) && now == nil {
		m.newest = e.id
	}
	switch {
	case now == nil && old != nil:
		if next.self == "a" {
			m.fail(selfStays, "the node dropped itself")
		}
		if m.over.before(old.id) {
			m.fail(noFalseLoss, "%v was dropped, and lives", old.id)
		}
		if m.newest.before(old.id) {
			m.newest = old.id
		}
	case now != nil:
		if now.id.before(m.newest) || old == nil && now.id == m.newest {
			m.fail(neverBack, "%v is shown after %v", now.id, m.newest)
		}
		if !slices.Equal(now.roles, rolesOf(now.id)) {
			m.fail(ownersWord, "%v is shown as %v", now.id, now.roles)
		}
		m.newest = now.id
	}
	for _, c := range r.changes {
		if !c.kind.isTombstone() && m.newest.before(c.id) && fetch["a"].before(c.id) {
			m.fail(heardIsSeen, "%s %v was heard, and is neither shown nor fetched", c.kind, c.id)
		}
	}
}

// rest ends all faults, and demands that a whole reading, and another when the grace is over, show what is so. If a look
// at the record alone tells the process anything, one whole reading is enough.
func (from *moment) rest() {
	m := *from
	m.howCame, m.lastStep = from, "all faults end"
	if m.alive {
		m.bound = max(m.bound, m.newest.version) // it hears what others heard, sooner or later
	}
	m.silenced = false
	m.beat()
	if !m.alive && m.record.kind == kindState {
		m.bury(kindExpired, life{m.record.id.incarnation, m.record.id.version + searchReach}, 0)
	}
	direct := m
	if m.record.kind != 0 && m.copied == nil { // a store that goes back uses generations twice
		direct.hear(reading{changes: []change{m.record}})
		direct.ticks += searchGrace
		direct.hear(direct.whole())
		direct.mustBeSo()
	}
	m.readTwice()
	for _, c := range m.said { // all of it once more: stale news change nothing for long
		m.hear(reading{changes: []change{c}})
	}
	m.readTwice()
}

func (m *moment) readTwice() {
	m.hear(m.whole())
	m.ticks += searchGrace
	m.hear(m.whole())
	m.mustBeSo()
}

func (m *moment) mustBeSo() {
	n := m.snap.named["a"]
	if m.snap.self == "a" {
		return // what it was is shown until it writes again
	}
	switch {
	case m.alive && (n == nil || n.id != m.id):
		m.fail(converges, "the node lives in %v, shown is %v", m.id, n)
	case !m.alive && n != nil:
		m.fail(boundedLoss, "the node is dead, shown is %v", n.id)
	case len(m.snap.doubts) > 0:
		m.fail(converges, "there is a doubt: %v", m.snap.doubts)
	}
}

// flaw is a broken invariant, on its way up.
type flaw struct{ text string }

func (m *moment) fail(invariant, format string, args ...any) {
	var steps []string
	for at := m; at.howCame != nil; at = at.howCame {
		steps = append(steps, at.lastStep)
	}
	slices.Reverse(steps)
	panic(flaw{fmt.Sprintf("broken invariant: %s: %s, after: %s", invariant, fmt.Sprintf(format, args...), strings.Join(steps, "; "))})
}

// key tells moments apart that differ in what can come of them.
func (m *moment) key() string {
	var b strings.Builder
	fmt.Fprint(&b, m.alive, m.id, m.bound, m.past, m.over, m.lives, m.silenced, m.record.kind, m.record.id, m.record.generation, m.sequence, m.newest, m.ticks, m.lapses, "|")
	for _, c := range m.said {
		fmt.Fprint(&b, c.kind, c.id, c.generation, c.late, ",")
	}
	if m.copied != nil {
		fmt.Fprint(&b, "|", m.copied.record.kind, m.copied.record.id, m.copied.sequence)
	}
	n := m.snap.named["a"]
	if n != nil {
		fmt.Fprint(&b, "|", n.id, n.generation, m.snap.doubts["a"])
	}
	fmt.Fprint(&b, "|", m.snap.ends["a"].id)
	if m.reading != nil {
		fmt.Fprint(&b, "|", len(m.reading.changes), n != nil && n.heard > m.reading.began)
		for _, c := range m.reading.changes {
			fmt.Fprint(&b, c.kind, c.id, c.generation)
		}
	}
	return b.String()
}

// TestModelSearch tries everything that can happen in the smallest world, in every order, up to some number of steps.
func TestModelSearch(t *testing.T) {
	for _, tc := range []struct {
		name  string
		self  string
		steps string
		hear  int // how many announcements are followed
		depth int
	}{
		{"changes", "", "join, change, notice, expire, beat, leave, get, read", 6, 7},
		{"two lives", "", "join, crash, expire, expire the life before, get, read, tick", 5, 7},
		{"a store that loses and goes back", "", "join, change, crash, purge, copy, restore, beat, get, read, tick", 5, 7},
		{"slow readings", "", "join, purge, begin to read, have read, tick", 3, 10},
		{"wrong burials", "", "join, expire wrongly, purge, read, get, tick", 5, 7},
		{"itself", "a", "join, expire, expire wrongly, purge, read, get, tick", 5, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			defer func() {
				if f, ok := recover().(flaw); ok {
					t.Fatal(f.text)
				}
			}()
			var all []happening
			for _, name := range strings.Split(tc.steps, ", ") {
				if happenings[name] == nil {
					t.Fatalf("no step %q", name)
				}
				all = append(all, happening{name, happenings[name]})
			}
			for n := range tc.hear {
				all = append(all, hearNumber(n))
			}
			seen := map[string]bool{}
			level := []*moment{{snap: newSnapshot("s", tc.self)}}
			for range tc.depth {
				var next []*moment
				for _, from := range level {
					for _, s := range all {
						m := *from
						m.howCame, m.lastStep = from, s.name
						if !s.do(&m) {
							continue
						}
						if key := m.key(); !seen[key] {
							seen[key] = true
							m.rest()
							next = append(next, &m)
						}
					}
				}
				level = next
			}
			t.Logf("%d states", len(seen))
		})
	}
}
