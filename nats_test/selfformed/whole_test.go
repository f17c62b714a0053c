//go:build linux

package selfformed_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// lacks says what the cluster lacks, as its processes see it; "" if it is whole: all name one cluster and one leader, all are ready, it has
// as many members as it is to have, who all answer, and the others are spares.
func (f *fleet) lacks() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var first *state
	for _, p := range f.places {
		s := p.now.state
		who := fmt.Sprintf("%s#%d", p.name, p.now.number)
		switch {
		case s == nil:
			return who + " has not said anything"
		case !s.Ready:
			return fmt.Sprintf("%s is %s and not ready: it waits for %s", who, s.Part, s.Waiting)
		case first == nil:
			first = s
		case s.Cluster != first.Cluster:
			return fmt.Sprintf("%s is of cluster %s, and another of %s", who, s.Cluster, first.Cluster)
		case s.Leader != first.Leader:
			return fmt.Sprintf("%s knows leader %s, and another %s", who, s.Leader, first.Leader)
		case !slices.Equal(s.Members, first.Members):
			return fmt.Sprintf("%s knows members %v, and another %v", who, s.Members, first.Members)
		}
		switch {
		case len(s.Members) != f.size || len(s.Silent) > 0:
			return fmt.Sprintf("%s knows members %v, of whom %v are silent", who, s.Members, s.Silent)
		case s.Part != "spare" && len(s.Spares) != len(f.places)-f.size: // spares hear of each other seldom
			return fmt.Sprintf("%s knows spares %v, and there are %d processes", who, s.Spares, len(f.places))
		case f.bus && !p.now.joined:
			return fmt.Sprintf("the bus of %s has not joined", who)
		}
	}
	return ""
}

const (
	lookAgain = 200 * time.Millisecond
	// wholeWithin is how long it may take until a cluster is whole again: many times what it takes on a machine that has time. It is longer
	// where the machine had none.
	wholeWithin = 2 * time.Minute
)

// whole waits until the cluster is whole, and its streams are, and says for how long it was not, since then.
func (f *fleet) whole(since instant) (time.Duration, error) {
	for {
		what := f.lacks()
		at := now()
		if what == "" && f.bus {
			at, what = f.streamsLack()
		}
		if what == "" {
			return at.since(since), nil
		}
		if err := f.crashed(); err != nil {
			return 0, err
		}
		if now().since(since) > wholeWithin+f.stalled(span{since, now()}) {
			return 0, fmt.Errorf("not whole after %v: %s", now().since(since), what)
		}
		select {
		case <-f.news:
		case <-time.After(lookAgain):
		}
	}
}

// streamsLack asks one of the processes about the streams.
func (f *fleet) streamsLack() (instant, string) {
	at := now()
	r, err := f.call(f.places[rand.N(len(f.places))].now, doCheck, patience)
	switch {
	case err != nil:
		return at, err.Error()
	case r.Text != "":
		time.Sleep(lookAgain)
		return at, r.Text
	}
	return at, ""
}

// stalled is how long processes did not run in a span though nobody kept them from it: of that which was worst off.
func (f *fleet) stalled(in span) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return stalledIn(f.records, f.procs, in)
}

func stalledIn(records []record, procs []*proc, in span) (most time.Duration) {
	by := map[int]time.Duration{}
	for _, r := range records {
		s := span{r.From, r.At}
		if r.Kind != isStalled || slices.ContainsFunc(procs[r.proc].disturbed, s.meets) {
			continue
		}
		by[r.proc] += s.within(in)
		most = max(most, by[r.proc])
	}
	return most
}
