//go:build linux

package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const churnEvery = 250 * time.Millisecond

// How many fixed short seeds there are, and how long faults are made in each: more with the build tag long.
var shortRuns, shortRun = uint64(1), 8 * time.Second

// TestPromisesUnderFaults is promises 1 to 8 and 15, held against a fleet under faults.
func TestPromisesUnderFaults(t *testing.T) {
	if *soakFlag {
		return // TestSoak is what was asked for
	}
	if *seedFlag == 0 {
		for seed := range shortRuns {
			t.Run(fmt.Sprint("seed=", seed+1), func(t *testing.T) {
				t.Parallel()
				runSeed(t, seed+1, shortRun)
			})
		}
		return
	}
	for i := range uint64(*runsFlag) {
		t.Run(fmt.Sprint("seed=", *seedFlag+i), func(t *testing.T) { runSeed(t, *seedFlag+i, *forFlag) })
	}
}

// runSeed is one run: warm-up, faults, and the end, when all must be well.
func runSeed(t *testing.T, seed uint64, length time.Duration) {
	kinds, err := chosen(*faultsFlag)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if *keepFlag {
		if dir, err = os.MkdirTemp("", fmt.Sprintf("chaos-%d-", seed)); err != nil {
			t.Fatal(err)
		}
		t.Logf("work directory: %s", dir)
	}
	start := now()
	var live func(record)
	if testing.Verbose() {
		live = func(r record) {
			if r.Kind == faulted || r.Kind == healed || r.Kind == noted || r.Kind == sick || r.Kind == well || r.Kind == broken {
				fmt.Printf("seed %d %s %s\n", seed, r.At.after(start), r.line())
			}
		}
	}
	f, err := newFleet(dir, live)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	violations, err := f.play(run{rng: rand.New(rand.NewPCG(seed, 1)), kinds: kinds, length: length})
	records := f.hist.all()
	again := fmt.Sprintf("go test ./nats_test/chaos -run TestPromisesUnderFaults -seed=%d -for=%v -timeout=%v", seed, length, length+10*time.Minute)
	if *faultsFlag != "" {
		again += " -faults=" + *faultsFlag
	}
	if *keepFlag {
		writeAll(t, filepath.Join(dir, "history"), records, start)
	}
	if err != nil {
		t.Fatalf("seed %d: the run did not come to its end: %v\n%s\n%s\nagain: %s", seed, err, timeline(records, start, violation{at: now()}), f.logs(20), again)
	}
	found, judged := check(records)
	violations = append(violations, found...)
	slices.SortStableFunc(violations, func(a, b violation) int { return int(a.at.since(b.at)) })
	t.Logf("seed %d: %s", seed, summary(records, judged, start))
	if len(violations) == 0 {
		return
	}
	first := violations[0]
	var rest strings.Builder
	for _, v := range violations[1:min(len(violations), 20)] {
		fmt.Fprintf(&rest, "\n  %s %s", v.at.after(start), v)
	}
	t.Errorf("seed %d, %d violations. The first, at %s s:\n%s\n\n%s\nfurther ones:%s\n\n%s\nagain: %s", seed, len(violations),
		strings.TrimSpace(first.at.after(start)), first, timeline(records, start, first), rest.String(), f.logs(15), again)
}

// run is what a fleet goes through.
type run struct {
	rng    *rand.Rand
	kinds  []*faultKind
	length time.Duration
	spared []string                  // seats that no fault is about
	beside func(ctx context.Context) // what is done meanwhile
}

// play plays one run to its end, and returns what was wrong then.
func (f *fleet) play(r run) ([]violation, error) {
	f.wg.Go(f.examine)
	f.wg.Go(f.guard)
	if err := f.await(time.Minute, "the servers to know each other", func() bool {
		ctx, cancel := context.WithTimeout(f.ctx, time.Second)
		defer cancel()
		_, err := f.js.AccountInfo(ctx)
		return err == nil
	}); err != nil {
		return nil, err
	}
	if err := f.board(); err != nil {
		return nil, err
	}
	if _, err := f.cure(); err != nil {
		return nil, err
	}
	var seats, nodes []string
	for _, s := range f.seats {
		if slices.Contains(r.spared, s.name) {
			continue
		}
		seats = append(seats, s.name)
		if !s.observer {
			nodes = append(nodes, s.name)
		}
	}
	p := newPlan(r.rng, r.kinds, r.length, seats, nodes)
	f.note("warm-up is over; %d faults follow", len(p))
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	var beside sync.WaitGroup
	beside.Go(func() { f.churn(ctx, rand.New(rand.NewPCG(r.rng.Uint64(), 2)), churnEvery) })
	if r.beside != nil {
		beside.Go(func() { r.beside(ctx) })
	}
	err := f.run(ctx, p)
	cancel()
	beside.Wait()
	if err != nil {
		return nil, err
	}
	return f.settle()
}

// writeAll writes the whole history to a file, for whoever looks for a cause.
func writeAll(t *testing.T, path string, records []record, start instant) {
	var b strings.Builder
	for _, r := range records {
		fmt.Fprintf(&b, "%s %s\n", r.At.after(start), r.line())
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Error(err)
	}
}

// timeline tells all faults, and what the processes that a violation is about did and saw around it.
func timeline(records []record, start instant, v violation) string {
	const before, after = 12 * time.Second, time.Second
	around := span{v.at.add(-before), v.at.add(after)}
	var b strings.Builder
	for _, r := range records {
		fault := r.Kind == faulted || r.Kind == healed || r.Kind == noted || r.Kind == sick || r.Kind == well || r.Kind == broken
		theirs := around.has(r.At) && r.Kind != answered && (slices.Contains(v.about, r.Name) &&
			(r.Node == "" || slices.Contains(v.about, r.Node)) && r.Job == 0 || slices.Contains(v.about, r.job()) || r.Proc == 0 && r.Kind == stalled)
		if fault || theirs {
			mark := " "
			if r.At == v.at {
				mark = ">"
			}
			fmt.Fprintf(&b, "%s%s %s\n", mark, r.At.after(start), r.line())
		}
	}
	return b.String()
}

// summary tells how much there was to check.
func summary(records []record, judged map[int]int, start instant) string {
	counts := map[string]int{}
	var worst time.Duration
	for _, r := range records {
		counts[r.Kind]++
		if r.Kind == stalled && r.Proc == 0 {
			worst = max(worst, r.At.since(r.Began))
		}
	}
	last, done := "", 0
	for _, r := range records {
		if r.Kind == called && r.Outcome == ok {
			done++
		}
		if r.Kind == noted && strings.HasPrefix(r.Text, "all agree") {
			last = r.Text
		}
	}
	put := ""
	for promise := range 16 {
		if n := judged[promise]; n > 0 {
			put += fmt.Sprintf(" %d:%d", promise, n)
		}
	}
	return fmt.Sprintf("put to the test (promise:times)%s; %d faults, %d processes, %d orders, %d of %d jobs answered, %d states and %d losses seen; the machine stalled for %v at most; %s; %s s in all",
		put, counts[faulted], counts[started], counts[returned], done, counts[called], counts[sees], counts[misses], worst.Round(time.Millisecond), last,
		strings.TrimSpace(now().after(start)))
}
