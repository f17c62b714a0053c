package calls_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/call"
	"github.com/rolebus/rolebus/rolebustest"
)

// counter is a node that counts what it is asked.
type counter struct {
	*rolebus.Bus
	asked atomic.Int64
}

// counters starts nodes that serve, and returns them by name.
func counters(t *testing.T, srv *rolebustest.Server, names ...string) map[string]*counter {
	t.Helper()
	all := map[string]*counter{}
	for _, name := range names {
		all[name] = count(t, srv, name)
	}
	return all
}

func count(t *testing.T, srv *rolebustest.Server, name string) *counter {
	t.Helper()
	c := &counter{Bus: srv.Bus(rolebus.WithNode(name))}
	_, err := call.Handle(c.Scope, "work", func(_ context.Context, j job) (done, error) {
		c.asked.Add(1)
		return done{ID: j.ID, Node: name}, nil
	})
	require.NoError(t, err)
	require.NoError(t, c.AddRoles(t.Context(), "worker"))
	return c
}

// together makes calls from so many goroutines, each job once, and gives each answer to hear, if that is wanted.
func together(t *testing.T, m *call.Method[job, done], goroutines, from, to int, hear func(done)) {
	t.Helper()
	var calling sync.WaitGroup
	next := atomic.Int64{}
	next.Store(int64(from))
	var mu sync.Mutex
	var failure error
	for range goroutines {
		calling.Go(func() {
			for {
				id := next.Add(1) - 1
				if id >= int64(to) {
					return
				}
				answer, err := m.Call(context.Background(), job{uint64(id)})
				mu.Lock()
				if err != nil {
					failure = err
				} else if hear != nil {
					hear(answer)
				}
				mu.Unlock()
			}
		})
	}
	calling.Wait()
	require.NoError(t, failure)
}

func nodeNames(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint("n", i))
	}
	return names
}

// Of n·k calls by 16 goroutines to n nodes each gets exactly k.
func TestRoundRobinGivesEachNodeAsMany(t *testing.T) {
	const goroutines, each = 16, 200
	srv := rolebustest.NewServer(t)
	nodes := counters(t, srv, nodeNames(7)...)
	caller := srv.Bus(rolebus.WithObserver())
	rolebustest.WaitNodes(t, caller, "worker", len(nodes))
	m, err := call.New[job, done](caller.Scope, "worker", "work", call.RoundRobin())
	require.NoError(t, err)
	for round := range 3 {
		together(t, m, goroutines, 1, 1+each*len(nodes), nil)
		for name, n := range nodes {
			require.EqualValues(t, (round+1)*each, n.asked.Load(), name)
		}
	}
}

// Nodes that come and go in between cost nobody his turn: between two changes each node gets as many calls as any other, or one more.
// And while they come and go beside the calls, those that stay get as many as each other, but for what is under way at a change.
func TestRoundRobinIsFairWhileNodesComeAndGo(t *testing.T) {
	t.Parallel()
	const goroutines, stay = 16, 4
	srv := rolebustest.NewServer(t)
	nodes := counters(t, srv, nodeNames(stay)...)
	caller := srv.Bus(rolebus.WithObserver())
	m, err := call.New[job, done](caller.Scope, "worker", "work", call.RoundRobin(), call.Retry(3))
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 8 { // one of more than one at a time comes, or all of them go
		if len(nodes) < stay+3 {
			name := fmt.Sprint("m", rng.IntN(1000))
			nodes[name] = count(t, srv, name)
		} else {
			for name, n := range nodes {
				if name[0] == 'm' {
					shutdown(t, n.Bus)
					delete(nodes, name)
				}
			}
		}
		rolebustest.WaitNodes(t, caller, "worker", len(nodes))
		before := map[string]int64{}
		for name, n := range nodes {
			before[name] = n.asked.Load()
		}
		calls := 300 + rng.IntN(300)
		together(t, m, goroutines, 1, 1+calls, nil)
		for name, n := range nodes {
			got := int(n.asked.Load() - before[name])
			require.True(t, got == calls/len(nodes) || got == (calls+len(nodes)-1)/len(nodes), "%s: %d of %d calls to %d nodes", name, got, calls, len(nodes))
		}
	}

	before := map[string]int64{}
	for _, name := range nodeNames(stay) {
		before[name] = nodes[name].asked.Load()
	}
	var over atomic.Bool
	var calling sync.WaitGroup
	calling.Go(func() {
		for !over.Load() {
			together(t, m, goroutines, 1, 500, nil)
		}
	})
	const changes = 10
	for i := range changes / 2 {
		n := count(t, srv, fmt.Sprint("k", i))
		rolebustest.Within(t, patience, "it to be asked", func() bool { return n.asked.Load() > 0 })
		shutdown(t, n.Bus)
	}
	over.Store(true)
	calling.Wait()
	var got []int64
	for _, name := range nodeNames(stay) {
		got = append(got, nodes[name].asked.Load()-before[name])
	}
	// At a change each goroutine may use the list from before it once more, and what it is refused goes to another node.
	require.LessOrEqual(t, slices.Max(got)-slices.Min(got), int64(1+changes*2*goroutines), "%v", got)
	t.Logf("those that stayed: %v", got)
}

// The keys of a node that leaves go to the others, and no other key moves. Two processes with one view of the nodes agree on each: see
// TestTwoProcessesAgreeOnEveryKey.
func TestHashMovesOnlyTheKeysOfWhoLeaves(t *testing.T) {
	srv := rolebustest.NewServer(t)
	nodes := counters(t, srv, nodeNames(10)...)
	caller := srv.Bus(rolebus.WithObserver())
	rolebustest.WaitNodes(t, caller, "worker", len(nodes))
	m, err := call.New[job, done](caller.Scope, "worker", "work", call.HashBy(func(j job) string { return fmt.Sprint("key-", j.ID) }))
	require.NoError(t, err)
	owners := func() []string {
		all := make([]string, *callsFlag+1)
		together(t, m, 16, 1, len(all), func(d done) { all[d.ID] = d.Node })
		return all
	}
	before := owners()
	gone := "n3"
	shutdown(t, nodes[gone].Bus)
	rolebustest.WaitNodes(t, caller, "worker", len(nodes)-1)
	after := owners()
	moved, heirs := 0, map[string]int{}
	for id := range before[1:] {
		id++
		if before[id] == gone {
			heirs[after[id]]++
			continue
		}
		if after[id] != before[id] {
			moved++
		}
	}
	require.Zero(t, moved, "keys of others that moved")
	require.NotContains(t, heirs, gone)
	require.Len(t, heirs, len(nodes)-1, "all others inherit: %v", heirs)
	share := map[string]int{}
	for _, owner := range before[1:] {
		share[owner]++
	}
	require.Len(t, slices.Collect(maps.Keys(share)), len(nodes))
	t.Logf("%d keys of %v: %v inherited; no other moved", len(before)-1, share, heirs)
}
