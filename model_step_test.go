package rolebus

import (
	"fmt"
	"time"
)

// happening is something that can happen; do returns false if it cannot happen now.
type happening struct {
	name string
	do   func(m *moment) bool
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
	"suspect": func(m *moment) bool { return m.judge(false) },
	"answer":  (*moment).answer,
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
	m.store(change{kind: kindState, id: m.id, ttl: searchTTL, roles: rolesOf(m.id)}, said)
	return true
}
