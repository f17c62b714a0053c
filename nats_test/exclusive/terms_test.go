//go:build linux

package exclusive_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	nodes = 6
	bound = 30 * time.Second // all names are held again by then: a cluster may need ten seconds for an election, after all servers were killed
)

// TestTerms is promise 13, held against processes under faults: two never hold one name at the same time, and tokens only grow.
func TestTerms(t *testing.T) {
	for i := range uint64(*seedsFlag) {
		seed := *seedFlag + i
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			if *seedsFlag <= 2 {
				t.Parallel()
			}
			runSeed(t, seed, *forFlag)
		})
	}
}

// runSeed is one run: faults, and the end, when all must be well.
func runSeed(t *testing.T, seed uint64, length time.Duration) {
	servers := []int{1, 3}[seed%2]
	rng := rand.New(rand.NewPCG(seed, 99))
	var ttls []time.Duration
	for range nodes {
		ttls = append(ttls, []time.Duration{time.Second, 1500 * time.Millisecond, 2 * time.Second}[rng.IntN(3)])
	}
	list, err := nemeses(seed, servers, *faultsFlag)
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFleet(workDir(t, fmt.Sprint("seed-", seed)), servers, ttls, contested)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err = f.board("node"); err == nil {
		err = f.harm(list, length)
	}
	healed := now()
	f.tell("all faults are over")
	var settled time.Duration
	if err == nil {
		healed, err = f.cure(healed)
	}
	if err == nil {
		settled, err = f.settle(healed)
	}
	if err == nil {
		err = f.leaveAll()
	}
	f.endNodes()
	s := f.story()
	s.healed, s.bound = healed, bound
	wrong, excused := check(s)
	ends := f.wrongEnds()
	for _, server := range f.servers {
		if how, crashed := server.crashed(); crashed {
			ends = append(ends, how)
		}
	}
	t.Logf("seed %d: %d servers, %d processes, %d losses of the store: %v; all held %v after the last fault; %d excused", seed, servers, len(f.lives),
		len(s.losses), s.figures(), settled.Round(time.Millisecond), len(excused))
	for _, x := range excused {
		t.Logf("seed %d: excused as %s: %s", seed, x.excused, x.text)
	}
	if err == nil && len(wrong) == 0 && len(ends) == 0 {
		return
	}
	var breaches strings.Builder
	for _, x := range wrong {
		fmt.Fprintf(&breaches, "%s %s\n", x.at.after(f.began), x.text)
	}
	told := f.told.String()
	if *keepFlag != "" {
		told += fmt.Sprintf("\nthe log of each process is in %s; times there: minus %d, in nanoseconds\n", f.dir, f.began)
	}
	t.Errorf("seed %d: %v\n%s%s\n%s\nagain: go test ./nats_test/exclusive -run TestTerms -seed=%d -seeds=1 -for=%v -timeout=10m", seed, err, breaches.String(),
		strings.Join(ends, "\n"), told, seed, length)
}

// settle waits until each place is held that was not held any more when all faults were over.
func (f *fleet) settle(healed instant) (time.Duration, error) {
	for _, s := range f.seats {
		if !s.now.Running() {
			if err := f.start(s, "node"); err != nil {
				return 0, err
			}
		}
	}
	still := func() []finding {
		s, byPlace := f.story(), map[place][]term{}
		for _, t := range s.terms {
			byPlace[t.place] = append(byPlace[t.place], t)
		}
		s.healed, s.bound = healed, time.Hour // whether it is too late says the check
		return s.empty(byPlace)
	}
	err := f.await(2*bound, "all names to be held", func() bool { return len(still()) == 0 })
	for _, x := range still() {
		err = fmt.Errorf("%w; %s", err, x.text)
	}
	return now().since(healed), err
}

// leaveAll has all processes leave in good order, all at once.
func (f *fleet) leaveAll() error {
	errs := make(chan error, len(f.seats))
	for i, s := range f.seats {
		go func() {
			if !s.now.Running() {
				errs <- nil
				return
			}
			errs <- f.leave(s.now, []string{drainOrder, closeOrder}[i%2])
		}()
	}
	var err error
	for range f.seats {
		err = errors.Join(err, <-errs)
	}
	return err
}

// workDir is where a run's processes store and log.
func workDir(t *testing.T, name string) string {
	if *keepFlag == "" {
		return t.TempDir()
	}
	dir := filepath.Join(*keepFlag, name)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil { // of a run before
		t.Fatal(err)
	}
	return dir
}
