package rolebus

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLateAnswersAreAskedForAgainAfterAWhile(t *testing.T) {
	const late = 400 * time.Millisecond
	for _, tc := range []struct {
		name  string
		takes []time.Duration
		asked int
		wait  time.Duration // at the most, beside the answers
		way   time.Duration
	}{
		{"in time", []time.Duration{lateAnswer - 1}, 1, 0, 0},
		{"late at first", []time.Duration{late, 0}, 2, lateWait * late, 0},
		{"far away", slices.Repeat([]time.Duration{late}, 2*veryTries), lateTries, lateWait * late, 0},
		{"far away, as is known", slices.Repeat([]time.Duration{late}, 2), 1, 0, late},
		{"very late at first", []time.Duration{veryLate, time.Minute, 0}, 3, 2 * lateWait * time.Second, 0},
		{"very late for ever", slices.Repeat([]time.Duration{veryLate}, 2*veryTries), veryTries, veryTries * lateWait * time.Second, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const rounds = 50
				waited := time.Duration(0)
				for range rounds {
					began, asked := time.Now(), 0
					require.NoError(t, calmly(t.Context(), tc.way, func() error {
						time.Sleep(tc.takes[asked])
						waited -= tc.takes[asked]
						asked++
						return nil
					}))
					require.Equal(t, tc.asked, asked)
					waited += time.Since(began)
				}
				require.LessOrEqual(t, waited, rounds*tc.wait)
				require.GreaterOrEqual(t, waited, rounds*tc.wait/4, "by chance, half of it")
			})
		})
	}
}

// Who has little time left takes what it has.
func TestCalmWithinADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20_000 { // few choose such waits that it matters
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			require.NoError(t, calmly(ctx, 0, func() error { time.Sleep(veryLate); return nil }))
			require.NoError(t, ctx.Err())
			cancel()
		}
	})
}

func TestAskingCalmlyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		refused := errors.New("refused")
		require.ErrorIs(t, calmly(t.Context(), 0, func() error {
			asked++
			time.Sleep(time.Second)
			return refused
		}), refused)
		require.Equal(t, 1, asked, "an error is not a late answer")
		ctx, cancel := context.WithCancelCause(t.Context())
		require.ErrorIs(t, calmly(ctx, 0, func() error {
			time.Sleep(time.Second)
			cancel(ErrClosed)
			return nil
		}), ErrClosed)
	})
}

// countingStore is a bucket with one new record, and counts who reads it.
type countingStore struct {
	store
	takes time.Duration // the question for the newest
	reads int
}

const newestOfAll = 7

func (s *countingStore) newest(context.Context, string, bool) (uint64, error) {
	time.Sleep(s.takes)
	return newestOfAll, nil
}

func (s *countingStore) read(_ context.Context, _ string, from, _ uint64) ([]change, uint64, error) {
	s.reads++
	return []change{stateOf("a", 1, 1, newestOfAll, "x")}, newestOfAll, nil
}

// Whose announcement is only late, because very many are under way, is not read from the bucket as well.
func TestWhatIsOnlyLateIsNotRead(t *testing.T) {
	for _, tc := range []struct {
		name    string
		takes   time.Duration // to ask
		hears   time.Duration // after the answer
		newer   bool
		nodes   map[string]life
		reads   int
		patient time.Duration // at the most
	}{
		{name: "it comes at once", hears: minAwait / 2, patient: minAwait},
		{name: "it comes late, as all do", takes: 300 * time.Millisecond, hears: time.Second, patient: maxAwait},
		{name: "it was lost", hears: time.Hour, reads: 1, patient: minAwait},
		{name: "it was lost, and all is late", takes: time.Minute, hears: time.Hour, reads: 1, patient: maxAwait},
		{name: "what may be missing is read in any case", hears: minAwait / 2, newer: true, reads: 1},
		{name: "a record that is asked for does not wait", hears: minAwait / 2, nodes: map[string]life{"a": {1, 1}}, reads: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &countingStore{takes: tc.takes}
				snap := newSnapshot("s", "")
				k := &catcher{store: s, scope: "s", snap: func() *Snapshot { return snap }, cursor: 3}
				k.hear(3)
				defer time.AfterFunc(tc.takes+tc.hears, func() { k.hear(newestOfAll) }).Stop()
				began := time.Now()
				r, err := k.read(t.Context(), asked{check: true, newer: tc.newer, nodes: tc.nodes})
				require.NoError(t, err)
				require.LessOrEqual(t, time.Since(began), tc.takes+tc.patient)
				require.Equal(t, tc.reads, s.reads)
				require.Len(t, r.changes, tc.reads)
			})
		})
	}
}

// lateStore answers nothing in time.
type lateStore struct {
	store
	asked int
	err   error
}

func (s *lateStore) newest(ctx context.Context, _ string, _ bool) (uint64, error) {
	s.asked++
	if errors.Is(s.err, context.DeadlineExceeded) {
		sleep(ctx, 5*time.Second)
	}
	return 0, s.err
}

// Who gets no answer in time asks again after a while only, and less and less often; who is refused asks soon.
func TestReadingsBackOff(t *testing.T) {
	for _, tc := range []struct {
		err         error
		least, most int
	}{
		{context.DeadlineExceeded, 5, 8},
		{errUnanswered, 50, 400},
	} {
		t.Run(tc.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &lateStore{err: tc.err}
				snap := newSnapshot("s", "")
				k := &catcher{
					store: s, scope: "s", interval: 7 * time.Second, snap: func() *Snapshot { return snap }, wake: make(chan struct{}, 1),
				}
				stop := make(chan struct{})
				defer close(stop)
				go func() { // whatever is asked meanwhile
					for tick := time.NewTicker(250 * time.Millisecond); ; {
						select {
						case <-stop:
							return
						case <-tick.C:
							k.ask(asked{nodes: map[string]life{"a": {1, 1}}})
						}
					}
				}()
				k.ask(asked{check: true})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				k.run(ctx)
				require.GreaterOrEqual(t, s.asked, tc.least)
				require.LessOrEqual(t, s.asked, tc.most)
			})
		})
	}
}
