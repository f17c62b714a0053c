package main

import (
	"context"
	"math"
	"slices"
	"time"
)

// changesInTurn come one after another: a role that everybody has goes, one that nobody else has comes, and both are put
// right again.
const changesInTurn = 4

// changesLimit is for how long changes are timed.
const changesLimit = time.Minute

// spread is when a change, or a message, had reached the first, the middle and the last one of some buses.
type spread struct{ first, median, last time.Duration }

// whose chooses among the sights of one change, by process, those that count.
type whose func(seen [][]time.Time) []time.Time

func everyBus(seen [][]time.Time) []time.Time { return slices.Concat(seen...) }

// reader is the bus that does not write, of two.
func reader(seen [][]time.Time) []time.Time { return seen[1] }

// twoProcesses is the story of a writer and a reader in two processes.
func (f *fleet) twoProcesses(ctx context.Context) error {
	_, err := f.join(ctx, true, f.buses)
	if err == nil {
		f.row.Changes, err = f.changes(ctx, reader)
	}
	return err
}

// changes times changes, and as many messages of core NATS between them.
func (f *fleet) changes(ctx context.Context, who whose) ([]changeRow, error) {
	f.tell.say("changing a role, %d times", f.Changes)
	if _, err := askAll[none](ctx, f.holders, doWatch, func(int) any { return watchOrder{Node: writer} }); err != nil {
		return nil, err
	}
	if _, err := askAll[none](ctx, f.holders, doListen, func(int) any { return none{} }); err != nil {
		return nil, err
	}
	took := map[string][]spread{}
	var floor []spread
	limit := time.Now().Add(changesLimit)
	for nth := 0; nth < f.Changes || nth%changesInTurn > 0; nth++ {
		if nth > 0 && nth%changesInTurn == 0 && time.Now().After(limit) {
			f.tell.say("timed only %d changes in %v", nth, changesLimit)
			break
		}
		s, err := f.spread(ctx, who, doChange, doAwait, nth)
		if err != nil {
			return nil, err
		}
		kind := changeKinds[nth%len(changeKinds)]
		took[kind] = append(took[kind], s)
		if s, err = f.spread(ctx, who, doPublish, doAwaitFloor, nth+1); err != nil {
			return nil, err
		}
		floor = append(floor, s)
	}
	var rows []changeRow
	under := newChangeRow("floor", floor)
	for _, kind := range changeKinds {
		row := newChangeRow(kind, took[kind])
		row.Floor, row.PerFloorLast = &under, ratio(row.Last, under.Last)
		rows = append(rows, row)
	}
	_, err := askAll[none](ctx, f.holders, doUnwatch, func(int) any { return none{} })
	return rows, err
}

// spread lets the first process do something, and then asks all when each of their buses saw it.
func (f *fleet) spread(ctx context.Context, who whose, do, await string, nth int) (spread, error) {
	c, err := ask[changed](ctx, f.holders[0], do, changeOrder{nth})
	if err != nil {
		return spread{}, err
	}
	var order any = awaitOrder{Generation: c.Generation}
	if await == doAwaitFloor {
		order = changeOrder{nth}
	}
	others, err := askAll[sightings](ctx, f.holders[1:], await, func(int) any { return order })
	if err != nil {
		return spread{}, err
	}
	seen := [][]time.Time{c.Seen}
	for _, s := range others {
		seen = append(seen, s.Seen)
	}
	times := slices.SortedFunc(slices.Values(who(seen)), time.Time.Compare)
	return spread{times[0].Sub(c.From), times[len(times)/2].Sub(c.From), times[len(times)-1].Sub(c.From)}, nil
}

// compare holds the changes against what they take between two processes.
func (f *fleet) compare() {
	for i := range f.row.Changes {
		if i < len(f.two) {
			f.row.Changes[i].PerTwo = ratio(f.row.Changes[i].Last, f.two[i].Last)
		}
	}
}

func newChangeRow(kind string, took []spread) changeRow {
	of := func(q float64, which func(spread) time.Duration) time.Duration {
		var all []time.Duration
		for _, s := range took {
			all = append(all, which(s))
		}
		return quantile(all, q)
	}
	last := func(s spread) time.Duration { return s.last }
	return changeRow{
		Kind: kind, Changes: len(took),
		First:  of(0.5, func(s spread) time.Duration { return s.first }),
		Median: of(0.5, func(s spread) time.Duration { return s.median }),
		Last:   of(0.5, last), LastP99: of(0.99, last),
	}
}

// quantile returns the value that a share q of all does not exceed.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
}

func ratio(a, b time.Duration) float64 {
	if b <= 0 {
		return 0
	}
	return float64(a) / float64(b)
}
