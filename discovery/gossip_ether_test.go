package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// ether is a network of nothing but time: it loses, doubles and reorders as it is told, and has all on tape.
type ether struct {
	mu    sync.Mutex
	wires []*etherWire
	tape  [][]byte
	lost  float64
	twice float64
	delay time.Duration // at most
	down  error
	mute  bool // who comes now is heard by nobody

	ctx context.Context
	all sync.WaitGroup
}

// newEther makes one. What is on it ends with the test.
func newEther(t *testing.T) *ether {
	e := &ether{}
	ctx, cancel := context.WithCancel(context.Background())
	e.ctx = ctx
	t.Cleanup(func() {
		cancel()
		e.all.Wait()
	})
	return e
}

type etherWire struct {
	*ether
	ear  *gossipEar
	out  chan<- gossipHeard
	done chan struct{}
	mute bool // nobody hears it
	sent int
}

func (e *ether) open(_ *gossipOptions, ear *gossipEar, out chan<- gossipHeard, _ *slog.Logger) gossipWire {
	w := &etherWire{ether: e, ear: ear, out: out, done: make(chan struct{}), mute: e.mute}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wires = append(e.wires, w)
	return w
}

func (w *etherWire) send(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down != nil {
		return w.down
	}
	w.sent++
	w.tape = append(w.tape, b)
	if !w.mute {
		w.deliver(b)
	}
	return nil
}

// deliver delivers to all. The caller holds mu.
func (e *ether) deliver(b []byte) {
	for _, w := range e.wires {
		times := 1
		if rand.Float64() < e.twice {
			times = 2
		}
		for range times {
			if rand.Float64() >= e.lost {
				time.AfterFunc(rand.N(e.delay+1), func() { w.hear(b) })
			}
		}
	}
}

// sentBy returns how many packets the nth on the ether has sent.
func (e *ether) sentBy(n int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.wires[n].sent
}

func (e *ether) recorded() [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.tape)
}

// replay sends what anybody can send.
func (e *ether) replay(packets ...[]byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range packets {
		e.deliver(b)
	}
}

func (w *etherWire) hear(b []byte) {
	select {
	case <-w.done:
		return
	default:
	}
	if p := w.ear.hear(b, nil, netip.MustParseAddrPort("10.0.0.7:45892")); p != nil {
		select {
		case w.out <- gossipHeard{packet: p, side: gossipSide{index: 2}}:
		case <-w.done:
		}
	}
}

func (w *etherWire) refresh() (bool, error) { return false, nil }
func (w *etherWire) close()                 { close(w.done) }

func (e *ether) gossip(opts ...Option) *gossip {
	o := collect(opts, forGossip)
	o.gossip.ttl, o.gossip.port = 1, 45892
	if o.gossip.goneAfter == 0 {
		o.gossip.goneAfter = time.Minute
	}
	o.gossipChecked("north", testSecret)
	if len(o.errs) > 0 {
		panic(errors.Join(o.errs...))
	}
	return &gossip{o: o, cluster: "north", open: e.open}
}

// watcher is a hearer on the ether, and what it told.
type watcher struct {
	mu     sync.Mutex
	lists  [][]Address
	errs   []error
	cancel func()
}

func (e *ether) watch(g *gossip) *watcher {
	w := &watcher{}
	ctx, cancel := context.WithCancel(e.ctx)
	w.cancel = cancel
	t := g.o.teller("test", func(list []Address, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			w.errs = append(w.errs, fmt.Errorf("at %v: %w", time.Now(), err))
			return
		}
		w.lists = append(w.lists, list)
	})
	e.all.Go(func() { _ = g.discover(ctx, t) })
	return w
}

// told returns all lists, in their order.
func (w *watcher) told() [][]Address {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.lists)
}

func (w *watcher) now() []Address {
	all := w.told()
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

func (w *watcher) failures() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.errs
}

// speak announces until leave is called, which says goodbye, or die, which does not.
func (e *ether) speak(g *gossip, addresses ...Address) (leave, die func()) {
	ctx, cancel := context.WithCancel(e.ctx)
	e.mu.Lock()
	before := len(e.wires)
	e.mu.Unlock()
	e.all.Go(func() { _ = g.announce(ctx, g.o.teller("test", nil), addresses) })
	synctest.Wait()
	mine := e.wires[before]
	return cancel, func() {
		e.mu.Lock()
		mine.mute = true
		e.mu.Unlock()
		cancel()
	}
}

