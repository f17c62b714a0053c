package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/discovery"
	"github.com/rolebus/rolebus/embedded"
)

// elsewhere is where processes say that they are reached, and nobody listens.
const elsewhere = "127.9.9.9"

// tunnels is a transport: each way is a port of its own, from which connections are carried on.
type tunnels struct {
	mu      sync.Mutex
	ways    map[embedded.End]*tunnel
	opened  map[embedded.End]int
	refuses int          // so many calls of Connect
	panics  bool         // the first call of List
	shut    map[int]bool // ports to which no way leads
}

type tunnel struct {
	listener net.Listener
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
}

func (t *tunnels) Connect(_ context.Context, end embedded.End) (embedded.End, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refuses > 0 {
		t.refuses--
		return embedded.End{}, errors.New("the tunnel is being dug")
	}
	if end.Host != elsewhere || t.shut[end.Port] {
		return embedded.End{}, fmt.Errorf("no way leads to %s", end)
	}
	w := &tunnel{}
	var err error
	if w.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return embedded.End{}, err
	}
	w.wg.Go(func() { w.carry(embedded.End{Host: "127.0.0.1", Port: end.Port}) })
	t.ways[end] = w
	t.opened[end]++
	return embedded.End{Host: "127.0.0.1", Port: w.listener.Addr().(*net.TCPAddr).Port}, nil
}

func (t *tunnels) Disconnect(_ context.Context, end embedded.End) error {
	t.mu.Lock()
	w := t.ways[end]
	delete(t.ways, end)
	t.mu.Unlock()
	if w != nil {
		w.close()
	}
	return nil
}

func (t *tunnels) List(context.Context) ([]embedded.End, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.panics {
		t.panics = false
		panic("a tunnel has caved in")
	}
	return slices.Collect(maps.Keys(t.ways)), nil
}

// cave has all ways break down, without a word.
func (t *tunnels) cave() {
	t.mu.Lock()
	ways := t.ways
	t.ways = map[embedded.End]*tunnel{}
	t.mu.Unlock()
	for _, w := range ways {
		w.close()
	}
}

// cut has a way break down, and not be opened again, or the other way round.
func (t *tunnels) cut(port int, shut bool) {
	t.mu.Lock()
	end := embedded.End{Host: elsewhere, Port: port}
	w := t.ways[end]
	delete(t.ways, end)
	t.shut = map[int]bool{port: shut}
	t.mu.Unlock()
	if w != nil {
		w.close()
	}
}

func (t *tunnels) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ways)
}

func (w *tunnel) carry(to embedded.End) {
	for {
		in, err := w.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to.String())
		if err != nil {
			in.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, in, out)
		w.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			w.wg.Go(func() {
				io.Copy(pair[0], pair[1])
				pair[0].Close()
			})
		}
	}
}

func (w *tunnel) close() {
	w.listener.Close()
	w.mu.Lock()
	for _, c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.wg.Wait()
}

// distant is a process that reaches others by tunnels only.
type distant struct {
	*process
	tunnels *tunnels
	port    int // where others reach its server
}

// formDistant has three of them form a cluster, and waits until they have.
func formDistant(t *testing.T) []*distant {
	t.Helper()
	found := discovery.Local(discovery.Directory(filepath.Join(t.TempDir(), "found")))
	var all []*distant
	for i, port := range freePorts(t, 3) {
		w := &tunnels{ways: map[embedded.End]*tunnel{}, opened: map[embedded.End]int{}, refuses: i, panics: i == 2}
		t.Cleanup(func() { require.Zero(t, w.count(), "a way was left open") })
		p := begin(t, found, embedded.WithName(fmt.Sprintf("process-%d", i)), embedded.WithAdvertise(elsewhere), embedded.WithTransport(w),
			embedded.WithRoutePort(port))
		all = append(all, &distant{p, w, port})
	}
	for _, p := range all {
		ready(t, p.process)
	}
	return all
}

// Processes that reach each other only by ways of a program's own form a cluster, and stay one when the ways break down.
func TestTransport(t *testing.T) {
	t.Parallel()
	all := formDistant(t)
	for _, p := range all {
		require.Equal(t, 4, p.tunnels.count(), "to the cluster port and the route port of each of the two others")
	}
	for _, p := range all {
		p.tunnels.cave()
	}
	require.Eventually(t, func() bool {
		return !slices.ContainsFunc(all, func(p *distant) bool { return p.tunnels.count() != 4 })
	}, time.Minute, 10*time.Millisecond, "what is not listed is opened again")
	for _, p := range all {
		ready(t, p.process)
	}
}

// Two members whose servers do not reach each other follow the one leader, and are not ready: what is said at one is not heard at the other.
func TestMembersThatOnlyTheLeaderReaches(t *testing.T) {
	t.Parallel()
	all := formDistant(t)
	apart := slices.DeleteFunc(slices.Clone(all), func(p *distant) bool { return p.State().Leader == p.State().Name })
	require.Len(t, apart, 2)
	cut := func(shut bool) {
		for i, p := range apart {
			p.tunnels.cut(apart[1-i].port, shut)
		}
	}
	whole := func(p *distant) {
		await(t, p.process, "to be ready, and connected to all", func(s embedded.ClusterState) bool {
			return s.Ready && !slices.ContainsFunc(s.Members, func(m embedded.Process) bool { return !m.Routed })
		})
	}
	for _, p := range all {
		whole(p)
	}
	cut(true)
	for i, p := range apart {
		other := apart[1-i].State().Name
		await(t, p.process, "not to be ready, as one that lives is not reached", func(s embedded.ClusterState) bool {
			return !s.Ready && !slices.ContainsFunc(s.Members, func(m embedded.Process) bool { return !m.Live || m.Routed != (m.Name != other) })
		})
	}
	cut(false)
	for _, p := range all {
		whole(p)
	}
}
