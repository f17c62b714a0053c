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
	searchGrace = 2                                 // ticks
	searchTTL   = searchGrace * time.Second * 3 / 4 // of which that is the grace
	searchReach = 2                                 // what a lease buries beyond the version that stands
)

var searchEpoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

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
	c := change{kind: kindState, id: m.id, ttl: searchTTL, roles: rolesOf(m.id)}
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

func (m *moment) whole() reading {
	r := reading{whole: true, began: m.snap.serial}
	if m.record.kind != 0 {
		r.changes = []change{m.record}
	}
	return r
}

// hear lets the real code make of it what it does, and checks what must be so then.
func (m *moment) hear(r reading, verdicts ...verdict) {
	own := uint64(0)
	if m.snap.self == "a" {
		own = m.lives
	}
	old := m.snap.live("a")
	at := searchEpoch.Add(time.Duration(m.ticks) * time.Second)
	next, gap := m.snap.apply(news{
		changes: r.changes, verdicts: verdicts, whole: r.whole, began: r.began, own: own, calm: forEver, now: at, due: at,
	})
	m.snap = next
	now := next.live("a")
	if e := next.ends.get("a"); m.newest.before(e.id) && now == nil {
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
		if !c.kind.isTombstone() && m.newest.before(c.id) && gap.nodes["a"].before(c.id) {
			m.fail(heardIsSeen, "%s %v was heard, and is neither shown nor fetched", c.kind, c.id)
		}
	}
}

// judge brings what came of asking the node to the process that looks on.
func (m *moment) judge(reachable bool) bool {
	n := m.snap.live("a")
	if n == nil || (m.snap.named.get("a") == nil) != reachable {
		return false
	}
	m.hear(reading{}, verdict{node: "a", incarnation: n.id.incarnation, reachable: reachable, began: m.snap.serial})
	return true
}

// answer is a suspect's, when it is asked again.
func (m *moment) answer() bool { return m.alive && m.judge(true) }

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
	m.answer()
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
	n := m.snap.live("a")
	if m.snap.self == "a" {
		return // what it was is shown until it writes again
	}
	switch {
	case m.alive && (n == nil || n.id != m.id || n != m.snap.named.get("a")):
		m.fail(converges, "the node lives in %v, shown is %v, suspected %v", m.id, n, m.snap.Suspects())
	case !m.alive && n != nil:
		m.fail(boundedLoss, "the node is dead, shown is %v", n.id)
	case m.snap.doubts.len() > 0:
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
	n := m.snap.live("a")
	if n != nil {
		fmt.Fprint(&b, "|", m.snap.named.get("a") == nil, n.id, n.generation, m.snap.doubts.get("a"))
	}
	fmt.Fprint(&b, "|", m.snap.ends.get("a").id)
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
		{"suspicion", "", "join, change, crash, expire wrongly, purge, suspect, answer, get, read, tick", 5, 7},
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
