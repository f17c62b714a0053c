package nats_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

var (
	churnFor  = flag.Duration("for", 2*time.Second, "how long TestTwoFleetsOfOneName lets processes come and go")
	churnSeed = flag.Uint64("seed", 1, "the seed by which it does")
)

// On a hub and on a leaf of it processes come and go for a while, most of them under names that the other side has, too. No
// process sees a live one of its own side go, nor any one of the other side come.
func TestTwoFleetsOfOneName(t *testing.T) {
	t.Parallel()
	for i, name := range []string{"domains", "no domains"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, leaf := rolebustest.NewLeaf(t, leafSetups[name](t))
			awaitLink(t, hub, leaf)
			c := &churn{t: t, rng: rand.New(rand.NewPCG(*churnSeed, uint64(i)))}
			for _, srv := range []*rolebustest.Server{hub, leaf} {
				s := newSide(t, srv)
				for _, node := range []string{"a", "b", "c", "d", "e", srv.Name()} {
					c.seats = append(c.seats, &seat{side: s, node: node, links: []*rolebustest.Link{srv.Link(), srv.Link(), srv.Link()}})
				}
				c.sides = append(c.sides, &population{side: s, came: map[uint64]bool{}, ended: map[uint64]bool{}, at: map[*watched]int{}})
			}
			for _, s := range c.seats {
				c.start(s)
			}
			for end := time.Now().Add(*churnFor); time.Now().Before(end); {
				began := time.Now()
				c.step()
				c.slowest = max(c.slowest, time.Since(began))
				c.check()
				time.Sleep(time.Duration(c.rng.IntN(200)) * time.Millisecond) // load, not timing
			}
			eventually(t, "all ends to be seen", func() bool {
				c.check()
				return len(c.sides[0].dying)+len(c.sides[1].dying) == 0
			})
			c.dead.Wait()
			for _, s := range c.sides {
				s.side.settle()
				s.side.holds()
			}
			c.check()
			t.Logf("seed %d, %v: %s", *churnSeed, *churnFor, c)
		})
	}
}

// churn is what happens to the processes of two fleets.
type churn struct {
	t     *testing.T
	rng   *rand.Rand
	sides []*population
	seats []*seat
	dead  sync.WaitGroup // of processes that were killed, in which they still run

	starts, kills, goodbyes, changes, events int

	longest time.Duration // from an end until all of its side were found to have seen it
	slowest time.Duration // of a step, after which that is looked for
}

// population is who lives, and who lived, on a side.
type population struct {
	side  *side
	came  map[uint64]bool // incarnations
	ended map[uint64]bool // those that were killed, or left
	dying []death
	at    map[*watched]int // how many events of each were checked
}

// death is one that not everybody has seen.
type death struct {
	node        string
	incarnation uint64
	at          time.Time
}

// seat is a place for a process of a name.
type seat struct {
	side  *side
	node  string
	bus   *rolebus.Bus        // nil while it is empty
	links []*rolebustest.Link // the first is the bus's
}

func (c *churn) population(s *seat) *population {
	return c.sides[slices.IndexFunc(c.sides, func(p *population) bool { return p.side == s.side })]
}

// step does something to one process.
func (c *churn) step() {
	s := c.seats[c.rng.IntN(len(c.seats))]
	switch action := c.rng.IntN(10); {
	case s.bus == nil:
		c.start(s)
	case action < 2:
		c.kill(s)
	case action < 4:
		c.leave(s)
	default:
		c.changes++
		roles := []rolebus.Role{"x", rolebus.Role(fmt.Sprint("r", c.rng.IntN(20)))}
		require.NoError(c.t, s.bus.SetRoles(c.t.Context(), roles...))
	}
}

func (c *churn) start(s *seat) {
	c.starts++
	s.links = append(s.links[1:], s.links[0])
	s.links[0].Mend()
	s.side.open(s.node, s.links[0])
	s.bus = s.side.bus(s.node)
	c.population(s).came[incarnation(s.bus)] = true
}

// end takes note that a process is about to end, before anybody can see it.
func (c *churn) end(s *seat) {
	p := c.population(s)
	p.ended[incarnation(s.bus)] = true
	p.dying = append(p.dying, death{s.node, incarnation(s.bus), time.Now()})
	s.side.without(s.node)
}

func (c *churn) kill(s *seat) {
	c.kills++
	c.end(s)
	s.links[0].Cut()
	dead := s.bus
	c.dead.Go(func() { _ = dead.Close() }) // it cannot say goodbye, and tries for a while
	s.bus = nil
}

func (c *churn) leave(s *seat) {
	c.goodbyes++
	c.end(s)
	require.NoError(c.t, s.bus.Close())
	s.bus = nil
}

// check looks at all events since the last time: who left must have ended, and who came must be of the side.
func (c *churn) check() {
	c.t.Helper()
	for _, p := range c.sides {
		for _, w := range p.side.watched {
			w.look()
			all := w.events.list()
			for _, ev := range all[p.at[w]:] {
				c.events++
				is := fmt.Sprintf("%s %s saw of %s, incarnation %d: %v %v %v", p.side.name, w.bus.Name(), ev.Node.Name(),
					ev.Node.Incarnation(), ev.Kind, ev.Role, ev.Reason)
				if !p.came[ev.Node.Incarnation()] {
					c.t.Errorf("one of the other side: %s\n%s", is, w.log)
				}
				if ev.Kind == rolebus.NodeLeft && !p.ended[ev.Node.Incarnation()] && !p.side.unanswered(ev.Node) {
					c.t.Errorf("a false loss: %s\n%s", is, w.log)
				}
			}
			p.at[w] = len(all)
		}
		p.side.watched = slices.DeleteFunc(p.side.watched, func(w *watched) bool {
			gone := w.bus.Err() != nil && w.events.over()
			if gone {
				delete(p.at, w)
			}
			return gone
		})
		p.dying = slices.DeleteFunc(p.dying, func(d death) bool {
			for _, b := range p.side.buses {
				for n := range b.AllNodes().All() {
					if n.Name() == d.node && n.Incarnation() == d.incarnation {
						if took := time.Since(d.at); took > ttl+time.Second+slack {
							c.t.Errorf("%s %s lists %s %v after it ended", p.side.name, b.Name(), d.node, took)
						}
						return false
					}
				}
			}
			c.longest = max(c.longest, time.Since(d.at))
			return true
		})
	}
	if c.t.Failed() {
		c.t.FailNow()
	}
}

func (c *churn) String() string {
	return fmt.Sprintf("%d starts, %d kills, %d goodbyes, %d changes; %d events seen, no false loss; who ended was seen by all within %v, looked for after steps of up to %v",
		c.starts, c.kills, c.goodbyes, c.changes, c.events, c.longest.Round(time.Millisecond), c.slowest.Round(time.Millisecond))
}
