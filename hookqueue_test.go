package rolebus

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

// syncHook hears of syncs, and of what it missed. As it is told, it does as the test says.
type syncHook struct {
	on func(SyncInfo)

	mu   sync.Mutex
	told []string
}

func (h *syncHook) OnSync(info SyncInfo)     { h.add(info.Scope); h.on(info) }
func (h *syncHook) OnMissed(info MissedInfo) { h.add(fmt.Sprint("missed ", info.Events)) }

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

func hooksOf(t *testing.T, given ...Hook) *hooks {
	t.Helper()
	h, err := newHooks(given, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return h
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
		h.sync.tell(SyncInfo{Scope: number})
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
		h.tellNumbers(1, hookBacklog+7)
		require.Equal(t, hookBacklog, h.queues[0].waiting, "memory is bounded")
		next <- struct{}{}
		synctest.Wait()
		h.tellNumbers(5000, 5001) // there is room for one
		close(next)
		synctest.Wait()
		want := append(numbers(0, hookBacklog), "missed 7", "5000", "missed 1")
		require.Equal(t, want, slow.take(), "also if nothing follows")
		require.NoError(t, h.close(0))
	})
}

func TestAHookThatWantsNotToKnowMissesInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		told := 0
		h := hooksOf(t, onSync(func(SyncInfo) { told++; <-next }))
		h.tellNumbers(1, 2*hookBacklog)
		close(next)
		synctest.Wait()
		h.tellNumbers(1, 1)
		synctest.Wait()
		require.InDelta(t, hookBacklog, told, 2)
	})
}

type onSync func(SyncInfo)

func (f onSync) OnSync(info SyncInfo) { f(info) }

func TestWhatIsHandedWaitsForTheHookAndIsNeverMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		slow := &syncHook{on: func(SyncInfo) { <-next }}
		h := hooksOf(t, slow)
		h.tellNumbers(0, 0)
		synctest.Wait()
		h.tellNumbers(1, hookBacklog)
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
		require.Equal(t, append(numbers(0, hookBacklog), "handed"), slow.take())

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
				hook := &syncHook{on: func(info SyncInfo) {
					if info.Scope == "2" {
						tc.do()
					}
				}}
				h, err := newHooks([]Hook{hook}, slog.New(slog.NewTextHandler(&out, nil)))
				require.NoError(t, err)
				h.tellNumbers(1, 3)
				h.queues[0].hand(t.Context(), "Handed", tc.do) // returns all the same
				h.tellNumbers(4, 4)
				require.NoError(t, h.close(time.Second))
				require.Equal(t, numbers(1, 4), hook.take())
				for _, want := range []string{tc.says, "level=ERROR", `msg="a hook panicked"`, "hook=*rolebus.syncHook", "event=Sync", "event=Handed", "stack="} {
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
	for _, want := range []string{"rolebus: a hook panicked: oops [hook rolebus.onSync event Sync]\n", "hookqueue_test.go:"} {
		require.Contains(t, string(told), want)
	}
}

func TestCloseDoesNotWaitForEverForAHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		blocked := &syncHook{on: func(SyncInfo) { <-next }}
		quick := &syncHook{on: func(SyncInfo) {}}
		h := hooksOf(t, blocked, quick)
		h.tellNumbers(1, 3)
		began := time.Now()
		err := h.close(time.Second)
		require.EqualError(t, err, "rolebus: close: the hook *rolebus.syncHook is still running")
		require.Equal(t, time.Second, time.Since(began))
		require.Equal(t, numbers(1, 3), quick.take())
		close(next)
		synctest.Wait()
		require.Equal(t, numbers(1, 1), blocked.take(), "it is called no more")
	})
}

func TestWithoutHooksThereIsNothing(t *testing.T) {
	h, err := newHooks(nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Nil(t, h)
	require.NoError(t, h.close(0))
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
				h.sync.tell(SyncInfo{})
			}
		})
	}
	wg.Wait()
	require.NoError(t, h.close(10*time.Second))
	require.Equal(t, 1, most)
	require.Equal(t, 800, told)
}

// What was handed for a stay in a scope that has ended since does not wait for ever.
func TestABlockedHookKeepsNothingOfScopesThatComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		hook := &upHook{syncHook{on: func(SyncInfo) { <-next }}}
		a := newFakeBucket().bus(t, "a", WithHooks(hook))
		synctest.Wait() // it was told of the default scope
		a.hooks.tellNumbers(0, 0)
		for range hookBacklog + 50 {
			_, err := a.Join(t.Context(), "s")
			require.NoError(t, err)
			synctest.Wait()
			require.NoError(t, a.Leave(t.Context(), "s"))
		}
		q := a.hooks.queues[0]
		require.Equal(t, hookBacklog, q.waiting)
		count := 0
		for c := q.first; c != nil; c = c.next {
			count++
		}
		require.Equal(t, hookBacklog, count)
		close(next)
		synctest.Wait()
		told := hook.take()
		require.Equal(t, "missed 50", told[len(told)-1])
		_, err := a.Join(t.Context(), "s")
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []string{"up a"}, hook.take(), "it goes on")
	})
}

type upHook struct{ syncHook }

func (h *upHook) OnNodeUp(info NodeUpInfo) { h.add("up " + info.Node.Name()) }

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
		h.tellNumbers(11, hookBacklog-2)
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
		want := slices.Concat([]string{"0", "missed 1"}, numbers(1, 10), []string{"missed 1"}, numbers(11, hookBacklog-2),
			[]string{"missed 3", "last", "missed 1", "after all"})
		require.Equal(t, want, slow.take())
		require.Zero(t, q.waiting)
	})
}
