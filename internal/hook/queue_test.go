package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// SyncInfo is an event as packages have them: its name is "Sync".
type SyncInfo struct{ Number string }

type hookSync interface{ OnSync(SyncInfo) }

// syncHook hears of syncs, and of what it missed. As it is told, it does as the test says.
type syncHook struct {
	on func(SyncInfo)

	mu   sync.Mutex
	told []string
}

func (h *syncHook) OnSync(info SyncInfo) { h.add(info.Number); h.on(info) }
func (h *syncHook) onMissed(events int)  { h.add(fmt.Sprint("missed ", events)) }

func (h *syncHook) add(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, what)
}

func (h *syncHook) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	told := h.told
	h.told = nil
	return told
}

type onSync func(SyncInfo)

func (f onSync) OnSync(info SyncInfo) { f(info) }

// hooks are some that all hear of syncs.
type hooks struct {
	queues []*Queue
	sync   Hearers[SyncInfo]
}

func hooksOf(t *testing.T, given ...hookSync) *hooks {
	t.Helper()
	return hooksWith(t, slog.New(slog.DiscardHandler), given...)
}

func hooksWith(t *testing.T, log *slog.Logger, given ...hookSync) *hooks {
	t.Helper()
	h := &hooks{}
	for _, one := range given {
		var onMissed func(int)
		if slow, ok := one.(*syncHook); ok {
			onMissed = slow.onMissed
		}
		q := NewQueue(one, log, onMissed)
		h.queues = append(h.queues, q)
		require.True(t, Listen(&h.sync, q, hookSync.OnSync))
	}
	return h
}

// close takes in nothing more, and waits until everything was told.
func (h *hooks) close(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var errs []error
	for _, q := range h.queues {
		q.Close()
		errs = append(errs, q.Wait(ctx))
	}
	return errors.Join(errs...)
}

// numbers are the events from one number to another, as told.
func numbers(from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func (h *hooks) tellNumbers(from, to int) {
	for _, number := range numbers(from, to) {
		h.sync.Tell(SyncInfo{number})
	}
}

func TestHooksAreToldInOrderAndEachOnItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		slow := &syncHook{on: func(SyncInfo) { <-blocked }}
		quick := &syncHook{on: func(SyncInfo) {}}
		h := hooksOf(t, slow, quick)
		h.tellNumbers(1, 500)
		synctest.Wait()
		require.Equal(t, numbers(1, 500), quick.take())
		require.Equal(t, numbers(1, 1), slow.take())
		close(blocked)
		synctest.Wait()
		require.Equal(t, numbers(2, 500), slow.take())
		require.NoError(t, h.close(time.Second))
		h.tellNumbers(1, 2)
		synctest.Wait()
		require.Empty(t, quick.take(), "nothing comes after the end")
	})
}

func TestASlowHookMissesAndIsToldHowMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		slow := &syncHook{on: func(SyncInfo) { <-next }}
		h := hooksOf(t, slow)
		h.tellNumbers(0, 0)
		synctest.Wait() // it is at the first one, and nothing waits
		h.tellNumbers(1, Backlog+7)
		require.Equal(t, Backlog, h.queues[0].waiting, "memory is bounded")
		next <- struct{}{}
		synctest.Wait()
		h.tellNumbers(5000, 5001) // there is room for one
		close(next)
		synctest.Wait()
		want := append(numbers(0, Backlog), "missed 7", "5000", "missed 1")
		require.Equal(t, want, slow.take(), "also if nothing follows")
		require.NoError(t, h.close(0))
	})
}

func TestAHookThatWantsNotToKnowMissesInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		told := 0
		h := hooksOf(t, onSync(func(SyncInfo) { told++; <-next }))
		h.tellNumbers(1, 2*Backlog)
		close(next)
		synctest.Wait()
		h.tellNumbers(1, 1)
		synctest.Wait()
		require.InDelta(t, Backlog, told, 2)
	})
}

func TestWhatIsHandedWaitsForTheHookAndIsNeverMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		slow := &syncHook{on: func(SyncInfo) { <-next }}
		h := hooksOf(t, slow)
		h.tellNumbers(0, 0)
		synctest.Wait()
		h.tellNumbers(1, Backlog)
		returned := false
		go func() {
			h.queues[0].hand(t.Context(), "", func() { slow.add("handed") })
			returned = true
		}()
		synctest.Wait()
		require.False(t, returned)
		close(next)
		synctest.Wait()
		require.True(t, returned)
		require.Equal(t, append(numbers(0, Backlog), "handed"), slow.take())

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		h.queues[0].hand(ctx, "", func() { slow.add("handed") }) // does not wait
		synctest.Wait()
		require.Equal(t, []string{"handed"}, slow.take())
		require.NoError(t, h.close(0))
		h.queues[0].hand(t.Context(), "", func() { slow.add("handed") }) // does not wait, either
	})
}

func TestAHookThatDoesNotReturnIsToldAndGoesOn(t *testing.T) {
	for _, tc := range []struct {
		name, says string
		do         func()
	}{
		{"a panic", "panic=oops", func() { panic("oops") }},
		{"a nil panic", "panic called with nil argument", func() { panic(nil) }},
		{"the end of its goroutine", "panic=runtime.Goexit", runtime.Goexit},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				one := &syncHook{on: func(info SyncInfo) {
					if info.Number == "2" {
						tc.do()
					}
				}}
				h := hooksWith(t, slog.New(slog.NewTextHandler(&out, nil)), one)
				h.tellNumbers(1, 3)
				h.queues[0].hand(t.Context(), "Handed", tc.do) // returns all the same
				h.tellNumbers(4, 4)
				require.NoError(t, h.close(time.Second))
				require.Equal(t, numbers(1, 4), one.take())
				for _, want := range []string{tc.says, "level=ERROR", `msg="a hook panicked"`, "hook=*hook.syncHook", "event=Sync", "event=Handed", "stack="} {
					require.Contains(t, out.String(), want)
				}
				require.Equal(t, 2, strings.Count(out.String(), "\n"))
			})
		})
	}
}

