//go:build linux

package selfformed_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/internal/lan"
)

const grace = 4 * time.Second

// Whatever is done to the processes of a cluster, as much as it survives at once, and however often: no message is lost that was
// acknowledged, nobody is taken for lost who is there, and it becomes whole again by itself.
func TestChaos(t *testing.T) {
	if !lan.Namespaced(t, flags()...) {
		return
	}
	n := newNetwork(t)
	m := measured{took: map[string][]time.Duration{}, gaps: map[string][]time.Duration{}}
	for i := range *seedsFlag {
		if !harm(t, n, *seedFlag+uint64(i), m) {
			break
		}
	}
	var all []time.Duration
	for _, fault := range faults {
		tellTimes(t, "whole again after "+fault.name, m.took[fault.name])
		tellTimes(t, "longest time without a write at "+fault.name, m.gaps[fault.name])
		all = append(all, m.took[fault.name]...)
	}
	tellTimes(t, "whole again", all)
}

// measured is how long it was until the cluster was whole again after each fault, and how long nobody could write to the canary from its begin
// until then.
type measured struct{ took, gaps map[string][]time.Duration }

// harm is one run. What is done is the seed's choice. Of ten seeds one has what a cluster survives only because all come back.
func harm(t *testing.T, n *network, seed uint64, m measured) bool {
	rng := newRand(seed, 1)
	size := 3
	if seed%3 == 0 {
		size = 5
	}
	f := newFleet(t, n, workDir(t, fmt.Sprintf("seed-%d", seed)), size, grace, true)
	defer f.close()
	err := f.harm(rng, seed%10 == 0, m)
	var stored []string
	read := instant(0)
	if err == nil {
		var r record
		read = now()
		r, err = f.call(f.places[0].now, doRead, patience)
		if err == nil && r.Text != "" {
			err = fmt.Errorf("read: %s", r.Text)
		}
		stored = r.Sent
	}
	if err == nil {
		err = f.endAll()
	}
	f.mu.Lock()
	records := slices.Clone(f.records)
	f.mu.Unlock()
	slices.SortStableFunc(records, func(a, b record) int { return int(a.At - b.At) })
	v := judge(records, f.procs, stored, read)
	t.Logf("seed %d: size %d, %d processes, %d messages acknowledged, %d losses judged, %d of them excused as the machine had no time; "+
		"worst stall in all %v", seed, size, len(f.procs), v.acked, v.losses, v.starved, f.stalled(span{0, never}).Round(time.Millisecond))
	f.keep()
	if err == nil && len(v.wrong) == 0 {
		return true
	}
	var logs strings.Builder
	for _, p := range f.places {
		fmt.Fprintf(&logs, "--- %s#%d\n%s\n", p.name, p.now.number, p.now.child.log.String())
	}
	t.Errorf("seed %d: %v\n%s\n%s\n%s", seed, err, strings.Join(v.wrong, "\n"), f.timeline(longest), logs.String())
	return false
}

func (f *fleet) harm(rng *rand.Rand, all bool, m measured) error {
	for range f.size + rng.IntN(3) {
		if err := f.start(f.add()); err != nil {
			return err
		}
	}
	f.show()
	for made := false; !made; {
		if err := f.crashed(); err != nil {
			return err
		}
		r, err := f.call(f.places[0].now, doMake, patience)
		if err != nil {
			return err
		}
		made = r.Text == ""
		if !made && now().since(f.began) > wholeWithin {
			return fmt.Errorf("the canary stream: %s", r.Text)
		}
		time.Sleep(lookAgain)
	}
	if _, err := f.whole(now()); err != nil {
		return err
	}
	var list []fault
	for _, x := range faults {
		chosen := *faultsFlag == "" && (all || !x.all) || slices.Contains(strings.Split(*faultsFlag, ","), x.name)
		if chosen {
			list = append(list, x)
		}
	}
	require.NotEmpty(f.t, list, "faults are %v", faults)
	for until := time.Now().Add(*forFlag); time.Now().Before(until); {
		x := list[rng.IntN(len(list))]
		began := now()
		f.tell("--- %s", x.name)
		if err := x.do(f, rng); err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
		d, err := f.whole(now())
		if err != nil {
			return fmt.Errorf("after %s: %w", x.name, err)
		}
		gap := f.gap(span{began, now()})
		m.took[x.name], m.gaps[x.name] = append(m.took[x.name], d), append(m.gaps[x.name], gap)
		f.tell("whole after %v, no writes for %v", d, gap)
		f.t.Logf("%s: whole after %v, no writes for %v", x.name, d.Round(time.Millisecond), gap.Round(time.Millisecond))
		time.Sleep(between(rng, 0, time.Second))
	}
	return nil
}

// gap is the longest time in a span in which no message of the canary was acknowledged to anybody.
func (f *fleet) gap(in span) (longest time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var acked []instant
	for _, r := range f.records {
		if r.Kind == isAcked && r.At > in.from && r.At < in.to {
			acked = append(acked, r.At)
		}
	}
	slices.Sort(acked)
	last := in.from
	for _, at := range append(acked, in.to) {
		longest, last = max(longest, at.since(last)), at
	}
	return longest
}
