package rolebus

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeNet is plain NATS in memory, of several servers: who listens for whom, and which way is broken. A message takes no
// time, unless it is slow.
type fakeNet struct {
	mu     sync.Mutex
	peers  []*fakePeers
	down   map[string]bool // servers
	slow   time.Duration   // what an answer takes
	probes map[string]int  // how often a node was asked by others
	losing bool            // the first answer of each to each is lost
}

// fakePeers is one process's connection.
type fakePeers struct {
	*fakeNet
	at        string // server; "": not connected
	hung      bool   // messages come and wait
	waiting   []func()
	forbidden bool // it may not ask anybody
	answers   map[[2]string]func() answer
	attests   string // the server that it is a witness for
	onHint    map[string]func(hint)
	onDeath   func(hint)
	lost      map[string]bool // of whom the first answer was
}

func newFakeNet() *fakeNet { return &fakeNet{down: map[string]bool{}, probes: map[string]int{}} }

// listen keeps what was registered until the context is over. undo is called with the lock held.
func (p *fakePeers) listen(undo func()) (func(context.Context), error) {
	return func(ctx context.Context) {
		<-ctx.Done()
		p.mu.Lock()
		defer p.mu.Unlock()
		undo()
	}, nil
}

func (p *fakePeers) answer(scope, node string, says func() answer) (func(context.Context), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[[2]string{scope, node}] = says
	return p.listen(func() { delete(p.answers, [2]string{scope, node}) })
}

func (p *fakePeers) attest() (func(context.Context), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.at
	p.attests = at
	return p.listen(func() {
		if p.attests == at {
			p.attests = ""
		}
	})
}

func (p *fakePeers) hints(scope string, hear func(hint)) (func(context.Context), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onHint[scope] = hear
	return p.listen(func() { delete(p.onHint, scope) })
}

func (p *fakePeers) deaths(hear func(hint)) (func(context.Context), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onDeath = hear
	return p.listen(func() { p.onDeath = nil })
}

func (p *fakePeers) server() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// works says whether a process has a connection to a server that is up.
func (p *fakePeers) works() bool { return p.at != "" && !p.down[p.at] }

func (p *fakePeers) probe(ctx context.Context, scope, node string) (answer, error) {
	p.mu.Lock()
	if p.answers[[2]string{scope, node}] == nil {
		p.probes[node]++
	}
	works, dumb := p.works(), p.forbidden || p.hung
	var there *fakePeers
	var says func() answer
	for _, other := range p.peers {
		if found := other.answers[[2]string{scope, node}]; found != nil && other.works() {
			there, says = other, found
		}
	}
	hangs := there != nil && there.hung
	at := ""
	if there != nil {
		at = there.at
	}
	slow := p.slow
	loses := p.losing && !p.lost[node]
	if loses {
		p.lost[node] = true
	}
	p.mu.Unlock()
	switch {
	case !works || hangs || dumb || loses || there != nil && slow > 0 && !sleep(ctx, slow):
		<-ctx.Done()
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return answer{}, ctx.Err()
		}
		return answer{}, errSilent
	case there == nil:
		return answer{}, errAbsent
	}
	a := says()
	a.server = at
	return a, nil
}

func (p *fakePeers) witness(_ context.Context, server string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.works() && !p.forbidden && p.at == server {
		return nil
	}
	for _, other := range p.peers {
		if p.works() && !p.forbidden && other.attests == server && other.works() && !other.hung {
			if other.at != server {
				return errors.New("it is elsewhere now")
			}
			return nil
		}
	}
	return errAbsent
}

func (p *fakePeers) hint(scope string, h hint) error {
	p.mu.Lock()
	var heard []func(hint)
	for _, other := range p.peers {
		hear := other.onHint[scope]
		switch {
		case hear == nil || !p.works() || p.hung || !other.works():
		case other.hung:
			other.waiting = append(other.waiting, func() { hear(h) })
		default:
			heard = append(heard, hear)
		}
	}
	p.mu.Unlock()
	for _, hear := range heard {
		hear(h)
	}
	return nil
}

func (n *fakeNet) askedInAll() (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, asked := range n.probes {
		count += asked
	}
	return count
}

func (n *fakeNet) delay(slow time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slow = slow
}

// died is what a server tells everybody about a connection.
func (n *fakeNet) died(h hint) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		if p.onDeath != nil {
			p.onDeath(h)
		}
	}
}

func (n *fakeNet) asked(node string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.probes[node]
}

// peered is a bus on the fake bucket and at a server of the fake net.
func (f *fakeBucket) peered(t *testing.T, n *fakeNet, server, node string, opts ...Option) *peeredBus {
	t.Helper()
	o, err := newOptions(append([]Option{WithNode(node), WithTTL(fakeTTL)}, opts...))
	require.NoError(t, err)
	if !o.observer {
		o.roles = []Role{"x"}
	}
	p := &fakePeers{fakeNet: n, at: server, answers: map[[2]string]func() answer{}, onHint: map[string]func(hint){}, lost: map[string]bool{}}
	n.mu.Lock()
	n.peers = append(n.peers, p)
	n.mu.Unlock()
	b := &peeredBus{fakeBus: fakeBus{link: f.link()}, peers: p}
	b.Bus = newBus(o, newNoise(o.log), b.link)
	b.Bus.peers, b.link.identity = p, b.fleet
	b.link.look()
	require.NoError(t, b.open(t.Context(), false))
	t.Cleanup(func() { _ = b.Close() })
	return b
}

type peeredBus struct {
	fakeBus
	peers *fakePeers
}

// crash ends the process: nobody listens for it any more, and nothing that it has under way gets out.
func (b *peeredBus) crash() {
	b.set(func(p *fakePeers) { p.at = "" })
	b.fakeBus.crash()
}

// freeze stops the process, as far as others can tell; thaw lets it go on.
func (b *peeredBus) freeze() {
	b.link.setCut(true)
	b.set(func(p *fakePeers) { p.hung = true })
}

func (b *peeredBus) thaw() {
	b.link.setCut(false)
	b.set(func(p *fakePeers) { p.hung = false })
}

func (b *peeredBus) set(change func(*fakePeers)) {
	b.peers.mu.Lock()
	change(b.peers)
	var came []func()
	if !b.peers.hung {
		came, b.peers.waiting = b.peers.waiting, nil
	}
	b.peers.mu.Unlock()
	for _, hear := range came {
		hear()
	}
}

// move makes the process lose its server and connect to another one.
func (b *peeredBus) move(server string) {
	b.partition(true)
	b.link.setCut(false)
	b.set(func(p *fakePeers) { p.at = server })
	if server != "" {
		b.speak(b.attest())
		b.partition(false)
	}
}

// without returns the others.
func without(fleet []*peeredBus, b *peeredBus) []*peeredBus {
	return slices.DeleteFunc(slices.Clone(fleet), func(other *peeredBus) bool { return other == b })
}
