package main

import (
	"context"
	"fmt"
	"time"
)

// inTurn is how many buses connect at a time where joining is not what is measured.
const inTurn = 10

// joinMeasured connects all buses at once, or as the plan says, and weighs them. If that does not succeed, it is the
// answer, and the fleet is started again to be measured further.
func (f *fleet) joinMeasured(ctx context.Context) error {
	before, err := f.usage(ctx)
	if err != nil {
		return err
	}
	together := f.Together
	if together == 0 {
		together = f.buses
	}
	f.row.Join, err = f.join(ctx, true, together)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		f.row.Join = &joinRow{Error: err.Error()}
		f.tell.say("%v", err)
		f.end()
		if err := f.start(ctx); err != nil {
			return err
		}
		if before, err = f.usage(ctx); err != nil {
			return err
		}
		if _, err = f.join(ctx, true, inTurn); err != nil {
			return err
		}
	}
	after, err := f.usage(ctx)
	f.row.Memory = f.memory(before, after)
	return err
}

// join connects all buses, so many at a time.
func (f *fleet) join(ctx context.Context, probe bool, together int) (*joinRow, error) {
	f.tell.say("joining%s, %s", atATime(together, f.buses), with(probe))
	from := time.Now()
	all, err := askAll[connected](ctx, f.holders, doConnect, func(i int) any {
		o := f.order(f.names(i), f.buses, probe)
		if together < f.buses {
			o.Together = max(1, together/f.processes)
		}
		return o
	})
	if err != nil {
		return nil, err
	}
	row := &joinRow{}
	for _, c := range all {
		row.Connected = max(row.Connected, c.Returned.Sub(from))
		row.InSync = max(row.InSync, c.InSync.Sub(from))
	}
	return row, nil
}

func atATime(together, buses int) string {
	if together >= buses {
		return " all at once"
	}
	return fmt.Sprintf(" %d at a time", together)
}

// usage is what the processes of the buses have used, without garbage.
func (f *fleet) usage(ctx context.Context) ([]usage, error) {
	return askAll[usage](ctx, f.holders, doUsage, func(int) any { return usageOrder{Collect: true} })
}

func (f *fleet) memory(before, after []usage) *memoryRow {
	m := &memoryRow{}
	for i := range before {
		m.Heap += growth(before[i].Heap, after[i].Heap) / float64(f.buses)
		m.RSS += growth(before[i].RSS, after[i].RSS) / float64(f.buses)
	}
	return m
}

func growth(before, after uint64) float64 { return float64(after) - float64(before) }