func TestWithoutALogAHookThatPanicsIsToldOnStandardError(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	stderr := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = stderr }()
	h := hooksOf(t, onSync(func(SyncInfo) { panic(errors.New("oops")) }))
	h.tellNumbers(1, 1)
	require.NoError(t, h.close(10*time.Second))
	require.NoError(t, w.Close())
	told, err := io.ReadAll(r)
	require.NoError(t, err)
	for _, want := range []string{"rolebus: a hook panicked: oops [hook hook.onSync event Sync]\n", "queue_test.go:"} {
		require.Contains(t, string(told), want)
	}
}

func TestAHookThatDoesNotReturnIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		blocked := &syncHook{on: func(SyncInfo) { <-next }}
		h := hooksOf(t, blocked)
		h.tellNumbers(1, 3)
		began := time.Now()
		require.EqualError(t, h.close(time.Second), "the hook *hook.syncHook is still running")
		require.Equal(t, time.Second, time.Since(began))
		close(next)
		synctest.Wait()
		require.Equal(t, numbers(1, 1), blocked.take(), "it is called no more")
	})
}

func TestHooksAreToldFromManyGoroutines(t *testing.T) {
	inside, most, told := 0, 0, 0 // guarded by nothing: the race detector would tell
	h := hooksOf(t, onSync(func(SyncInfo) {
		inside++
		most = max(most, inside)
		told++
		inside--
	}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				h.sync.Tell(SyncInfo{})
			}
		})
	}
	wg.Wait()
	require.NoError(t, h.close(10*time.Second))
	require.Equal(t, 1, most)
	require.Equal(t, 800, told)
}

// A hook that is blocked has no more to come than may wait, however many gave up.
func TestWhatNobodyWaitsForIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		slow := &syncHook{on: func(SyncInfo) { <-next }}
		h := hooksOf(t, slow)
		h.tellNumbers(0, 0)
		synctest.Wait()
		given, cancel := context.WithCancel(t.Context())
		cancel()
		for range Backlog + 50 {
			h.sync.Hand(given, SyncInfo{"handed"})
		}
		q := h.queues[0]
		require.Equal(t, Backlog, q.waiting)
		count := 0
		for c := q.first; c != nil; c = c.next {
			count++
		}
		require.Equal(t, Backlog, count)
		close(next)
		require.NoError(t, h.close(time.Second))
		told := slow.take()
		require.Len(t, told, 1+Backlog+1)
		require.Equal(t, "missed 50", told[len(told)-1])
	})
}

// Wherever it stands in the queue.
func TestWhatIsTakenBackCountsAsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		slow := &syncHook{on: func(SyncInfo) { <-next }}
		h := hooksOf(t, slow)
		h.tellNumbers(0, 0)
		synctest.Wait()
		q := h.queues[0]
		var cancels []context.CancelFunc
		hand := func(what string) {
			ctx, cancel := context.WithCancel(t.Context())
			cancels = append(cancels, cancel)
			go q.hand(ctx, "", func() { slow.add(what) })
			synctest.Wait()
		}
		hand("first")
		h.tellNumbers(1, 10)
		hand("between")
		h.tellNumbers(11, Backlog-2)
		h.tellNumbers(1, 3) // there is no room
		hand("last")
		hand("last but one")
		for i, cancel := range cancels {
			if i == 3 {
				hand("after all")
			}
			cancel()
			synctest.Wait()
		}
		close(next)
		synctest.Wait()
		want := slices.Concat([]string{"0", "missed 1"}, numbers(1, 10), []string{"missed 1"}, numbers(11, Backlog-2),
			[]string{"missed 3", "last", "missed 1", "after all"})
		require.Equal(t, want, slow.take())
		require.Zero(t, q.waiting)
	})
}

func TestOnlyWhoHasTheMethodListens(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	var to Hearers[SyncInfo]
	require.False(t, Listen(&to, NewQueue(42, log, nil), hookSync.OnSync))
	require.Empty(t, to)
	var first, second int
	one := NewQueue(onSync(func(SyncInfo) { first++ }), log, nil)
	other := NewQueue(onSync(func(SyncInfo) { second++ }), log, nil)
	require.True(t, Listen(&to, one, hookSync.OnSync))
	require.True(t, Listen(&to, other, hookSync.OnSync))
	to.Of(other).Hand(t.Context(), SyncInfo{})
	to.TellLater(func() SyncInfo { return SyncInfo{} })
	for _, q := range []*Queue{one, other} {
		q.Close()
		require.NoError(t, q.Wait(t.Context()))
	}
	require.Equal(t, [2]int{1, 2}, [2]int{first, second})
}

// What many send by intention leaves room for the rest.
func TestSomeEventsAreMissedSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		slow := &syncHook{on: func(SyncInfo) { <-next }}
		h := hooksOf(t, slow)
		h.tellNumbers(0, 0)
		synctest.Wait()
		for range 5 {
			h.sync.TellUpTo(3, SyncInfo{"noise"})
		}
		h.tellNumbers(1, 1)
		close(next)
		require.NoError(t, h.close(time.Second))
		require.Equal(t, []string{"0", "noise", "noise", "noise", "missed 2", "1"}, slow.take())
	})
}
