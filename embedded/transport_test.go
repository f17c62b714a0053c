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
	refuses int  // so many calls of Connect
	panics  bool // the first call of List
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
	if end.Host != elsewhere {
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

// Processes that reach each other only by ways of a program's own form a cluster, and stay one when the ways break down.
func TestTransport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all []*embedded.ClusterServer
	var ways []*tunnels
	for i := range 3 {
		w := &tunnels{ways: map[embedded.End]*tunnel{}, opened: map[embedded.End]int{}, refuses: i, panics: i == 2}
		c, err := embedded.Cluster(t.Context(), discovery.Local(discovery.Directory(filepath.Join(dir, "found"))), embedded.WithSize(3),
			embedded.WithName(fmt.Sprintf("process-%d", i)), embedded.WithAdvertise(elsewhere), embedded.WithTransport(w))
		require.NoError(t, err)
		t.Cleanup(func() {
			require.NoError(t, c.Close())
			require.Zero(t, w.count(), "a way was left open")
		})
		all, ways = append(all, c), append(ways, w)
	}
	ready := func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, c := range all {
			require.NoError(t, c.Ready(ctx))
		}
	}
	ready()
	for _, w := range ways {
		require.Equal(t, 4, w.count(), "to the cluster port and the route port of each of the two others")
	}
	for _, w := range ways {
		w.cave()
	}
	require.Eventually(t, func() bool {
		return !slices.ContainsFunc(ways, func(w *tunnels) bool { return w.count() != 4 })
	}, time.Minute, 10*time.Millisecond, "what is not listed is opened again")
	ready()
}