func testAddress(n int) Address {
	return Address{Host: fmt.Sprintf("10.0.%d.%d", n/250, n%250), Port: 4222}
}

// A network that loses, doubles and reorders: all find all, soon, and for ten minutes nothing goes.
func TestGossipOnABadNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEther(t)
		e.lost, e.twice, e.delay = 0.2, 0.2, 300*time.Millisecond
		var watchers []*watcher
		var all []Address
		for n := range 10 {
			g := e.gossip()
			e.speak(g, testAddress(n))
			all = append(all, testAddress(n))
			if n%3 == 0 {
				w := e.watch(g)
				watchers = append(watchers, w)
			}
		}
		lists := 0
		for _, w := range watchers {
			for end := time.Now().Add(5 * time.Minute); len(w.now()) < len(all) && time.Now().Before(end); { // half a minute, if luck is as usual
				time.Sleep(time.Second)
				synctest.Wait()
			}
		}
		for _, w := range watchers {
			require.ElementsMatch(t, all, w.now())
			lists += len(w.told())
		}
		time.Sleep(10 * time.Minute) // in an hour, one of six hundred times, all ten packets that somebody sends in a minute are lost
		synctest.Wait()
		for _, w := range watchers {
			require.ElementsMatch(t, all, w.now())
			lists -= len(w.told())
			for _, f := range w.failures() { // of who was asked four times where a third of all questions or answers is lost, it is true now and then
				require.ErrorContains(t, f, "of processes that do not answer")
			}
		}
		require.Zero(t, lists, "nothing changed")
	})
}

// About every 5 s, by chance; and nobody asks any more once all are known.
func TestGossipSpeaksAboutSoOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEther(t)
		leave, _ := e.speak(e.gossip(), testAddress(1))
		w := e.watch(e.gossip())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		before, asked := e.sentBy(0), e.sentBy(1)
		require.LessOrEqual(t, asked, len(gossipOpening)+1)
		time.Sleep(1000 * 5 * time.Second)
		synctest.Wait()
		require.InDelta(t, 1000, e.sentBy(0)-before, 60)
		require.Equal(t, asked, e.sentBy(1))
		sent := e.sentBy(0)
		leave()
		time.Sleep(time.Second)
		require.Equal(t, sent+gossipGoodbyes, e.sentBy(0))
		w.cancel()
	})
}

// Many that start at once are answered together.
func TestGossipHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEther(t)
		e.delay = time.Millisecond
		g := e.gossip()
		leave, _ := e.speak(g, testAddress(1))
		time.Sleep(10 * time.Second)
		before := e.sentBy(0)
		var watchers []*watcher
		for range 100 {
			watchers = append(watchers, e.watch(g))
		}
		began := time.Now()
		for _, w := range watchers {
			for len(w.now()) == 0 {
				time.Sleep(10 * time.Millisecond)
			}
			w.cancel()
		}
		require.Less(t, time.Since(began), 5*time.Second)
		require.Less(t, e.sentBy(0)-before, 5*int(time.Since(began)/time.Second)+10)
		leave()
	})
}

// A server that was killed and comes back under its address is there all the time.
func TestGossipRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEther(t)
		g := e.gossip()
		w := e.watch(g)
		leaveB, _ := e.speak(g, testAddress(2))
		_, die := e.speak(g, testAddress(1))
		time.Sleep(5 * time.Second)
		require.Len(t, w.now(), 2)
		before := len(w.told())
		for range 5 {
			die()
			time.Sleep(20 * time.Second)
			_, die = e.speak(g, testAddress(1))
			time.Sleep(10 * time.Second)
		}
		time.Sleep(10 * time.Minute)
		for _, list := range w.told()[before:] {
			require.Contains(t, list, testAddress(1))
			require.Contains(t, list, testAddress(2))
		}
		require.Len(t, w.now(), 2, "it is listed once")
		require.Empty(t, w.failures())
		die()
		time.Sleep(2 * time.Minute)
		require.Equal(t, []Address{testAddress(2)}, w.now())
		leaveB()
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []Address{testAddress(2)}, w.now(), "an empty list takes nothing away")
		require.ErrorContains(t, w.failures()[0], "the last server of the cluster has said goodbye")
		require.Equal(t, ReasonEmpty, ReasonOf(w.failures()[0]))
		w.cancel()
	})
}

