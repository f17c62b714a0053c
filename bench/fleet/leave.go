package main

import (
	"context"
	"time"
)

// leave closes all buses at once, before the eyes of an observer.
func (f *fleet) leave(ctx context.Context) error {
	f.tell.say("leaving")
	observer, err := startProcess(kindBuses, "observer", f.Timeout)
	if err != nil {
		return err
	}
	defer observer.end()
	o := f.order([]string{"observer"}, f.buses, true)
	o.Observer = true
	if _, err := ask[connected](ctx, observer, doConnect, o); err != nil {
		return err
	}
	if _, err := ask[none](ctx, observer, doWatch, watchOrder{}); err != nil {
		return err
	}
	from := time.Now()
	all, err := askAll[closed](ctx, f.holders, doClose, func(int) any { return none{} })
	if err != nil {
		return err
	}
	gone, err := ask[closed](ctx, observer, doAwaitNone, none{})
	if err != nil {
		return err
	}
	f.row.Leave = &leaveRow{Gone: gone.Returned.Sub(from)}
	for _, c := range all {
		f.row.Leave.Closed = max(f.row.Leave.Closed, c.Returned.Sub(from))
		f.row.Leave.Late += c.Late
	}
	return nil
}
