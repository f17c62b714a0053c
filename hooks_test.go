package rolebus

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/internal/hook"
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
		h.sync.Tell(SyncInfo{Scope: number})
	}
}

type onSync func(SyncInfo)

func (f onSync) OnSync(info SyncInfo) { f(info) }

func TestAHookIsToldHowManyEventsItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		slow := &syncHook{on: func(SyncInfo) { <-next }}
		h := hooksOf(t, slow)
		h.tellNumbers(0, 0)
		synctest.Wait() // it is at the first one, and nothing waits
		h.tellNumbers(1, hook.Backlog+7)
		close(next)
		require.NoError(t, h.close(time.Second))
		require.Equal(t, append(numbers(0, hook.Backlog), "missed 7"), slow.take())
	})
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

// What was handed for a stay in a scope that has ended since does not wait for ever.
func TestABlockedHookKeepsNothingOfScopesThatComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		up := &upHook{syncHook{on: func(SyncInfo) { <-next }}}
		a := newFakeBucket().bus(t, "a", WithHooks(up))
		synctest.Wait() // it was told of the default scope
		a.hooks.tellNumbers(0, 0)
		for range hook.Backlog + 50 {
			_, err := a.Join(t.Context(), "s")
			require.NoError(t, err)
			synctest.Wait()
			require.NoError(t, a.Leave(t.Context(), "s"))
		}
		close(next)
		synctest.Wait()
		told := up.take()
		require.Len(t, told, 2+hook.Backlog+1, "memory is bounded")
		require.Equal(t, "missed 50", told[len(told)-1])
		_, err := a.Join(t.Context(), "s")
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []string{"up a"}, up.take(), "it goes on")
	})
}

type upHook struct{ syncHook }

func (h *upHook) OnNodeUp(info NodeUpInfo) { h.add("up " + info.Node.Name()) }