// All that was ever sent, sent again, to those who heard it and to those who did not: nothing happens.
func TestGossipOnTape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEther(t)
		e.delay = 20 * time.Millisecond
		g := e.gossip()
		w := e.watch(g)
		leave, _ := e.speak(g, testAddress(1))
		stay, _ := e.speak(g, testAddress(2))
		time.Sleep(30 * time.Second)
		leave()
		time.Sleep(time.Second)
		require.Equal(t, []Address{testAddress(2)}, w.now())
		lists := len(w.told())
		fresh := e.watch(g)
		for range 100 {
			tape := e.recorded()
			e.replay(tape[rand.IntN(len(tape))])
			time.Sleep(rand.N(20 * time.Millisecond))
			e.replay(tape...)
			time.Sleep(rand.N(500 * time.Millisecond))
			require.Subset(t, []Address{testAddress(2)}, fresh.now())
		}
		require.Equal(t, []Address{testAddress(2)}, fresh.now())
		require.Len(t, w.told(), lists)
		w.cancel()
		fresh.cancel()
		stay()
	})
}

// In each step of a change of the secret all hear all, also while some are a step behind.
func TestGossipChangesItsSecret(t *testing.T) {
	const next = "another-0a9Zk3-unit-test"
	with := func(e *ether, first string, also ...string) *gossip {
		g := e.gossip()
		g.o.gossip.keys = nil
		for _, s := range append([]string{first}, also...) {
			g.o.gossip.keys = append(g.o.gossip.keys, testKey(t, s))
		}
		return g
	}
	steps := [][]string{{testSecret}, {testSecret, next}, {next, testSecret}, {next}}
	for i := range steps {
		for _, j := range []int{i - 1, i, i + 1} {
			if j < 0 || j >= len(steps) {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				e := newEther(t)
				w := e.watch(with(e, steps[i][0], steps[i][1:]...))
				leave, _ := e.speak(with(e, steps[j][0], steps[j][1:]...), testAddress(1))
				time.Sleep(time.Second)
				require.Equal(t, []Address{testAddress(1)}, w.now(), "step %d hears step %d", i, j)
				require.Empty(t, w.failures())
				leave()
				w.cancel()
			})
		}
	}
	synctest.Test(t, func(t *testing.T) { // two steps at once are too many
		e := newEther(t)
		w := e.watch(with(e, testSecret))
		e.speak(with(e, next, testSecret), testAddress(1))
		time.Sleep(5 * time.Second)
		require.Empty(t, w.now())
		require.ErrorContains(t, w.failures()[0], "sealed with another secret")
	})
}

func TestGossipTellsWhatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // nobody is there
		e := newEther(t)
		w := e.watch(e.gossip())
		time.Sleep(5 * time.Minute)
		require.Len(t, w.failures(), 5)
		require.ErrorContains(t, w.failures()[0], `no server of cluster "north" makes itself known (see that servers announce`)
		require.Equal(t, ReasonEmpty, ReasonOf(w.failures()[0]))
		w.cancel()
	})
	synctest.Test(t, func(t *testing.T) { // one that hears, and is not heard
		e := newEther(t)
		e.speak(e.gossip(), testAddress(1))
		e.mute = true
		w := e.watch(e.gossip())
		time.Sleep(5 * time.Minute)
		require.Empty(t, w.now())
		require.ErrorContains(t, errors.Join(w.failures()...), "are of processes that do not answer: they do not hear this one, or they are gone and somebody replays")
		require.Less(t, len(w.failures()), 12)
		require.Less(t, e.sentBy(1), 80, "it asks less and less often")
	})
	synctest.Test(t, func(t *testing.T) { // the network does not take it
		e := newEther(t)
		e.down = errors.New("network is unreachable")
		w := e.watch(e.gossip())
		time.Sleep(time.Minute)
		require.Len(t, w.failures(), 1)
		require.ErrorContains(t, w.failures()[0], "network is unreachable")
		e.mu.Lock()
		e.down = nil
		e.mu.Unlock()
		e.speak(e.gossip(), testAddress(1))
		time.Sleep(10 * time.Second)
		require.Equal(t, []Address{testAddress(1)}, w.now())
	})
}
