package exclusive

import (
	"github.com/rolebus/rolebus"
)

// A process of the model's world. What it decides about a post the real rules decide, in the order in which the package asks them; what it sees
// of nodes is what the root promises: see Snapshot.Lives and Snapshot.Buried.

type process struct {
	w     *world
	slot  int
	node  string
	up    bool
	start int // counts its starts: answers to what was asked before are nobody's

	frozen, cut bool
	halfOpen    bool // cut: the servers have not noticed

	// its life
	inc     uint64
	version uint64
	ended   bool // a newer life of its name is there, or it has left
	ttl     int64

	// its lease
	leases int // counts those that it had
	leased bool
	until  int64
	beatAt int64
	shaken int64 // when the bus was last in trouble
	joinAt int64

	// what it knows of nodes
	lives  map[string]vita
	doubts map[string]int64
	ends   map[string]end

	// what it knows of the bucket
	madeSeen  int
	lastSeen  uint64
	bucketAge int64 // since when, by what it was told

	nodeNews      []nodeNews
	entryNews     []entryNews
	missedNodes   bool
	missedEntries bool
	missedSince   int64

	// the post
	standing
	loaded  bool
	breaks  int // how often connections had broken when all was read last
	mine    map[uint64]bool
	largest int64
	term    *term
	listens *term // the one that it has, or is about to: it hears who asks
	busy    bool
	mending bool
	again   int64 // a campaign or a mend that failed waits until then
	wants   bool
	asking  *asking
}

type end struct {
	id         vita
	generation uint64
	judged     bool
}

// asking is one request that has no answer yet.
type asking struct {
	until int64
	fail  func()
}

// joins makes it a member, as soon as it has written its record and read the bucket.
func (p *process) joins() {
	w := p.w
	w.incs++
	*p = process{
		w: w, slot: p.slot, node: p.node, up: true, start: p.start + 1, inc: w.incs, version: 1, ttl: p.ttl, joinAt: w.now, shaken: w.leaderFrom, beatAt: w.now,
		lives: map[string]vita{}, doubts: map[string]int64{}, ends: map[string]end{}, mine: map[uint64]bool{}, missedNodes: true, missedEntries: true,
		missedSince: w.now, wants: true,
	}
	w.tracef("%s joins as incarnation %d", p.name(), p.inc)
	w.store(p.node, vita{p.inc, 1}, p.ttl, w.server(), w.now)
	p.renew(w.now)
	p.readNodes()
	p.readEntries()
}

func (p *process) name() string { return slotNames[p.slot] }

// lease

func (p *process) renew(sent int64) {
	until := sent + sureOf(p.ttl)
	if p.ended || until <= p.w.now || until <= p.until && p.leased {
		return
	}
	if !p.leased {
		p.leases++
		p.leased = true
	}
	p.until = until
}

func (p *process) check() {
	if p.leased && p.w.now > p.until {
		p.loseLease("no heartbeat got through")
	}
}

func (p *process) loseLease(why string) {
	if !p.leased {
		return
	}
	p.leased = false
	if p.term != nil && p.term.live {
		p.endTerm(why)
	}
}

func (p *process) endTerm(why string) {
	p.w.tracef("%s: term %d is over: %s", p.name(), p.term.claim.token, why)
	p.term.live, p.listens = false, nil
	if p.term.keeps {
		return
	}
	p.release()
}

// release is what the package does when it lets go.
func (p *process) release() {
	p.busy, p.term, p.listens = false, nil, nil
	p.tend()
}

// heartbeat

func (p *process) beat() {
	w, sent, server := p.w, p.w.now, p.w.server()
	p.beatAt = w.now + p.ttl/3
	if p.cut || p.ended {
		return
	}
	id, ttl := p.inc, p.ttl
	w.send(p, "heartbeat", func() {
		r, is := w.records[p.node]
		if is && !r.over && r.id.incarnation == id {
			w.last++
			r.due, r.beat = max(r.due, server+ttl), w.last
			w.sure[id] = max(w.sure[id], sent+sureOf(ttl))
			w.records[p.node] = r
			w.reply(p, "heartbeat taken", func() {
				if p.inc == id {
					p.renew(sent)
				}
				p.check()
			})
			return
		}
		w.reply(p, "heartbeat refused", func() {
			if p.check(); p.inc == id && !p.ended {
				p.lookFor()
			}
		})
	})
}

