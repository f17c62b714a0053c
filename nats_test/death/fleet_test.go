package death_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
)

// patience is how long anything may take that is not measured: the lease ends everything in a fraction of it.
const patience = time.Minute

// fleet is a server and nodes, each a process, and what all of them reported.
type fleet struct {
	t    *testing.T
	url  string
	hold time.Duration

	mu      sync.Mutex
	changed chan struct{} // closed when a report came
	nodes   []*node       // that run
	lives   map[life]int64
	ends    map[life]map[*node]end // by whom reported, of whom
	early   []report               // of lives that are not known yet
	wrong   []string               // reports of a death that was none
	ghosts  []*ghost
	gaps    map[life][]time.Duration // how long somebody did not list a node that it lists again
}

// node is a process of the fleet.
type node struct {
	*child
	name string

	// Guarded by the fleet's mu.
	life life
	view map[string]sight // whom it sees
	lost map[life]int64   // whom it saw, and since when it does not
}

// life is one incarnation of a name. In fleet.lives it has the time at which the test laid hands on it; 0 if it did not: then
// nobody may report that it left.
type life struct {
	node        string
	incarnation uint64
}

// sight is that a node is seen: in which life, and since when.
type sight struct {
	incarnation uint64
	at          int64
}

type report struct {
	by   *node
	line line
}

// ghost is a dead node that somebody lists. Who joins finds its record as long as its lease runs.
type ghost struct {
	by   *node
	who  life
	took time.Duration // until by knew better; 0 if it did not yet
	from int64
	back bool // by had reported it gone before
}

// end is how and when a node saw another one go.
type end struct {
	at     int64
	reason string
}

func startFleet(t *testing.T, n int, events bool, hold time.Duration) *fleet {
	t.Helper()
	_, ready, err := startChild(t, roleServer, config{Dir: t.TempDir(), Events: events}, nil)
	require.NoError(t, err)
	f := newFleet(t, ready.Text, hold)
	require.NoError(t, f.startAll(0, n))
	return f
}

func newFleet(t *testing.T, url string, hold time.Duration) *fleet {
	return &fleet{
		t: t, url: url, hold: hold, changed: make(chan struct{}),
		lives: map[life]int64{}, ends: map[life]map[*node]end{}, gaps: map[life][]time.Duration{},
	}
}

// startAll starts some nodes, at once, and returns when everybody sees them.
func (f *fleet) startAll(from, n int) error {
	var starting sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		starting.Go(func() { _, errs[i] = f.start(fmt.Sprint("node-", from+i)) })
	}
	starting.Wait()
	for _, n := range f.running() {
		errs = append(errs, f.waitSeen(n))
	}
	return errors.Join(errs...)
}

// start starts a node and returns when it has joined.
func (f *fleet) start(name string) (*node, error) { return f.startAt(f.url, name) }

func (f *fleet) startAt(url, name string) (*node, error) {
	n := &node{name: name, view: map[string]sight{}, lost: map[life]int64{}}
	var ready line
	var err error
	n.child, ready, err = startChild(f.t, roleNode, config{URL: url, Node: name, TTL: *ttl, Hold: f.hold}, func(l line) { f.hear(n, l) })
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = append(f.nodes, n)
	f.born(n, ready.Life)
	return n, nil
}

// born takes note of a node's life. The caller holds mu.
func (f *fleet) born(n *node, incarnation uint64) {
	n.life = life{n.name, incarnation}
	f.lives[n.life] = 0
	early := f.early
	f.early = nil
	for _, r := range early {
		f.judge(r)
	}
}

// hear takes a report.
func (f *fleet) hear(by *node, l line) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch l.Kind {
	case kindWatching:
		clear(by.view)
	case rolebus.NodeJoined.String():
		by.view[l.Node] = sight{l.Life, l.At}
		if since := by.lost[life{l.Node, l.Life}]; since != 0 {
			who := life{l.Node, l.Life}
			f.gaps[who] = append(f.gaps[who], time.Duration(l.At-since))
			delete(by.lost, who)
		}
		if who := (life{l.Node, l.Life}); f.lives[who] != 0 {
			_, back := f.ends[who][by]
			f.ghosts = append(f.ghosts, &ghost{by: by, who: who, from: l.At, back: back})
		}
	case rolebus.NodeLeft.String():
		delete(by.view, l.Node)
		by.lost[life{l.Node, l.Life}] = l.At
		for _, g := range f.ghosts {
			if g.by == by && g.who == (life{l.Node, l.Life}) && g.took == 0 {
				g.took = time.Duration(l.At - g.from)
			}
		}
		f.judge(report{by, l})
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// judge finds out whether a node that was reported gone was. The caller holds mu.
func (f *fleet) judge(r report) {
	who := life{r.line.Node, r.line.Life}
	touched, known := f.lives[who]
	switch {
	case !known:
		f.early = append(f.early, r)
	case touched == 0 || r.line.At < touched:
		f.wrong = append(f.wrong, fmt.Sprintf("%s reported %v gone, %s, which lives", r.by.name, who, r.line.Reason))
	default:
		if f.ends[who] == nil {
			f.ends[who] = map[*node]end{}
		}
		if _, again := f.ends[who][r.by]; !again {
			f.ends[who][r.by] = end{r.line.At, r.line.Reason}
		}
	}
}

// touch says that from now on the node's present life may be reported gone.
func (f *fleet) touch(n *node) (who life, at int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ends, n.life)
	at = time.Now().UnixNano()
	f.lives[n.life] = at
	return n.life, at
}

