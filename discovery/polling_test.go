package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// asked is a poll in a bubble: when it asked, and what it told.
type asked struct {
	at     []time.Duration
	inside atomic.Int32
	lists  [][]Address
	errs   []error
	log    bytes.Buffer
}

// polled polls for so long of a bubble's time. The lookup gets the number of the call.
func polled(t *testing.T, d time.Duration, lookup func(ctx context.Context, call int) []answer, opts ...Option) *asked {
	t.Helper()
	a := &asked{}
	synctest.Test(t, func(t *testing.T) {
		o := collect(append(opts, WithLogger(slog.New(slog.NewTextHandler(&a.log, nil)))), forPolls)
		require.Empty(t, o.errs)
		began := time.Now()
		s := made("test", "", o, o.polling(func(ctx context.Context) []answer {
			require.EqualValues(t, 1, a.inside.Add(1), "one at a time")
			defer a.inside.Add(-1)
			a.at = append(a.at, time.Since(began))
			return lookup(ctx, len(a.at))
		}))
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		err := s.Discover(ctx, func(list []Address, err error) {
			if err != nil {
				a.errs = append(a.errs, err)
			} else {
				a.lists = append(a.lists, list)
			}
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.LessOrEqual(t, time.Since(began), d+time.Second)
		for synctest.Wait(); a.inside.Load() > 0; synctest.Wait() {
			time.Sleep(time.Second) // a lookup that is left behind ends in the bubble, too
		}
	})
	return a
}

// pauses checks the time from one lookup to the next, from the n-th on.
func (a *asked) pauses(t *testing.T, n int, want ...time.Duration) {
	t.Helper()
	for i, d := range want {
		require.InDelta(t, d, a.at[n+i+1]-a.at[n+i], float64(d)/10+1, "pause %d: %v", n+i, a.at)
	}
}

func one(addresses ...Address) []answer { return []answer{{addresses: addresses}} }
func fails(err error) []answer          { return []answer{{err: err}} }

var (
	addressA, addressB = Address{Host: "a"}, Address{Host: "b"}
	errDown            = &Failure{Source: "test", Reason: ReasonUnavailable, Err: errors.New("down")}
)

func TestASourceThatFailsIsAskedLessAndLess(t *testing.T) {
	const ms = time.Millisecond
	a := polled(t, time.Hour, func(context.Context, int) []answer { return fails(errDown) })
	a.pauses(t, 0, 100*ms, 200*ms, 400*ms, 800*ms, 1600*ms, 3200*ms, 6400*ms, 12800*ms, 25600*ms, 51200*ms, time.Minute, time.Minute, time.Minute)
	require.InDelta(t, 68, len(a.at), 5)

	a = polled(t, time.Hour, func(_ context.Context, call int) []answer {
		if call == 1 || call == 9 {
			return one(addressA)
		}
		return fails(errDown)
	}, MaxBackoff(30*time.Second))
	a.pauses(t, 0, 5*time.Second, 5*time.Second, 10*time.Second, 20*time.Second, 30*time.Second, 30*time.Second)
	a.pauses(t, 8, 5*time.Second, 5*time.Second, 10*time.Second)
	for _, list := range a.lists {
		require.Equal(t, []Address{addressA}, list)
	}
}

// A source that answers that there is nothing works.
func TestASourceThatHasNothingIsAskedAsEver(t *testing.T) {
	for name, say := range map[string][]answer{
		"nothing": one(), "empty": fails(&Failure{Reason: ReasonEmpty}), "not found": fails(&Failure{Reason: ReasonNotFound}), "no source": {},
	} {
		a := polled(t, 500*time.Second, func(context.Context, int) []answer { return say }, MaxBackoff(time.Hour))
		require.InDelta(t, 100, len(a.at), 4, name)
	}
}

// One of two works: nobody waits, and what the other one had stays.
func TestEachSourceKeepsItsOwn(t *testing.T) {
	a := polled(t, 500*time.Second, func(_ context.Context, call int) []answer {
		if call == 1 {
			return []answer{{of: "A", addresses: []Address{addressA}}, {of: "AAAA", addresses: []Address{addressB}}}
		}
		return []answer{{of: "A", addresses: []Address{{Host: "a", Port: call}}}, {of: "AAAA", err: errDown}}
	})
	require.InDelta(t, 100, len(a.at), 4)
	require.Equal(t, []Address{addressA, addressB}, a.lists[0])
	require.Equal(t, []Address{{Host: "a", Port: 50}, addressB}, a.lists[49])
	require.Len(t, a.errs, len(a.at)-1, "each failure is told once")
}

// The interval goes from one beginning to the next.
func TestASlowSourceIsAskedAsOften(t *testing.T) {
	a := polled(t, 500*time.Second, func(context.Context, int) []answer { time.Sleep(2 * time.Second); return one(addressA) })
	require.InDelta(t, 100, len(a.at), 4)
	a = polled(t, 500*time.Second, func(context.Context, int) []answer { time.Sleep(4 * time.Second); return one(addressA) })
	require.InDelta(t, 500/6.5, len(a.at), 4, "half of the interval it is left in peace")
}

func TestALookupHasUntilTheTimeout(t *testing.T) {
	a := polled(t, time.Minute, func(ctx context.Context, call int) []answer {
		if call == 1 {
			return one(addressA)
		}
		<-ctx.Done()
		return fails(fmt.Errorf("asking: %w", ctx.Err()))
	}, Timeout(3*time.Second))
	require.Equal(t, [][]Address{{addressA}}, a.lists)
	require.NotEmpty(t, a.errs)
	for _, err := range a.errs {
		require.ErrorContains(t, err, "no answer within 3s")
		require.Equal(t, ReasonTimeout, ReasonOf(err))
	}
}

// A lookup that goes on is told, is the only one, and what it says in the end is too late.
func TestALookupThatIsDeafIsWaitedFor(t *testing.T) {
	a := polled(t, time.Minute, func(_ context.Context, call int) []answer {
		if call == 2 {
			time.Sleep(30 * time.Second)
			return one(addressB)
		}
		return one(addressA)
	}, Timeout(time.Second))
	for _, list := range a.lists {
		require.Equal(t, []Address{addressA}, list)
	}
	require.Len(t, a.errs, 1)
	require.ErrorContains(t, a.errs[0], "no answer within 1s")
	require.Greater(t, a.at[2]-a.at[1], 30*time.Second)
}

func TestALookupThatDoesNotReturnIsAFailure(t *testing.T) {
	for says, end := range map[string]func(){"panicked: oops": func() { panic("oops") }, "runtime.Goexit": runtime.Goexit} {
		a := polled(t, time.Minute, func(_ context.Context, call int) []answer {
			if call == 2 {
				end()
			}
			return one(addressA)
		})
		require.Len(t, a.errs, 1)
		require.ErrorContains(t, a.errs[0], says)
		require.InDelta(t, 12, len(a.at), 2)
	}
}

// What cannot be used is left out, and told; what else is in the list is whole.
func TestAPollLeavesOutWhatCannotBeUsed(t *testing.T) {
	a := polled(t, time.Minute, func(_ context.Context, call int) []answer {
		switch call {
		case 1:
			return one(addressA, Address{Host: "no host"}, addressB)
		case 2:
			return one(Address{}, addressB)
		}
		return one(Address{Port: -1})
	})
	require.Equal(t, [][]Address{{addressA, addressB}, {addressB}}, a.lists)
	require.ErrorContains(t, a.errs[0], `host "no host" is neither`)
	require.Equal(t, ReasonMalformed, ReasonOf(a.errs[0]))
	many := make([]Address, 100)
	a = polled(t, time.Second, func(context.Context, int) []answer { return one(many...) })
	require.ErrorContains(t, a.errs[0], "and 95 more")
}

// An hour of failures of whatever kind fills no log, and the end of them is told.
func TestNoFailureFloodsTheLog(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		say  func(call int) []answer
		most int
		well int
	}{
		"always the same":    {func(int) []answer { return fails(errDown) }, 15, 0},
		"another port":       {func(call int) []answer { return fails(fmt.Errorf("read 10.0.0.1:%d: timeout", call)) }, 15, 0},
		"another text":       {func(call int) []answer { return fails(errors.New(strings.Repeat("x", call))) }, 75, 0},
		"now and then":       {func(call int) []answer { return [][]answer{fails(errDown), one(addressA)}[call%2] }, 15, 15},
		"a part":             {func(int) []answer { return []answer{{addresses: []Address{addressA}, err: errDown}} }, 15, 0},
		"nothing":            {func(int) []answer { return one() }, 15, 0},
		"cannot be used":     {func(int) []answer { return one(addressA, Address{}) }, 15, 0},
		"once":               {func(call int) []answer { return [][]answer{one(addressA), fails(errDown)}[min(1, 1/call)] }, 1, 1},
		"it was cancelled":   {func(int) []answer { return fails(context.Canceled) }, 0, 0},
		"too many addresses": {func(int) []answer { return one(many(2000)...) }, 15, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := polled(t, time.Hour, func(_ context.Context, call int) []answer { return tc.say(call) }, MaxBackoff(5*time.Second))
			require.InDelta(t, 720, len(a.at), 60)
			log := a.log.String()
			warned, well := strings.Count(log, "level=WARN"), strings.Count(log, "works again")
			require.LessOrEqual(t, warned, tc.most)
			require.Equal(t, tc.most > 0, warned > 0)
			require.LessOrEqual(t, well, min(tc.well, warned))
			require.Equal(t, tc.well > 0, well > 0)
		})
	}
}

func many(n int) []Address {
	all := make([]Address, n)
	for i := range all {
		all[i] = Address{Host: fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)}
	}
	return all
}

// What a function returns as an error may have no text, or none that can be asked for.
func TestErrorsWithoutATextAreTold(t *testing.T) {
	for says, err := range map[string]error{"whose text panics": (*Failure)(nil), "without a text": errors.New("")} {
		a := polled(t, time.Minute, func(context.Context, int) []answer { return fails(err) })
		require.ErrorContains(t, a.errs[0], says)
		a = &asked{}
		s := Watch("test", func(_ context.Context, w *Watching) error {
			w.Fail(err)
			w.Part([]Address{addressA}, err)
			return nil
		})
		require.NoError(t, s.Discover(t.Context(), func(_ []Address, err error) { a.errs = append(a.errs, err) }))
		require.Len(t, a.errs, 2)
		for _, err := range a.errs {
			require.ErrorContains(t, err, says)
		}
	}
}
