package exclusive

import (
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/rolebus/rolebus"
)

// What the members' names alone say of who owns what, computed once for each change of the members.

// plan is who owns each partition, as places in a list of nodes. It never changes.
type plan struct {
	snap   *rolebus.Snapshot
	nodes  rolebus.Nodes
	crew   crew
	owners []int
}

// planner has the newest plan of some partitions.
type planner struct {
	newest atomic.Pointer[plan]
	mu     sync.Mutex // while another one is made: it is made once
}

// planners are those of a scope. A program has few of them; if it has more than are kept, any one makes room for the next, so that most
// are there still when they are asked for again.
type planners struct {
	mu  sync.Mutex
	all map[planKey]*planner
}

type planKey struct {
	role rolebus.Role
	n    int
	meta string
}

const mostPlanners = 256 // each keeps a snapshot

func (ps *planners) of(key planKey) *planner {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.all[key]
	if p == nil {
		if ps.all == nil {
			ps.all = map[planKey]*planner{}
		}
		for other := range ps.all {
			if len(ps.all) < mostPlanners {
				break
			}
			delete(ps.all, other)
		}
		p = &planner{}
		ps.all[key] = p
	}
	return p
}

type plannersKey struct{}

// plan returns the plan of a snapshot.
func (d *division) plan(snap *rolebus.Snapshot) *plan {
	ps := d.scope.Keep(plannersKey{}, func() any { return &planners{} }).(*planners)
	p := ps.of(planKey{d.role, d.n, d.meta})
	if newest := p.newest.Load(); newest != nil && newest.snap == snap {
		return newest
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	newest := p.newest.Load()
	if newest != nil && newest.snap == snap {
		return newest
	}
	next := &plan{snap: snap, nodes: snap.Nodes(d.role)}
	next.crew = crewIn(next.nodes, d.meta)
	if newest != nil && newest.crew.equal(next.crew) {
		next.crew, next.owners = newest.crew, newest.owners
	} else {
		next.owners = next.crew.assign(string(d.role), d.n, nil)
	}
	p.newest.Store(next)
	return next
}

// of returns what is one life's, ascending.
func (p *plan) of(name string, incarnation uint64) (mine []int) {
	own := placeOf(p.nodes, name, incarnation)
	if own == nobody {
		return nil
	}
	for partition, i := range p.owners {
		if i == own {
			mine = append(mine, partition)
		}
	}
	return mine
}

// placeOf returns where a life is in a list of nodes. A node of its name that is another life is another process.
func placeOf(nodes rolebus.Nodes, name string, incarnation uint64) int {
	n := nodes.Find(name)
	if n == nil || n.Incarnation() != incarnation {
		return nobody
	}
	for i := range nodes.Len() {
		if nodes.At(i) == n {
			return i
		}
	}
	return nobody
}

// crewIn is the nodes as members, with what their metadata says of what they shall have.
func crewIn(nodes rolebus.Nodes, meta string) crew {
	c := crew{names: make([]string, 0, nodes.Len())}
	for n := range nodes.All() {
		c.names = append(c.names, n.Name())
		if meta != "" {
			c.weights = append(c.weights, weightIn(n.Meta(meta)))
		}
	}
	if len(c.weights) > 0 && c.weights[0] > 0 && !slices.ContainsFunc(c.weights, func(w int) bool { return w != c.weights[0] }) {
		c.weights = nil
	}
	return c
}

func (c crew) equal(other crew) bool {
	return slices.Equal(c.names, other.names) && slices.Equal(c.weights, other.weights)
}

const maxWeight = 10_000

// weightIn reads a weight: a number in decimal; what is none stands for 1.
func weightIn(text string) int {
	w, err := strconv.ParseUint(text, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 1
	}
	return int(min(w, maxWeight))
}