// lookFor writes the record again, unless a newer life has it.
func (p *process) lookFor() {
	w, sent, server := p.w, p.w.now, p.w.server()
	id, ttl, version, start := p.inc, p.ttl, p.version, p.start
	if p.cut {
		return
	}
	w.send(p, "record", func() {
		r, is := w.records[p.node]
		switch {
		case is && r.id.incarnation > id:
			w.reply(p, "superseded", func() {
				if p.inc == id {
					p.ended = true
					p.loseLease("superseded")
				}
			})
		case is && !r.over && r.id.incarnation == id:
		default:
			if is && r.id.incarnation == id {
				version = max(version, r.id.version)
			}
			if start == p.start && id == p.inc {
				p.version = version + 1
			}
			w.store(p.node, vita{id, version + 1}, ttl, server, sent)
			w.reply(p, "record written", func() {
				if p.inc == id {
					p.renew(sent)
				}
				p.check()
			})
		}
	})
}

// what it hears of nodes

func (p *process) hearNode(n nodeNews) {
	known, lives := p.lives[n.node]
	switch {
	case n.kind == "whole":
		for node, r := range n.whole {
			kind := "state"
			if r.over {
				kind = "found"
			}
			p.hearNode(nodeNews{node: node, id: r.id, generation: r.generation, kind: kind})
		}
		for node, id := range p.lives {
			if r, is := n.whole[node]; is && !r.over && r.id == id || node == p.node {
				continue
			}
			if due, is := p.doubts[node]; !is {
				p.doubts[node] = p.w.now + doubtMS(p.ttl)
			} else if p.w.now >= due {
				delete(p.lives, node)
				delete(p.doubts, node)
			}
		}
	case n.kind == "state":
		if n.node == p.node && n.id.incarnation > p.inc {
			p.ended = true
			p.loseLease("superseded")
		}
		if !p.ends[n.node].id.before(n.id) || lives && n.id.before(known) {
			return
		}
		p.lives[n.node] = n.id
		delete(p.doubts, n.node)
	case n.node == p.node && n.id.incarnation <= p.inc:
		// it knows better
	case lives && n.id.before(known):
		p.doubt(n.node)
	case n.kind == "expired" && lives && (n.wrong || p.w.faulty && p.w.n(4) == 3):
		p.doubt(n.node)
	case p.ends[n.node].id.before(n.id):
		judged := n.kind == "left" || n.kind == "expired" && lives && known.incarnation == n.id.incarnation
		p.ends[n.node] = end{n.id, n.generation, judged}
		delete(p.lives, n.node)
		delete(p.doubts, n.node)
	}
}

func (p *process) doubt(node string) {
	if _, is := p.doubts[node]; !is {
		p.doubts[node] = p.w.now + doubtMS(p.ttl)
	}
	p.missedNodes = true
}

func doubtMS(ttl int64) int64 { return ttl + ttl/3 }

// readings: what the bucket has comes behind what it has announced

func (p *process) readNodes() {
	if p.cut {
		return
	}
	p.missedNodes = len(p.doubts) > 0
	p.learn()
	p.nodeNews = append(p.nodeNews, nodeNews{kind: "whole", whole: p.w.clone().records})
}

func (p *process) readEntries() {
	if p.cut {
		return
	}
	p.missedEntries, p.breaks = false, p.w.breaks
	p.entryNews = append(p.entryNews, entryNews{entry: p.w.entry, whole: true})
}

// learn is what it is told of the bucket's age.
func (p *process) learn() {
	w := p.w
	switch {
	case p.madeSeen != w.made:
		p.bucketAge = w.madeAt
	case w.last < p.lastSeen:
		p.bucketAge = w.now
	}
	p.madeSeen, p.lastSeen = w.made, w.last
}

// the post

func (p *process) livesOf(c claim) bool {
	id, is := p.lives[c.node]
	return is && id.incarnation == c.incarnation
}

