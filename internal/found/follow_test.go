package found

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// followed is a Follow that runs in a bubble.
type followed struct {
	cancel context.CancelFunc
	done   chan error

	mu    sync.Mutex
	lists []string
	errs  []string
	log   bytes.Buffer
	calls []time.Duration
}

type discoverFunc func(ctx context.Context, call int, found func(text string, err error)) error

// follow follows a strategy that tells texts, each letter an address; "?" is one that cannot be used.
func follow(t *testing.T, discover discoverFunc) *followed {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &followed{cancel: cancel, done: make(chan error, 1)}
	t.Cleanup(cancel)
	began := time.Now()
	go func() {
		f.done <- Following[rune]{
			Name: "test",
			Discover: func(ctx context.Context, found func([]rune, error)) error {
				f.mu.Lock()
				f.calls = append(f.calls, time.Since(began))
				call := len(f.calls)
				f.mu.Unlock()
				return discover(ctx, call, func(text string, err error) { found([]rune(text), err) })
			},
			Check: func(r rune) error {
				if r == '?' || r == '!' {
					return fmt.Errorf("%c cannot be used", r)
				}
				return nil
			},
			Changed: func(list []rune) { f.note(&f.lists, string(list)) },
			Failed:  func(err error) { f.note(&f.errs, err.Error()) },
			Log:     slog.New(slog.NewTextHandler(&f.log, nil)),
		}.Follow(ctx)
	}()
	return f
}

func (f *followed) note(to *[]string, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*to = append(*to, text)
}

func (f *followed) end(t *testing.T) {
	t.Helper()
	f.cancel()
	require.NoError(t, <-f.done)
}

// bubble runs a test in one, with a strategy.
func bubble(t *testing.T, discover discoverFunc, test func(t *testing.T, f *followed)) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, discover)
		synctest.Wait()
		test(t, f)
	})
}

func waits(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func TestWhatIsToldIsKept(t *testing.T) {
	bubble(t, func(ctx context.Context, _ int, found func(string, error)) error {
		found("ab", nil)
		found("ba", nil)   // the same
		found("", nil)     // nothing
		found("", errHalf) // nothing
		found("ab", nil)   // well again: told once more
		found("ab", nil)
		found("c", errHalf)
		found("c", nil)
		return waits(ctx)
	}, func(t *testing.T, f *followed) {
		require.Equal(t, []string{"ab", "ab", "cab", "c"}, f.lists)
		require.Equal(t, []string{ErrEmpty.Error(), "half of it", "half of it"}, f.errs)
		f.end(t)
		require.Empty(t, f.log.String())
	})
}

func TestAddressesThatCannotBeUsedAreLeftOutAndToldOnce(t *testing.T) {
	bubble(t, func(ctx context.Context, _ int, found func(string, error)) error {
		found("a?b?", nil)
		found("?b", nil)
		found("?", nil)  // none can be used
		found("?!", nil) // nor here, and there is a new one
		found("c", nil)
		found("c?", nil) // it is back
		return waits(ctx)
	}, func(t *testing.T, f *followed) {
		require.Equal(t, []string{"ab", "b", "c"}, slices.Compact(f.lists))
		require.Equal(t, []string{
			"? cannot be used", "none of its 1 addresses can be used", "! cannot be used", "none of its 2 addresses can be used", "? cannot be used",
		}, f.errs)
		f.end(t)
	})
}

// However it ends, it is called again, less and less often; what stood stays.
func TestAStrategyThatFailsIsCalledAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func() error
		says string
	}{
		"an error":            {func() error { return errHalf }, "half of it"},
		"an error, no text":   {func() error { return errors.New("") }, "without a text"},
		"nil of a type":       {func() error { return (*wordless)(nil) }, "whose text panics"},
		"a panic":             {func() error { panic("oops") }, "panic: oops"},
		"Goexit":              {func() error { runtime.Goexit(); return nil }, "runtime.Goexit"},
		"the end of a parent": {func() error { return context.Canceled }, "canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(_ context.Context, call int, found func(string, error)) error {
				if call == 1 {
					found("ab", nil)
				}
				return tc.end()
			}, func(t *testing.T, f *followed) {
				time.Sleep(time.Hour)
				synctest.Wait()
				require.Equal(t, []string{"ab"}, f.lists)
				require.Len(t, f.errs, len(f.calls))
				for _, err := range f.errs {
					require.Contains(t, err, tc.says)
					require.Contains(t, err, "it ended, and is called again: ")
				}
				for i := range f.calls[1:] {
					pause, longest := f.calls[i+1]-f.calls[i], min(firstAgain<<min(i, 10), lastAgain)
					require.GreaterOrEqual(t, pause, longest/2, i)
					require.LessOrEqual(t, pause, longest, i)
				}
				require.InDelta(t, 80, len(f.calls), 12, "in an hour, at 30 to 60 s each")
				require.Equal(t, name == "a panic", bytes.Contains(f.log.Bytes(), []byte("a strategy of discovery panicked")), "a panic has a stack in the log")
				f.end(t)
			})
		})
	}
}

