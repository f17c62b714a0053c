package rolebus

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// handlerLog is a handler that notes what it hears, by scope.
type handlerLog struct {
	mu    sync.Mutex
	heard map[string][]string
}

func (l *handlerLog) handler() Handler {
	note := func(ev Event) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.heard[ev.Scope] = append(l.heard[ev.Scope], line(ev))
	}
	return Handler{OnNodeJoined: note}
}

func (l *handlerLog) count() (count int) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lines := range l.heard {
		count += len(lines)
	}
	return count
}

// unopened is a bus whose scopes are not joined yet.
func (f *fakeBucket) unopened(t *testing.T, opts ...Option) *Bus {
	t.Helper()
	o, err := newOptions(append([]Option{WithNode("a"), WithTTL(fakeTTL)}, opts...))
	require.NoError(t, err)
	link := f.link()
	b := newBus(o, newNoise(o.log), link)
	link.identity = b.fleet
	link.look()
	return b
}

func TestHandlersStartWhenAllScopesAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &handlerLog{heard: map[string][]string{}}
		b := newFakeBucket().unopened(t, WithScopes("s"), WithHandler(l.handler()))
		defer b.Close()
		writes := 0
		b.store = &watchedStore{store: b.store, before: func() {
			writes++
			require.Zero(t, l.count(), "in the midst of Connect")
		}}
		require.NoError(t, b.open(t.Context(), false))
		require.Equal(t, 2, l.count(), "itself, in both scopes")
		require.Equal(t, 2, writes)
		b.store.(*watchedStore).before = func() {}
		_, err := b.Join(t.Context(), "later")
		require.NoError(t, err)
		require.Equal(t, 3, l.count())
	})
}

// watchedStore calls a function before each record that is written.
type watchedStore struct {
	store
	before func()
}

func (s *watchedStore) put(ctx context.Context, scope string, c change, replaces uint64) (uint64, error) {
	s.before()
	return s.store.put(ctx, scope, c, replaces)
}

// Also those of scopes that nobody named, each once.
func TestHandlersStartForAllScopes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		f.bus(t, "b", WithScopes("s", "t"))
		l := &handlerLog{heard: map[string][]string{}}
		f.bus(t, "o", WithObserver(), WithAllScopes(), WithHandler(l.handler()))
		require.Equal(t, 3, l.count())
		require.Len(t, l.heard, 3)
		f.bus(t, "c", WithScopes("later"))
		require.Equal(t, 5, l.count(), "there and in the default scope")
	})
}

func TestHandlersOfABusThatDoesNotStartHearNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &handlerLog{heard: map[string][]string{}}
		f := newFakeBucket()
		b := f.unopened(t, WithScopes("s"), WithHandler(l.handler()))
		writes := 0
		b.store = &watchedStore{store: b.store, before: func() {
			if writes++; writes == 2 { // the first scope is joined
				f.stop()
			}
		}}
		require.Error(t, b.open(t.Context(), false))
		require.Zero(t, l.count())
	})
}

func TestAHandlerMayEndItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		var mu sync.Mutex
		var log bytes.Buffer
		var got []string
		b := f.bus(t, "a", WithLogger(slog.New(slog.NewTextHandler(&log, nil))), WithHandler(Handler{OnRoleAdded: func(ev Event) {
			mu.Lock()
			got = append(got, string(ev.Role))
			mu.Unlock()
			switch ev.Role {
			case "panics":
				panic("of the user's code")
			case "exits":
				runtime.Goexit() // as a check that fails does
			}
		}}))
		for _, role := range []Role{"exits", "panics", "works"} {
			require.NoError(t, b.AddRoles(t.Context(), role))
			synctest.Wait()
		}
		require.Equal(t, []string{"exits", "panics", "works"}, got)
		require.NoError(t, b.Close(), "it waits for the last of them, which has ended")
		require.Contains(t, log.String(), `msg="a handler panicked" event=RoleAdded scope=default node=a panic=runtime.Goexit stack=`)
		require.Contains(t, log.String(), `panic="of the user's code" stack=`)
		require.Contains(t, log.String(), "handler_test.go")
	})
}

func TestCloseWaitsForAHandlerThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		done := false
		b := newFakeBucket().bus(t, "a", WithRoles("x"), WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))), WithHandler(Handler{
			OnNodeJoined: func(Event) { runtime.Goexit() },
			OnRoleAdded: func(Event) {
				<-release
				done = true
				runtime.Goexit()
			},
		}))
		synctest.Wait()
		go func() {
			synctest.Wait()
			close(release)
		}()
		require.NoError(t, b.Close())
		require.True(t, done)
	})
}

// Not in a bubble: a pipe is read.
func TestAPanicIsNeverSilent(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	stderr := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = stderr }()
	for _, log := range []*slog.Logger{
		slog.New(slog.DiscardHandler),
		slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1})),
	} {
		b := &Bus{opts: &options{log: log, handler: &Handler{OnNodeLeft: func(Event) { panic("of the user's code") }}}}
		b.call(Event{Kind: NodeLeft, Scope: "s", Node: &Node{name: "n"}})
	}
	require.NoError(t, w.Close())
	said, err := io.ReadAll(r)
	require.NoError(t, err)
	lines := bytes.Split(said, []byte("\n"))
	heads := slices.DeleteFunc(slices.Clone(lines), func(line []byte) bool { return !bytes.HasPrefix(line, []byte("rolebus: ")) })
	require.Equal(t, 2, len(heads))
	require.Equal(t, "rolebus: a handler panicked: of the user's code [event NodeLeft scope s node n]", string(heads[0]))
	require.Contains(t, string(said), "handler_test.go")
}

// Nothing is kept of the stays that end while a handler is at an event of an earlier one.
func TestABlockedHandlerKeepsNothingOfLaterStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []string
		inside, release := 0, make(chan struct{})
		a := newFakeBucket().bus(t, "a", WithHandler(Handler{OnNodeJoined: func(ev Event) {
			if ev.Scope != "s" {
				return
			}
			mu.Lock()
			got = append(got, ev.Scope)
			inside++
			if inside > 1 {
				t.Error("two at a time")
			}
			mu.Unlock()
			<-release
			mu.Lock()
			inside--
			mu.Unlock()
		}}))
		for i := range 100 {
			_, err := a.Join(t.Context(), "s")
			require.NoError(t, err)
			if i%2 == 0 {
				synctest.Wait()
			}
			require.NoError(t, a.Leave(t.Context(), "s"))
		}
		synctest.Wait()
		_, err := a.Join(t.Context(), "s")
		require.NoError(t, err)
		synctest.Wait()
		a.Bus.mu.Lock()
		handlers := len(a.handlers)
		a.Bus.mu.Unlock()
		require.Equal(t, 3, handlers, "of the default scope, the one that is blocked, and the one that waits for it")
		require.Len(t, got, 1)
		close(release)
		synctest.Wait()
		require.Len(t, got, 2, "the newest stay has its events")
	})
}
