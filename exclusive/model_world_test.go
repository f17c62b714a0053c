package exclusive

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// The world that TestModel searches: processes that run the real rules beside a bucket and a network that do to them whatever may be done. Every
// choice comes off a tape: the same tape is the same history, and a shorter one is a simpler one.

type tape struct {
	draws []uint32
	at    int
	more  *rand.Rand // nil: nothing but zeros comes after the draws
}

func (t *tape) n(k int) int {
	if t.at == len(t.draws) {
		if t.more == nil {
			return 0
		}
		t.draws = append(t.draws, t.more.Uint32())
	}
	t.at++
	return int(t.draws[t.at-1] % uint32(k))
}

var (
	nodeNames = []string{"a", "b", "c"}
	slotNames = []string{"a", "b", "c", "a'"} // the last one is another process with the name of the first
)

// flight is a message between a process and the bucket.
type flight struct {
	what  string
	to    *process // nil: the bucket
	by    *process
	start int
	sent  int64
	late  bool
	do    func()
}

type world struct {
	*tape
	bucket
	backup    *bucket
	lossy     bool // what was acknowledged may be lost
	faulty    bool
	now       int64
	ahead     int64
	incs      uint64
	processes []*process
	flights   []*flight
	serving   int
	losses    []loss
	breaks    int // how often all connections broke, of which a claim that is under way takes note

	sure      map[uint64]int64 // by incarnation: the last heartbeat that was taken makes it certain of its lease until then
	storedAt  map[uint64]int64 // by token: when the claim was stored first
	newest    uint64           // of the terms that began
	tokenOf   string
	traced    bool
	trace     []string
	violation string
}

func newWorld(t *tape, lossy, traced bool) *world {
	w := &world{tape: t, lossy: lossy, faulty: true, traced: traced, now: 10_000, incs: 100, storedAt: map[uint64]int64{}, sure: map[uint64]int64{}}
	w.bucket = bucket{made: 1, records: map[string]record{}}
	for slot, name := range slotNames {
		ttl := int64(3000)
		if name == "c" {
			ttl = 6000
		}
		w.processes = append(w.processes, &process{w: w, slot: slot, node: name[:1], ttl: ttl})
	}
	for _, p := range w.processes[:2] {
		p.joins()
	}
	return w
}

func (w *world) tracef(format string, args ...any) {
	if w.traced {
		line := fmt.Sprintf("%7d  ", w.now) + fmt.Sprintf(format, args...)
		w.trace = append(w.trace, strings.ReplaceAll(line, `,"since":`, "~"))
	}
}

func (w *world) fail(what, format string, args ...any) {
	if w.violation == "" {
		w.violation = what + ": " + fmt.Sprintf(format, args...)
		w.tracef("BROKEN %s", w.violation)
	}
}

func (w *world) send(p *process, what string, do func()) { p.send(what, do) }

func (p *process) send(what string, do func()) {
	if p.cut {
		return
	}
	p.w.flights = append(p.w.flights, &flight{what: what, by: p, start: p.start, sent: p.w.now, do: do})
}

// reply answers what is being served.
func (w *world) reply(p *process, what string, then func()) {
	w.flights = append(w.flights, &flight{what: what, to: p, start: w.serving, sent: w.now, do: then})
}

// arrive delivers a message, or loses it.
func (w *world) arrive(i int) {
	f := w.flights[i]
	if f.to != nil && f.to.frozen && f.to.start == f.start {
		return
	}
	w.flights = slices.Delete(w.flights, i, i+1)
	if f.to == nil {
		if f.what != "heartbeat" {
			w.tracef("bucket: hears %s of %s", f.what, f.by.name())
		}
		w.serving = f.start
		f.do()
		return
	}
	if p := f.to; p.up && p.start == f.start && !p.cut {
		if f.what != "heartbeat taken" || w.faulty {
			w.tracef("%s: hears %q", p.name(), f.what)
		}
		f.do()
	}
}

const inTime = 200

// settle does whatever may not wait any longer: what is not lost comes in time, and who runs does what is due.
func (w *world) urgent() {
	for i := 0; i < len(w.flights); i++ {
		f := w.flights[i]
		if w.now-f.sent > inTime && !f.late && !(f.to != nil && f.to.frozen && f.to.start == f.start) {
			w.arrive(i)
			i = -1
		}
	}
	for _, p := range w.processes {
		if !p.runs() {
			continue
		}
		if w.now >= p.beatAt && !p.ended || p.mending && w.now >= p.again {
			p.tick()
		}
		if p.missedNodes || p.missedEntries {
			if p.missedSince == 0 {
				p.missedSince = w.now
			}
			if w.now-p.missedSince >= p.ttl/4 {
				p.catchUp()
			}
		}
	}
}

func (p *process) runs() bool { return p.up && !p.frozen && !p.cut }

func (p *process) catchUp() {
	p.readNodes()
	p.readEntries()
	p.missedSince = 0
	for p.news(0) || p.news(1) {
	}
}

