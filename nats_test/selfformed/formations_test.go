//go:build linux

package selfformed_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/internal/lan"
)

const (
	mostPartial   = 15 * time.Second
	shortPartial  = time.Second // where few clusters are formed
	mostProcesses = 9
)

// Processes that start in any order, and of whom discovery shows more and more, until it shows all to all, form exactly one cluster.
func TestFormations(t *testing.T) {
	if !lan.Namespaced(t, flags()...) {
		return
	}
	n := newNetwork(t)
	var took []time.Duration
	for i := range *formationsFlag {
		rng := newRand(*seedFlag, uint64(i))
		took = append(took, form(t, n, rng, i))
	}
	tellTimes(t, "until all are ready, after all see all", took)
}

func form(t *testing.T, n *network, rng *rand.Rand, number int) time.Duration {
	size := 3 + 2*rng.IntN(2)
	most, partial := mostProcesses, mostPartial
	if *formationsFlag < 10 {
		most, partial = size+1, shortPartial
	}
	f := newFleet(t, n, workDir(t, fmt.Sprintf("formation-%d", number)), size, 15*time.Second, false)
	defer f.close()
	processes := size + rng.IntN(most-size+1)
	until := time.Duration(rng.Int64N(int64(partial)))
	for range processes {
		f.add()
	}
	v := newViews(rng, processes, until)
	began := time.Now()
	for _, s := range v.steps {
		time.Sleep(time.Until(began.Add(s.after)))
		p := f.places[s.of]
		if p.now == nil {
			require.NoError(t, f.start(p))
		}
		o := order{Do: doShow}
		for _, seen := range s.sees {
			o.Hosts = append(o.Hosts, f.places[seen].on.V4.String())
		}
		p.now.child.orders <- o
	}
	all := now()
	took, err := f.whole(all)
	if err == nil {
		err = f.oneCluster()
	}
	f.keep()
	require.NoError(t, err, "formation %d of seed %d: %d processes, size %d\n%s", number, *seedFlag, processes, size, f.timeline(longest))
	require.NoError(t, f.endAll())
	t.Logf("formation %d: %d processes, size %d, all see all after %v: ready after %v more", number, processes, size,
		until.Round(time.Millisecond), took.Round(time.Millisecond))
	return took
}

func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// oneCluster says whether more than one was ever known.
func (f *fleet) oneCluster() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := map[string]bool{}
	for _, r := range f.records {
		if r.Kind == isState && r.State.Cluster != "" && (r.State.Part == "member" || r.State.Part == "spare") {
			known[r.State.Cluster] = true
		}
	}
	if len(known) != 1 {
		return fmt.Errorf("clusters: %v", known)
	}
	return nil
}

// step is a change of what discovery shows to one process; the first one starts it.
type step struct {
	after time.Duration
	of    int
	sees  []int
}

type views struct{ steps []step }

// newViews chooses who sees whom, and when, until all see all. Whoever starts is seen by one who runs, or sees one: whom nobody could find would
// rightly form another cluster.
func newViews(rng *rand.Rand, processes int, until time.Duration) *views {
	v := &views{}
	sees := make([]map[int]bool, processes)
	at := make([]time.Duration, processes)
	order := rng.Perm(processes)
	for i, p := range order {
		sees[p] = map[int]bool{}
		if i > 0 && until > 0 {
			at[p] = time.Duration(rng.Int64N(int64(until)))
		}
	}
	slices.SortFunc(order, func(a, b int) int { return int(at[a] - at[b]) })
	add := func(after time.Duration, p int) {
		var list []int
		for seen := range sees[p] {
			list = append(list, seen)
		}
		slices.Sort(list)
		v.steps = append(v.steps, step{after, p, list})
	}
	type glimpse struct {
		after  time.Duration
		of, at int
	}
	var more []glimpse
	for i, p := range order {
		for other := range processes {
			if rng.IntN(3) == 0 {
				more = append(more, glimpse{at[p] + time.Duration(rng.Int64N(int64(until-at[p])+1)), p, other})
			}
		}
		if i == 0 {
			more = append(more, glimpse{at[p], p, p})
			continue
		}
		other := order[rng.IntN(i)]
		if rng.IntN(2) == 0 {
			p, other = other, p
		}
		more = append(more, glimpse{at[order[i]], p, other})
		if p != order[i] {
			more = append(more, glimpse{at[order[i]], order[i], order[i]})
		}
	}
	slices.SortStableFunc(more, func(a, b glimpse) int { return int(a.after - b.after) })
	for _, g := range more {
		sees[g.of][g.at] = true
		add(g.after, g.of)
	}
	for _, p := range order {
		for other := range processes {
			sees[p][other] = true
		}
		add(until, p)
	}
	return v
}

// workDir is where the processes of a run store what they store.
func workDir(t *testing.T, name string) string {
	if *keepFlag == "" {
		return t.TempDir()
	}
	dir := filepath.Join(*keepFlag, name)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	return dir
}

// tellTimes tells how long something took: the middle one, the one that 1 in 100 exceed, and the longest.
func tellTimes(t *testing.T, what string, took []time.Duration) {
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	rank := func(percent int) time.Duration { return took[(len(took)*percent+99)/100-1].Round(time.Millisecond) }
	t.Logf("%s: p50 %v, p99 %v, max %v, of %d", what, rank(50), rank(99), rank(100), len(took))
}
