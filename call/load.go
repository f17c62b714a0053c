package call

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rolebus/rolebus"
)

// life is one life of one node.
type life struct {
	name        string
	incarnation uint64
}

func lifeIn(n *rolebus.Node) life { return life{n.Name(), n.Incarnation()} }

// busyFor is for how long a node that was busy counts as busier than one that was not.
const busyFor = time.Second

// loads count what this process has under way, for [LeastBusy]. What is kept of a life goes with its last call, or, if it was busy, as soon
// as so many are kept that some must be of the past.
type loads struct {
	mu    sync.Mutex
	lives map[life]*load
}

type load struct {
	underWay int
	busy     time.Time // when it refused last
}

func (l *loads) begin(n *rolebus.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(lifeIn(n)).underWay++
}

// of is called with the lock held.
func (l *loads) of(id life) *load {
	if l.lives == nil {
		l.lives = map[life]*load{}
	}
	of := l.lives[id]
	if of == nil {
		of = &load{}
		l.lives[id] = of
	}
	return of
}

func (l *loads) end(n *rolebus.Node, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, now := lifeIn(n), time.Now()
	of := l.of(id)
	of.underWay--
	if busy {
		of.busy = now
	}
	if of.idle(now) {
		delete(l.lives, id)
	}
}

func (l *load) idle(now time.Time) bool { return l.underWay <= 0 && now.Sub(l.busy) >= busyFor }

// sweep forgets those who were busy once.
func (l *loads) sweep(now time.Time) {
	for id, of := range l.lives {
		if of.idle(now) {
			delete(l.lives, id)
		}
	}
}

func (l *loads) pick(nodes rolebus.Nodes, _ string) (*rolebus.Node, error) {
	n := nodes.Len()
	one := rand.IntN(n)
	if n == 1 {
		return nodes.At(one), nil
	}
	other := rand.IntN(n - 1)
	if other >= one {
		other++
	}
	first, second := nodes.At(one), nodes.At(other)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lives) == 0 {
		return first, nil
	}
	now := time.Now()
	if len(l.lives) > 2*n+16 {
		l.sweep(now)
	}
	if l.weight(second, now).less(l.weight(first, now)) {
		return second, nil
	}
	return first, nil
}

type weight struct {
	busy     bool
	underWay int
}

func (w weight) less(than weight) bool {
	if w.busy != than.busy {
		return than.busy
	}
	return w.underWay < than.underWay
}

func (l *loads) weight(n *rolebus.Node, now time.Time) weight {
	of := l.lives[lifeIn(n)]
	if of == nil {
		return weight{}
	}
	return weight{now.Sub(of.busy) < busyFor, of.underWay}
}