// spare says that from now on the node's life may not be reported gone any more.
func (f *fleet) spare(n *node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lives[n.life] = 0
}

// kill kills a node. It says which life that ended and when the signal was sent.
func (f *fleet) kill(n *node) (life, int64, error) {
	f.forget(n)
	who, at := f.touch(n)
	return who, at, n.kill()
}

// close lets a node say goodbye and end, and waits until everybody has seen it go.
func (f *fleet) close(n *node) error {
	f.forget(n)
	who, _ := f.touch(n)
	if _, err := n.tell(doClose); err != nil {
		return fmt.Errorf("close %s: %w", n.name, err)
	}
	return f.waitGone(n, who)
}

// forget takes a node out of those whose reports are waited for.
func (f *fleet) forget(n *node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = slices.DeleteFunc(f.nodes, func(m *node) bool { return m == n })
}

func (f *fleet) running() []*node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.nodes)
}

// waitSeen waits until every node sees this one, in its present life.
func (f *fleet) waitSeen(n *node) error {
	return f.wait("to see "+n.name, func(by *node) bool { return by.view[n.name].incarnation == n.life.incarnation })
}

// waitGone waits until no node sees this one in this life any more, but itself.
func (f *fleet) waitGone(n *node, who life) error {
	return f.wait(fmt.Sprint("to lose sight of ", who), func(by *node) bool {
		return by == n || by.view[who.node].incarnation != who.incarnation
	})
}

// wait waits until something is so for every node that runs.
func (f *fleet) wait(what string, so func(by *node) bool) error {
	deadline := time.After(patience)
	for {
		f.mu.Lock()
		i := slices.IndexFunc(f.nodes, func(by *node) bool { return !so(by) })
		laggard := ""
		if i >= 0 {
			laggard = f.nodes[i].name
		}
		changed := f.changed
		f.mu.Unlock()
		if i < 0 {
			return nil
		}
		select {
		case <-changed:
		case <-deadline:
			return fmt.Errorf("waited %v for %s %s", patience, laggard, what)
		}
	}
}

// listedBy returns since when the others list a node.
func (f *fleet) listedBy(n *node) map[*node]end {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[*node]end{}
	for _, by := range f.nodes {
		if by != n {
			seen[by] = end{at: by.view[n.name].at}
		}
	}
	return seen
}

// seenBy returns who reported the end of a life, and how.
func (f *fleet) seenBy(who life) map[*node]end {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[*node]end{}
	for by, e := range f.ends[who] {
		if slices.Contains(f.nodes, by) {
			seen[by] = e
		}
	}
	return seen
}

// requireNoReturn fails the test if anybody lists a dead node again, and tells how long newcomers listed one.
func (f *fleet) requireNoReturn() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var took []time.Duration
	open := 0
	for _, g := range f.ghosts {
		require.False(f.t, g.back, "%s lists %v again", g.by.name, g.who)
		if g.took == 0 {
			open++
		} else {
			took = append(took, g.took)
		}
	}
	slices.Sort(took)
	f.t.Logf("newcomers listed a dead node %d times, %d of them to the end; else for %s at the median, %s at the most",
		len(f.ghosts), open, ms(quantile(took, 0.5)), ms(quantile(took, 1)))
}

// requireNoFalseLoss fails the test if anybody was reported gone who was not.
func (f *fleet) requireNoFalseLoss() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Empty(f.t, f.wrong, "promise 3: no false loss")
	for _, r := range f.early {
		f.t.Errorf("%s reported a life gone that nobody began: %+v", r.by.name, r.line)
	}
}
