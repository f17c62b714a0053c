package exclusive_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
)

// BenchmarkPassOn is how long it takes until a name that one process resigns is held by another one, beside a role that one process takes
// and another one sees: both between the same two processes, in turn. What counts is the ratio of the medians.
func BenchmarkPassOn(b *testing.B) {
	srv := rolebustest.NewServer(b)
	buses := []*rolebus.Bus{join(b, srv), join(b, srv)}
	term := campaign(b, buses[0], "leader")
	var changes, passes []time.Duration
	for i := 0; b.Loop(); i++ {
		from, to := buses[i%2], buses[(i+1)%2]
		role := rolebus.Role(fmt.Sprint("r", i))
		watching := make(chan struct{})
		seen := make(chan time.Time)
		go func() {
			for snap, began := to.Snapshot(), false; ; snap = to.Snapshot() {
				if !began {
					close(watching)
					began = true
				}
				if snap.Nodes(role).Len() == 1 {
					seen <- time.Now()
					return
				}
				<-snap.Superseded()
			}
		}()
		<-watching
		time.Sleep(settle)
		began := time.Now()
		if err := from.SetRoles(b.Context(), role); err != nil {
			b.Fatal(err)
		}
		changes = append(changes, (<-seen).Sub(began))

		type got struct {
			term *exclusive.Term
			at   time.Time
			err  error
		}
		next := make(chan got)
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		go func() {
			term, err := exclusive.Campaign(ctx, to.Scope, "leader")
			next <- got{term, time.Now(), err}
		}()
		waitHolder(b, to, term)
		began = time.Now()
		if err := term.Resign(b.Context()); err != nil {
			b.Fatal(err)
		}
		taken := <-next
		cancel()
		if taken.err != nil {
			b.Fatal(taken.err)
		}
		passes = append(passes, taken.at.Sub(began))
		term = taken.term
	}
	change, pass := quantile(changes, 0.5), quantile(passes, 0.5)
	b.ReportMetric(float64(change.Microseconds()), "µs/change-p50")
	b.ReportMetric(float64(pass.Microseconds()), "µs/pass-p50")
	b.ReportMetric(float64(quantile(passes, 0.99).Microseconds()), "µs/pass-p99")
	b.ReportMetric(float64(pass)/float64(change), "pass/change")
}

// settle has both be measured from rest: processes that have just worked are quicker, and so is a campaign that comes later.
const settle = 2 * time.Millisecond

// waitHolder waits until a process knows of a term, and a campaign of its own has had a moment to wait for it.
func waitHolder(tb testing.TB, b *rolebus.Bus, term *exclusive.Term) {
	eventually(tb, "the term is known", func() bool {
		h, is := exclusive.Holder(b.Scope, "leader")
		return is && h.Token == term.Token()
	})
	time.Sleep(settle)
}

func quantile(of []time.Duration, q float64) time.Duration {
	slices.Sort(of)
	return of[min(int(q*float64(len(of))), len(of)-1)]
}
