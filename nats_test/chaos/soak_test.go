//go:build linux

package chaos_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// soakSamples is how many samples a soak takes, whatever its length.
const soakSamples = 60

// soakSeats are those whose processes live as long as the soak; the others come and go.
var soakSeats = []string{"n1", "n2", "o1", "o2"}

// soakKinds are faults that leave the servers, and what grows in them, alone.
const soakKinds = "kill,freeze,close,leave,replace,cut,reset,slow,burst,step-down"

// measures is one sample: values by name.
type measures map[string]uint64

// tolerances are what a measure may be larger than before, beside a tenth of it: noise of collections and of moments.
var tolerances = []struct {
	suffix string
	allows uint64
}{
	{" heap", 2 << 20}, {" goroutines", 5}, {" subscriptions", 5}, {"bucket messages", 4}, {"bucket consumers", 4},
}

// grown says which measures are larger in the last third of the samples than in the second one: by more than a tenth and
// what is tolerated, median against median. The first third is for warming up.
func grown(samples []measures) []string {
	var found []string
	third := len(samples) / 3
	for _, name := range slices.Sorted(maps.Keys(samples[len(samples)-1])) {
		before, after := median(samples[third:2*third], name), median(samples[2*third:], name)
		for _, t := range tolerances {
			if strings.HasSuffix(name, t.suffix) && after > before+before/10+t.allows {
				found = append(found, fmt.Sprintf("%s: %d, then %d; all samples: %d", name, before, after, each(samples, name)))
			}
		}
	}
	return found
}

// each returns the values of one measure, in the order of time.
func each(samples []measures, name string) []uint64 {
	var values []uint64
	for _, s := range samples {
		if v, found := s[name]; found {
			values = append(values, v)
		}
	}
	return values
}

func median(samples []measures, name string) uint64 {
	values := each(samples, name)
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// table tells the medians of the three thirds.
func table(samples []measures) string {
	var b strings.Builder
	third := len(samples) / 3
	fmt.Fprintf(&b, "%-26s %12s %12s %12s\n", "median of each third", "first", "second", "last")
	for _, name := range slices.Sorted(maps.Keys(samples[len(samples)-1])) {
		fmt.Fprintf(&b, "%-26s %12d %12d %12d\n", name, median(samples[:third], name), median(samples[third:2*third], name),
			median(samples[2*third:], name))
	}
	return b.String()
}

// TestSoak looks for what grows in processes that live long, in the servers and in the bucket, while nodes come and go.
func TestSoak(t *testing.T) {
	if !*soakFlag {
		return // it takes as long as one lets it; the rule that it applies has a test of its own
	}
	kinds, err := chosen(soakKinds)
	if err != nil {
		t.Fatal(err)
	}
	var live func(record)
	start := now()
	if testing.Verbose() {
		live = func(r record) {
			if r.Kind == faulted || r.Kind == noted || r.Kind == broken {
				fmt.Printf("soak %s %s\n", r.At.after(start), r.line())
			}
		}
	}
	f, err := newFleet(t.TempDir(), live)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	var samples []measures
	violations, err := f.play(run{
		rng: rand.New(rand.NewPCG(max(*seedFlag, 1), 1)), kinds: kinds, length: *forFlag, spared: soakSeats,
		beside: func(ctx context.Context) {
			for range time.Tick(*forFlag / soakSamples) {
				if ctx.Err() != nil {
					return
				}
				if s := f.sample(); s != nil {
					samples = append(samples, s)
				}
			}
		},
	})
	if err != nil {
		t.Fatalf("the soak did not come to its end: %v\n%s", err, f.logs(20))
	}
	found, judged := check(f.hist.all())
	violations = append(violations, found...)
	t.Logf("%s\n%s", summary(f.hist.all(), judged, start), table(samples))
	for _, v := range violations {
		t.Errorf("%s\n%s", v, timeline(f.hist.all(), start, v))
	}
	for _, what := range grown(samples) {
		t.Errorf("it grows: %s", what)
	}
}

// sample measures all; nil if somebody could not be asked just now.
func (f *fleet) sample() measures {
	s := measures{}
	ctx, cancel := context.WithTimeout(f.ctx, 5*time.Second)
	defer cancel()
	info, err := f.js.Stream(ctx, stream)
	if err != nil {
		return nil
	}
	s["bucket messages"] = info.CachedInfo().State.Msgs
	s["bucket consumers"] = uint64(info.CachedInfo().State.Consumers)
	ask := func(name string, p *process) bool {
		r := f.ask(p, order{Op: opStats}, 5*time.Second)
		if r == nil {
			return false
		}
		s[name+" heap"], s[name+" goroutines"] = r.Stats.Heap, uint64(r.Stats.Goroutines)
		s[name+" subscriptions"] = uint64(r.Stats.Subscriptions)
		return true
	}
	for _, name := range soakSeats {
		if !ask(name, f.seat(name).now().process) {
			return nil
		}
	}
	for _, server := range f.servers {
		if !ask(server.cfg.Name, server.proc) {
			return nil
		}
	}
	return s
}

func TestGrowthIsFound(t *testing.T) {
	var flat, rising []measures
	for i := range uint64(30) {
		noise := i % 3
		flat = append(flat, measures{"n1 heap": 10<<20 + noise<<16, "n1 goroutines": 20 + noise, "bucket consumers": noise})
		rising = append(rising, measures{"n1 heap": (10 + i) << 20, "n1 goroutines": 20 + 2*i, "bucket consumers": i})
	}
	if got := grown(flat); len(got) != 0 {
		t.Errorf("flat, but found to grow: %q", got)
	}
	if got := grown(rising); len(got) != 3 {
		t.Errorf("three measures rise, found were: %q", got)
	}
}
