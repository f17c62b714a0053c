package embedded

import (
	"slices"
	"strings"
	"time"
)

// How a simulated process asks others, as package hello and loop do.

// shown is what discovery shows.
func (w *world) shown(p *proc) []contact {
	var list []contact
	for _, m := range w.machines { // in order: chance must go the same way each time
		if at, ok := p.m.shown[m]; ok && !at.After(w.now) {
			port := 6222
			if m.proc != nil {
				port = m.proc.port
			}
			list = append(list, contact{Host: m.host, Port: port})
		}
	}
	return list
}

// open is what asking.open says.
func (w *world) open(p *proc) int {
	open := map[contact]bool{}
	for _, c := range slices.Concat(w.shown(p), p.b.members) {
		open[c] = true
	}
	for _, o := range p.b.view.others {
		open[o.contact] = true
		for _, c := range o.hello.Others {
			open[c] = true
		}
	}
	n := 0
	for c := range open {
		if a := p.asks[c]; a == nil || a.open {
			n++
		}
	}
	return n
}

// ask is what loop.ask and asking do.
func (w *world) ask(p *proc) {
	keep, add := map[contact]bool{}, func(c contact) {
		if p.asks[c] == nil {
			p.asks[c] = &simAsk{last: w.now, open: true}
		}
	}
	for _, c := range slices.Concat(w.shown(p), p.b.members) {
		keep[c] = true
		add(c)
	}
	partners := map[contact]bool{}
	for _, o := range p.b.view.others {
		add(o.contact)
		for _, c := range o.hello.Others {
			add(c)
		}
		if o.hello.Phase != phaseSpare && o.hello.Cluster == p.b.cluster {
			partners[o.contact] = true
		}
	}
	settled := simSettled(p)
	var turn []contact
	for c, a := range p.asks {
		switch {
		case !keep[c] && !a.waits && w.now.Sub(a.last) > dropAfter:
			delete(p.asks, c)
		case !a.waits && !w.now.Before(a.next):
			turn = append(turn, c)
		}
	}
	slices.SortFunc(turn, func(a, b contact) int { return strings.Compare(a.String(), b.String()) })
	for _, c := range turn {
		pace := askEvery
		if settled {
			pace = askRarely
			if partners[c] {
				pace = askSettled
			}
		}
		w.put(p, c, pace)
	}
}

// put puts a question to whoever listens there.
func (w *world) put(p *proc, c contact, pace time.Duration) {
	a := p.asks[c]
	if a.fails > 0 {
		pace = min(max(pace, askEvery<<min(a.fails, 4)), askRarely)
	}
	a.waits, a.next = true, w.now.Add(pace)
	back := func(do func()) func() { // to the asker, if it is there
		return func() {
			switch {
			case p.m.proc != p:
			case p.frozen:
				p.late = append(p.late, do)
			default:
				do()
			}
		}
	}
	failed := back(func() {
		a.waits, a.open = false, false
		a.fails++
		p.b.view.miss(w.now, c)
	})
	to := w.at(c.Host)
	if to == nil || to.proc == nil || to.proc.port != c.Port {
		w.after(w.between(time.Millisecond, 5*time.Millisecond), failed) // the port is closed
		return
	}
	if !w.dials(p.m, to) || w.rng.Float64() < w.loss {
		w.after(askPatience, failed)
		return
	}
	question, deadline, answered := *p.own, w.now.Add(askPatience), false
	w.after(askPatience, func() {
		if !answered {
			failed()
		}
	})
	w.after(w.travels(p.m, to), func() {
		q := to.proc
		if q == nil || q.port != c.Port {
			return
		}
		hear := func() {
			w.hear(q, contact{Host: p.m.host}, &question)
			if !w.dials(p.m, to) || w.now.After(deadline) {
				return
			}
			answer := *q.own
			if w.now.Sub(q.said) > fresh {
				answer.Lead = nil
			}
			w.after(w.travels(to, p.m), back(func() {
				if answered || w.now.After(deadline) {
					return
				}
				answered = true
				*a = simAsk{next: a.next, last: w.now}
				w.hear(p, c, &answer)
				if o := p.b.view.others[answer.Instance]; o == nil || o.contact != c {
					a.next = w.now.Add(askRarely)
				}
			}))
		}
		if q.frozen {
			q.late = append(q.late, hear)
			return
		}
		hear()
	})
}

// travels is how long it takes from one to another.
func (w *world) travels(from, to *machine) time.Duration {
	if w.far[[2]int{min(from.n, to.n), max(from.n, to.n)}] {
		return w.between(800*time.Millisecond, 990*time.Millisecond)
	}
	return w.between(time.Millisecond, w.delay/2+2*time.Millisecond)
}

func (w *world) at(host string) *machine {
	for _, m := range w.machines {
		if m.host == host {
			return m
		}
	}
	return nil
}

func (w *world) hear(p *proc, from contact, h *hello) {
	if h.Instance != p.b.instance {
		said := *h
		said.Others = slices.Clone(h.Others)
		if err := said.check(); err != nil {
			w.fail("%s says what is refused: %v", h.Name, err)
			return
		}
		p.b.view.hear(w.now, from, &said)
	}
}