// news takes in one piece of news.
func (p *process) news(stream int) bool {
	switch {
	case p.frozen || !p.up:
	case stream == 0 && len(p.nodeNews) > 0:
		n := p.nodeNews[0]
		p.nodeNews = p.nodeNews[1:]
		p.w.tracef("%s: hears of %s %s %v", p.name(), n.kind, n.node, n.id)
		p.hearNode(n)
		p.see()
		return true
	case stream == 1 && len(p.entryNews) > 0:
		n := p.entryNews[0]
		p.entryNews = p.entryNews[1:]
		p.w.tracef("%s: hears of the post: %d %s removed=%v", p.name(), n.entry.Generation, n.entry.Value, n.entry.Removed)
		p.hearEntry(n.entry)
		p.loaded = p.loaded || n.whole
		return true
	}
	return false
}

var steps = []int64{1, 5, 20, 100, 300, 800}

func (w *world) pass(by int64) {
	w.urgent()
	w.now += by
	w.fire()
	for _, p := range w.processes {
		if p.up && !p.frozen {
			p.check()
		}
	}
}

// step is one thing that happens.
func (w *world) step() {
	p := w.processes[w.n(len(w.processes))]
	switch w.n(24) {
	case 0, 1, 2, 3:
		w.pass(steps[w.n(len(steps))])
	case 4, 5, 6, 7, 8, 9:
		if len(w.flights) > 0 {
			w.arrive(w.n(len(w.flights)))
		}
	case 10, 11, 12:
		p.news(w.n(2))
	case 13, 14, 15, 16:
		p.tick()
	case 17:
		if p.runs() && (p.missedNodes || p.missedEntries) {
			p.catchUp()
		}
	case 18:
		p.resign()
	case 19, 20, 21:
		w.fault(p)
	case 22:
		if w.lossy && w.n(6) == 5 {
			w.lose(p)
		}
	}
	w.check()
}

// fault is one that loses nothing that was acknowledged.
func (w *world) fault(p *process) {
	switch w.n(12) {
	case 0, 1:
		if p.up {
			p.frozen = !p.frozen
			w.tracef("%s: frozen=%v", p.name(), p.frozen)
		}
	case 2, 3, 4:
		if p.up && p.cut {
			p.reconnect()
		} else if p.up {
			p.disconnect()
		}
	case 5:
		if p.up {
			w.tracef("%s: dies", p.name())
			p.up, p.term, p.frozen = false, nil, false
			p.start++
		}
	case 6, 7:
		switch {
		case !p.up:
			p.joins()
		case p.ended && !p.cut && !p.frozen:
			p.rejoins()
		}
	case 8:
		p.leaves()
	case 9:
		if len(w.flights) > 0 {
			f := w.flights[w.n(len(w.flights))]
			if f.late = true; f.to != nil {
				w.flights = slices.DeleteFunc(w.flights, func(g *flight) bool { return g == f }) // an answer is lost
			}
		}
	case 10:
		if w.n(8) == 7 {
			w.ahead += 20_000
			w.tracef("bucket: the clock is ahead")
			w.fire()
		}
	case 11:
		w.backup = w.bucket.clone()
	}
}

func (w *world) lose(p *process) {
	switch w.n(6) {
	case 0, 1:
		w.goBack()
	case 2:
		w.makeAnew()
	case 3:
		w.purge()
	case 4:
		w.purgeRecord(p.node)
	case 5:
		w.scribble([]string{"", "42"}[w.n(2)], w.n(2) == 1)
	}
}

func (p *process) disconnect() {
	p.cut, p.halfOpen = true, p.w.n(3) == 2
	p.w.tracef("%s: cut off, half open=%v", p.name(), p.halfOpen)
	p.nodeNews, p.entryNews = nil, nil
	p.missedNodes, p.missedEntries = true, true
}

func (p *process) reconnect() {
	p.w.tracef("%s: connected", p.name())
	p.cut, p.shaken, p.missedSince, p.beatAt = false, p.w.now, p.w.now, p.w.now
}

// leaves ends this life of its node, but not the process.
func (p *process) leaves() {
	if !p.up || p.ended || p.frozen {
		return
	}
	w, inc := p.w, p.inc
	w.tracef("%s: leaves", p.name())
	p.ended = true
	if p.term != nil {
		p.term.keeps = false
		p.resign()
	}
	p.leased = false
	w.send(p, "goodbye", func() {
		if r, is := w.records[p.node]; is && !r.over && r.id.incarnation == inc {
			w.bury(p.node, "left")
		}
	})
}

func (p *process) rejoins() {
	w := p.w
	p.loseLease("another life")
	w.incs++
	p.inc, p.version, p.ended, p.leased, p.until, p.beatAt, p.shaken = w.incs, 1, false, false, 0, w.now, w.leaderFrom
	p.lives, p.doubts, p.ends, p.nodeNews = map[string]vita{}, map[string]int64{}, map[string]end{}, nil
	w.tracef("%s rejoins as incarnation %d", p.name(), p.inc)
	w.store(p.node, vita{p.inc, 1}, p.ttl, w.server(), w.now)
	p.renew(w.now)
	p.readNodes()
}

func (w *world) String() string { return strings.Join(w.trace, "\n") }
