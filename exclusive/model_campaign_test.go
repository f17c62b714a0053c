package exclusive

import (
	"time"
)

// term is one that a process has, or has had and not let go.
type term struct {
	claim  claim
	live   bool
	lease  int
	keeps  bool // its function does not see at once that it is over
	asked  int64
	knew   uint64          // the largest token that it had heard of when it asked
	warned int64           // the last loss that it had learnt of by then
	away   map[uint64]bool // the tokens of terms, and of those that were to be, whose processes could not answer it
}

const patience = 5000

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// holds says whether the process has the term by its own clock, as Term.Left does.
func (p *process) holds() bool {
	return p.up && p.term != nil && p.term.live && p.leased && p.leases == p.term.lease && p.w.now <= p.until
}

// campaign does what the package's campaign does when it looks.
func (p *process) campaign() {
	w := p.w
	if p.ended || !p.wants || !p.loaded || !p.leased || p.busy || p.mending || w.now < p.again {
		return
	}
	if p.breaks != w.breaks {
		if !p.cut {
			p.refresh(func() { p.breaks = w.breaks }, func() { p.again = w.now + firstRetry.Milliseconds() })
		}
		return
	}
	p.see()
	v := p.judge(p.view())
	if !v.may && !v.confirm {
		return
	}
	p.busy, p.mine[p.inc] = true, true
	known := p.standing
	t := &term{lease: p.leases, live: true, asked: -1, keeps: w.faulty && w.n(8) == 7}
	inc := p.inc
	fail := func() {
		p.again = w.now + firstRetry.Milliseconds()
		p.release()
	}
	base, breaks := known.base, w.breaks
	claims := func() {
		t.claim = claim{life: life{p.node, inc}, token: known.next(at(w.server())), ttl: ms(p.ttl), since: at(w.server())}
		if known.claim.token > 0 && w.violation == "" && t.claim.token <= known.claim.token {
			w.fail("tokens grow", "%s claims with %d over %d", p.name(), t.claim.token, known.claim.token)
		}
		starts := func() {
			if p.check(); !p.leased || p.leases != t.lease || breaks != w.breaks {
				fail()
				return
			}
			p.term = t
			w.begun(p)
			p.tend()
		}
		looks := func() {
			p.refresh(func() {
				if p.stands && p.claim == t.claim {
					starts()
					return
				}
				fail()
			}, fail)
		}
		w.tracef("%s: claims with %d over %d", p.name(), t.claim.token, base)
		p.listens = t
		p.write(t.claim, base, false, starts, looks, looks)
	}
	asks := func() {
		t.knew, t.warned = p.claim.token, max(p.bucketAge, p.shaken)
		silence := claims
		if v.answer || known.base == 0 {
			silence = fail
		}
		p.ask(t, claims, silence, fail)
	}
	if marked := asks; base == 0 {
		asks = func() {
			p.mark(func(generation uint64) {
				base = generation
				marked()
			}, fail)
		}
	}
	if !v.confirm {
		asks()
		return
	}
	p.request("standing", func(reply func(string, func())) {
		r := w.records[known.claim.node]
		reply("standing", func() {
			heard := max(r.generation, r.beat)
			if r.over || r.id.incarnation != known.claim.incarnation {
				heard = 0
			}
			if p.claim != known.claim || p.confirm(heard, at(w.now)) || !v.may {
				fail()
				return
			}
			asks()
		})
	}, fail)
}

// ask asks whoever holds the post, wherever it is.
func (p *process) ask(t *term, nobody, silence, fail func()) {
	w := p.w
	p.request("ask", func(reply func(string, func())) {
		t.asked, t.away = w.now, map[uint64]bool{}
		silent := false
		for _, q := range w.processes {
			if !q.up || q.listens == nil || q == p {
				continue
			}
			switch {
			case q.cut && !q.halfOpen: // the servers know that it is gone
				t.away[q.listens.claim.token] = true
			case q.frozen, q.cut:
				t.away[q.listens.claim.token], silent = true, true
			default:
				q.check()
				if q.listens == nil {
					continue
				}
				if q.term == nil {
					silent = true // it does not know yet whether its claim was stored
					continue
				}
				c := q.term.claim
				q.send("get", func() {
					e := w.entry
					e.Name = "n"
					w.reply(q, "stands", func() {
						if e.Generation > q.base || e.Generation == 0 {
							q.hearEntry(e)
						}
					})
				})
				reply("holds", func() {
					p.recall(c, at(w.now))
					p.see()
					fail()
				})
				return
			}
		}
		if !silent {
			reply("nobody", nobody)
		}
	}, silence)
}

// resign gives the post up.
func (p *process) resign() {
	if p.term == nil {
		return
	}
	if p.term.live {
		p.term.keeps = false
		p.endTerm("resigned")
		return
	}
	p.release() // the function of Run has returned
}

// tick is whatever the process would do now.
func (p *process) tick() {
	if !p.up || p.frozen {
		return
	}
	w := p.w
	p.check()
	if a := p.asking; a != nil && w.now > a.until {
		a.fail()
	}
	if w.now >= p.beatAt && !p.ended {
		p.beat()
	}
	if p.see(); p.mending && p.asking == nil && w.now >= p.again && !p.ended {
		p.mend()
	}
	if p.asking == nil {
		p.campaign()
	}
}