func TestAStrategyThatRanForLongIsCalledAgainSoon(t *testing.T) {
	bubble(t, func(ctx context.Context, call int, found func(string, error)) error {
		if call == 10 {
			time.Sleep(settled + time.Second)
		}
		return errHalf
	}, func(t *testing.T, f *followed) {
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Greater(t, f.calls[9]-f.calls[8], lastAgain/2)
		require.LessOrEqual(t, f.calls[10]-f.calls[9], settled+time.Second+firstAgain)
		f.end(t)
	})
}

func TestAStrategyThatReturnsNilIsNotCalledAgain(t *testing.T) {
	var late func(string, error)
	bubble(t, func(_ context.Context, _ int, found func(string, error)) error {
		found("ab", nil)
		late = found
		return nil
	}, func(t *testing.T, f *followed) {
		late("c", nil)
		late("", errHalf)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, []string{"ab"}, f.lists)
		require.Empty(t, f.errs)
		require.Len(t, f.calls, 1)
		f.end(t)
		late("c", nil)
		require.Equal(t, []string{"ab"}, f.lists)
	})
}

// An earlier call of Discover says nothing once a later one runs, nor does any after the end.
func TestWhoComesTooLateIsNotHeard(t *testing.T) {
	var told []func(string, error)
	bubble(t, func(ctx context.Context, call int, found func(string, error)) error {
		told = append(told, found)
		if call == 1 {
			return errHalf
		}
		found("ab", nil)
		return waits(ctx)
	}, func(t *testing.T, f *followed) {
		time.Sleep(firstAgain)
		synctest.Wait()
		require.Len(t, told, 2)
		told[0]("x", nil)
		told[1]("abc", nil)
		require.Equal(t, []string{"ab", "abc"}, f.lists)
		f.cancel()
		told[1]("y", nil) // although it may not have returned yet
		require.NoError(t, <-f.done)
		told[1]("z", nil)
		require.Equal(t, []string{"ab", "abc"}, f.lists)
	})
}

func TestAStrategyThatDoesNotEndIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		f := follow(t, func(_ context.Context, _ int, found func(string, error)) error {
			found("ab", nil)
			<-free
			found("c", nil)
			return nil
		})
		synctest.Wait()
		began := time.Now()
		f.cancel()
		err := <-f.done
		require.ErrorIs(t, err, ErrStuck)
		require.EqualError(t, err, "test: it does not end with its context")
		require.Equal(t, Patience, time.Since(began))
		require.Contains(t, f.log.String(), "level=ERROR")
		require.Contains(t, f.log.String(), "strategy=test")
		close(free)
		synctest.Wait()
		require.Equal(t, []string{"ab"}, f.lists)
	})
}

// Of strategies within each other it is the innermost one that does not end: those around it do, and say so.
func TestWhoDoesNotEndWithinOthersIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		var log bytes.Buffer
		quiet := slog.New(slog.DiscardHandler)
		nothing := func(string) func([]rune) { return func([]rune) {} }
		stuck := func(context.Context, func([]rune, error)) error { <-free; return nil }
		inner := func(ctx context.Context, _ func([]rune, error)) error {
			return Following[rune]{Name: "inner", Discover: stuck, Changed: nothing(""), Log: quiet}.Follow(ctx)
		}
		middle := func(ctx context.Context, _ func([]rune, error)) error {
			return fmt.Errorf("middle: %w", Following[rune]{Name: "inner", Discover: inner, Changed: nothing(""), Log: quiet}.Follow(ctx))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- Following[rune]{Name: "outer", Discover: middle, Changed: nothing(""), Log: slog.New(slog.NewTextHandler(&log, nil))}.Follow(ctx)
		}()
		synctest.Wait()
		began := time.Now()
		cancel()
		require.EqualError(t, <-done, "middle: inner: it does not end with its context")
		require.Less(t, time.Since(began), Patience)
		require.Contains(t, log.String(), "inner: it does not end")
		close(free)
	})
}

func TestAContextThatIsOverCallsNobody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, Following[rune]{Discover: func(context.Context, func([]rune, error)) error {
		t.Error("it was called")
		return nil
	}}.Follow(ctx))
}

// From many goroutines at once, with the race detector: one call of Changed and Failed at a time.
func TestManyTellAtOnce(t *testing.T) {
	inside := 0
	ctx, cancel := context.WithCancel(t.Context())
	busy := func() { inside++; runtime.Gosched(); inside-- }
	require.NoError(t, Following[int]{
		Name: "test", Check: func(int) error { return nil }, Log: slog.New(slog.DiscardHandler),
		Changed: func([]int) { busy() }, Failed: func(error) { busy() },
		Discover: func(ctx context.Context, found func([]int, error)) error {
			var all sync.WaitGroup
			for n := range 8 {
				all.Go(func() {
					for i := range 200 {
						found([]int{n, i}, nil)
						found(nil, errHalf)
					}
				})
			}
			all.Wait()
			cancel()
			return waits(ctx)
		},
	}.Follow(ctx))
	require.Zero(t, inside)
}