func (p *process) see() {
	if p.claim.token > 0 {
		p.standing.adopt(p.term == nil && p.own().life, at(p.w.now))
		p.standing.look(p.livesOf(p.claim), at(p.w.now))
	}
}

func (p *process) hearEntry(e rolebus.Entry) {
	p.standing.hear(e, at(p.w.now))
	p.see()
	p.largest = max(p.largest, p.claim.ttl.Milliseconds())
	p.tend()
}

func (p *process) own() own {
	o := own{busy: p.busy, life: p.claim.node == p.node && p.mine[p.claim.incarnation]}
	if p.term != nil && p.term.live {
		o.term = p.term.claim
	}
	return o
}

func (p *process) tend() {
	if t := p.term; t != nil && t.live && p.overtook(t.claim) {
		p.endTerm("taken")
		return
	}
	if do, _ := p.amiss(p.own()); do != nothing {
		p.mending = true
	}
}

// request sends what must have an answer; fail is for one that does not come.
func (p *process) request(what string, serve func(reply func(string, func())), fail func()) {
	w := p.w
	if p.cut {
		fail()
		return
	}
	a := &asking{until: w.now + patience}
	a.fail = func() { p.asking = nil; fail() }
	p.asking = a
	start := p.start
	w.send(p, what, func() {
		serve(func(what string, then func()) {
			w.reply(p, what, func() {
				if p.asking != a || p.start != start {
					return
				}
				p.asking = nil
				then()
			})
		})
	})
}

func (p *process) refresh(then, fail func()) {
	asked := p.base
	p.request("get", func(reply func(string, func())) {
		e := p.w.entry
		e.Name = "n"
		reply("stands", func() {
			if p.answers(asked, e.Generation) {
				p.hearEntry(e)
			}
			then()
		})
	}, fail)
}

// write stores a claim at the post.
func (p *process) write(c claim, base uint64, remove bool, then, conflict, fail func()) {
	p.put(c.encode(), base, remove, func(uint64) {
		if !remove {
			p.w.stored(p, c)
		}
	}, then, conflict, fail)
}

// mark puts something where nothing stands.
func (p *process) mark(then func(base uint64), fail func()) {
	var base uint64
	p.put(noClaim, 0, true, func(generation uint64) { base = generation }, func() { then(base) }, func() { p.refresh(fail, fail) }, fail)
}

func (p *process) put(value string, base uint64, remove bool, stored func(generation uint64), then, conflict, fail func()) {
	p.request("write", func(reply func(string, func())) {
		generation, ok := p.w.compareAndSet(value, remove, base)
		if ok {
			stored(generation)
		}
		reply("written", func() {
			if !ok {
				conflict()
				return
			}
			if p.answers(base, generation) {
				p.hearEntry(rolebus.Entry{Name: "n", Generation: generation, Value: value, Removed: remove})
			}
			then()
		})
	}, fail)
}

// mend is a step of the package's mend.
func (p *process) mend() {
	do, c := p.amiss(p.own())
	if do == nothing {
		p.mending = false
		return
	}
	later := func() { p.again = p.w.now + firstRetry.Milliseconds() }
	anew := func() { p.refresh(later, later) }
	p.w.tracef("%s: mends (%d) over %d", p.name(), do, p.base)
	p.write(c, p.base, do == givingUp, func() {}, anew, anew)
}

// view is what the package tells the rules.
func (p *process) view() view {
	w := p.w
	v := view{now: at(w.now), settled: ms(p.settled()), own: p.own().life}
	if p.claim.token == 0 {
		v.ttl = ms(max(p.largest, p.ttl))
		for _, q := range w.processes {
			if id, is := p.lives[q.node]; is && id.incarnation > 0 {
				v.ttl = max(v.ttl, ms(q.ttl))
			}
		}
	}
	if e := p.ends[p.claim.node]; e.judged && e.id.incarnation == p.claim.incarnation {
		v.buried = e.generation
	}
	return v
}

func (p *process) settled() int64 {
	if p.cut {
		return 0
	}
	return min(p.w.now-p.bucketAge, p.w.now-p.shaken)
}
