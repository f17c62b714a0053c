package rolebus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

func TestShutdownTakesTheRolesThenTheWorkThenTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("x"), WithScopes("s"))
		require.NoError(t, a.In("s").AddRoles(t.Context(), "y"))
		b := f.bus(t, "b", WithScopes("s"))
		here, there := watchLog(t.Context(), b.Scope), watchLog(t.Context(), b.In("s"))
		here.take()
		there.take()
		from := time.Now()
		called, release := make(chan context.Context), make(chan struct{})
		for range 2 {
			a.OnShutdown(func(ctx context.Context) {
				called <- ctx
				<-release
			})
		}
		done := make(chan error, 1)
		go func() { done <- a.Shutdown(context.Background()) }()
		require.Equal(t, []string{"RoleRemoved a x"}, here.take())
		require.Equal(t, []string{"RoleRemoved a y"}, there.take(), "in all scopes at once")

		require.NoError(t, a.Err(), "it runs")
		require.NoError(t, a.LeaseContext().Err())
		require.ErrorIs(t, a.AddRoles(t.Context(), "z"), ErrClosed)
		require.ErrorIs(t, a.SetRoles(t.Context(), "z"), ErrClosed)
		_, err := a.Join(t.Context(), "new")
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, a.In("new").AddRoles(t.Context(), "z"), ErrClosed)
		require.ErrorContains(t, err, "shutting down")
		require.NoError(t, a.RemoveRoles(t.Context(), "x"))
		require.NoError(t, a.SetRoles(t.Context()))
		require.ErrorIs(t, a.Check(), ErrClosed)
		require.NoError(t, b.AddRoles(t.Context(), "mine"))
		here.take()
		require.Len(t, a.Nodes("mine").Slice(), 1, "it sees what happens")

		ctx := <-called
		<-called // at the same time
		require.Equal(t, settling, time.Since(from))
		require.NoError(t, ctx.Err())
		time.Sleep(time.Hour)
		require.Empty(t, here.take(), "the node stays")
		close(release)
		require.NoError(t, <-done)
		require.Equal(t, []string{"NodeLeft a left"}, here.take())
		require.Equal(t, []string{"NodeLeft a left"}, there.take())
		require.ErrorIs(t, a.Err(), ErrClosed)
		require.NoError(t, a.Shutdown(t.Context()), "again")
		require.NoError(t, a.Close())
	})
}

func TestShutdownWithoutFunctionsIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		f.bus(t, "b")
		for _, opts := range [][]Option{{WithRoles("x")}, {WithObserver()}} {
			a := f.bus(t, "a", opts...)
			if len(a.MyRoles().Slice()) == 0 {
				a.OnShutdown(func(context.Context) {}) // nobody picks an observer
			} else {
				require.True(t, a.OnShutdown(func(context.Context) { t.Error("it was taken back") })())
			}
			from := time.Now()
			require.NoError(t, a.Shutdown(t.Context()))
			require.Zero(t, time.Since(from))
		}
	})
}

func TestAFunctionOfOnShutdownIsCalledOnceAndCanBeTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newFakeBucket().bus(t, "a")
		calls, late := 0, 0
		stop := a.OnShutdown(func(context.Context) {
			calls++
			lateStop := a.OnShutdown(func(context.Context) {
				time.Sleep(time.Second)
				late++
			})
			require.False(t, lateStop(), "called at once")
		})
		back := a.OnShutdown(func(context.Context) { t.Error("it was taken back") })
		require.True(t, back())
		require.False(t, back())
		require.NoError(t, a.Shutdown(t.Context()))
		require.Equal(t, []int{1, 1}, []int{calls, late}, "who comes late is waited for, too")
		require.False(t, stop())
		require.NoError(t, a.Shutdown(t.Context()))
		require.Equal(t, 1, calls)
		over := make(chan context.Context, 1)
		a.OnShutdown(func(ctx context.Context) { over <- ctx })
		require.Error(t, (<-over).Err(), "called, and told that it has no time")
	})
}

func TestAFunctionOfOnShutdownThatFailsIsToldAndStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		a := newFakeBucket().bus(t, "a", WithLogger(slog.New(slog.NewTextHandler(&logged, nil))))
		a.OnShutdown(func(context.Context) { panic("of the user's code") })
		a.OnShutdown(func(context.Context) { runtime.Goexit() })
		other := false
		a.OnShutdown(func(context.Context) {
			time.Sleep(time.Minute)
			other = true
		})
		err := a.Shutdown(t.Context())
		require.ErrorContains(t, err, "panicked: of the user's code")
		require.ErrorContains(t, err, "ended its goroutine")
		require.True(t, other)
		require.Contains(t, logged.String(), "of the user's code")
		require.Contains(t, logged.String(), "runtime.Goexit")
		require.ErrorIs(t, a.Err(), ErrClosed)
	})
}

// What a Shutdown takes when nothing answers, and the functions take whatever they get.
func TestShutdownKeepsToItsTime(t *testing.T) {
	for name, tc := range map[string]struct {
		patience time.Duration // of the ctx; 0 for one that is over
		outage   func(*fakeBus)
		stubborn bool          // the function does not mind that its context is over
		called   time.Duration // since the beginning
		over     time.Duration // the function's context
		want     time.Duration
		errs     []error
	}{
		"all is well": {
			patience: 30 * time.Second, called: settling, over: 29 * time.Second, want: 29 * time.Second,
		},
		"all is well, and there is little time": {
			patience: time.Second, called: 100 * time.Millisecond, over: 900 * time.Millisecond, want: 900 * time.Millisecond,
		},
		"a stubborn function": {
			patience: 30 * time.Second, stubborn: true, called: settling, over: 29 * time.Second, want: 29*time.Second + userTime,
			errs: []error{context.DeadlineExceeded},
		},
		"no answer": {
			patience: 6 * time.Second, outage: func(b *fakeBus) { b.link.hush() }, called: 2*time.Second + settling,
			over: 5400 * time.Millisecond, want: 6 * time.Second, errs: []error{ErrNotConfirmed, context.DeadlineExceeded},
		},
		"no answer, and much time": {
			patience: time.Minute, outage: func(b *fakeBus) { b.link.hush() }, called: 5*time.Second + settling,
			over: 59 * time.Second, want: time.Minute, errs: []error{ErrNotConfirmed, context.DeadlineExceeded},
		},
		"no contact": {
			patience: 6 * time.Second, outage: func(b *fakeBus) { b.link.refuse(nats.ErrDisconnected) }, called: 2*time.Second + settling,
			over: 5400 * time.Millisecond, want: 6 * time.Second, errs: []error{ErrNotConfirmed, nats.ErrDisconnected},
		},
		"no time": {},
		"no time, and a stubborn function": {
			stubborn: true, want: userTime, errs: []error{context.Canceled},
		},
		"no time and no contact": {
			outage: func(b *fakeBus) { b.link.refuse(nats.ErrDisconnected) }, errs: []error{ErrNotConfirmed, nats.ErrDisconnected},
		},
		"no time and no answer": {
			outage: func(b *fakeBus) { b.link.hush() }, want: lastWord, errs: []error{ErrNotConfirmed},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
				if tc.outage != nil {
					tc.outage(a)
				}
				ctx, cancel := context.WithTimeout(context.Background(), tc.patience)
				if tc.patience == 0 {
					ctx, cancel = context.WithCancel(context.Background())
					cancel()
				}
				defer cancel()
				from, release := time.Now(), make(chan struct{})
				a.OnShutdown(func(ctx context.Context) {
					if called := time.Since(from); called != tc.called {
						t.Errorf("called after %v", called)
					}
					<-ctx.Done()
					if over := time.Since(from); over != tc.over {
						t.Errorf("over after %v", over)
					}
					if tc.stubborn {
						<-release
					}
				})
				err := a.Shutdown(ctx)
				took := time.Since(from)
				if tc.patience > 0 && tc.want == tc.patience {
					require.InDelta(t, tc.patience, took, float64(lastWord+userTime))
				} else {
					require.Equal(t, tc.want, took)
				}
				for _, want := range tc.errs {
					require.ErrorIs(t, err, want)
				}
				if len(tc.errs) == 0 {
					require.NoError(t, err)
				}
				synctest.Wait()
				if tc.outage == nil {
					require.Empty(t, b.Nodes("x").Slice())
				}
				f.start()
				close(release)
			})
		})
	}
}

func TestWhoeverHasTheLeastPatienceEndsIt(t *testing.T) {
	for name, end := range map[string]func(b *Bus) error{
		"Close":            func(b *Bus) error { return b.Close() },
		"another Shutdown": func(b *Bus) error { return b.Shutdown(over(context.Canceled)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a := f.bus(t, "a", WithRoles("x"))
				f.bus(t, "b")
				told := make(chan error, 1)
				a.OnShutdown(func(ctx context.Context) {
					<-ctx.Done()
					told <- context.Cause(ctx)
				})
				ended := make(chan error, 2)
				for range 2 {
					go func() { ended <- a.Shutdown(context.Background()) }()
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Empty(t, ended)
				from := time.Now()
				require.NoError(t, end(a.Bus))
				require.Error(t, <-told)
				require.NoError(t, <-ended)
				require.NoError(t, <-ended)
				require.Zero(t, time.Since(from))
			})
		})
	}
}

func TestShutdownDuringAClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a")
		f.hush()
		closed := make(chan error, 1)
		go func() { closed <- a.Close() }()
		synctest.Wait()
		called := false
		a.OnShutdown(func(context.Context) { called = true })
		from := time.Now()
		err := a.Shutdown(over(context.Canceled))
		require.ErrorIs(t, err, ErrNotConfirmed)
		require.Equal(t, lastWord, time.Since(from), "with no patience for the goodbye")
		require.Equal(t, <-closed, a.Close())
		require.True(t, called)
		f.start()
	})
}

func TestShutdownOfABusThatHasStoppedLetsTheWorkEnd(t *testing.T) {
	for name, stop := range map[string]func(t *testing.T, f *fakeBucket, a *fakeBus){
		"superseded": func(t *testing.T, f *fakeBucket, a *fakeBus) {
			f.bus(t, "a")
			<-a.Done()
		},
		"closed": func(t *testing.T, _ *fakeBucket, a *fakeBus) { require.NoError(t, a.Close()) },
		"no connection any more": func(_ *testing.T, _ *fakeBucket, a *fakeBus) {
			a.link.refuse(nats.ErrConnectionClosed)
			a.cancel(failed("the bus stops", nats.ErrConnectionClosed))
			<-a.Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a := f.bus(t, "a", WithRoles("x"))
				called := false
				a.OnShutdown(func(context.Context) { called = true })
				stop(t, f, a)
				why := a.Err()
				from := time.Now()
				require.Equal(t, a.Close(), a.Shutdown(t.Context()))
				require.True(t, called)
				require.Zero(t, time.Since(from))
				require.Equal(t, why, a.Err(), "that is not changed by it")
			})
		})
	}
}

// A join that is under way ends, also if its bucket does not answer, and none begins.
func TestShutdownEndsJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a")
		a.link.slowDown(time.Minute)
		joined := make(chan error, 2)
		go func() { joined <- a.In("s").AddRoles(context.Background(), "x") }()
		go func() {
			_, err := a.Join(context.Background(), "s")
			joined <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- a.Shutdown(ctx) }()
		for range 2 {
			err := <-joined
			require.ErrorIs(t, err, ErrClosed)
		}
		a.link.slowDown(0)
		require.NoError(t, <-ended)
		require.Equal(t, 1, len(f.records), "nothing was written for it")
	})
}

func TestNoRoleIsLeftByACallThatRacesWithShutdown(t *testing.T) {
	for range 30 {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeBucket()
			a := f.bus(t, "a", WithRoles("x"))
			a.OnShutdown(func(context.Context) {
				f.mu.Lock()
				defer f.mu.Unlock()
				for key, r := range f.records {
					if len(r.c.roles) > 0 {
						t.Errorf("%v has roles %v", key, r.c.roles)
					}
				}
			})
			var calls sync.WaitGroup
			for i, scope := range []string{"default", "default", "s", "s"} {
				calls.Go(func() {
					for {
						err := a.In(scope).AddRoles(context.Background(), Role(rune('a'+i)))
						if errors.Is(err, ErrClosed) {
							return
						}
						if err != nil {
							t.Errorf("add: %v", err)
							return
						}
						_ = a.In(scope).RemoveRoles(context.Background(), Role(rune('a'+i))) // it may be closed by now
					}
				})
			}
			require.NoError(t, a.Shutdown(context.Background()))
			calls.Wait()
		})
	}
}

// Whatever else is under way has no more time than who ends the Bus: a Leave that nobody answers, and code of the user's that does
// not return.
func TestShutdownIsNotHeldUpByWhatIsUnderWay(t *testing.T) {
	const most = userTime + lastWord + userTime // for functions, goodbyes and handlers
	require.LessOrEqual(t, most, 500*time.Millisecond, "as documented")
	for _, patience := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeBucket()
			release := make(chan struct{})
			defer close(release)
			defer f.start()
			a := f.bus(t, "a", WithScopes("s"), WithHandler(Handler{OnNodeJoined: func(Event) { <-release }}))
			a.OnShutdown(func(context.Context) { <-release })
			f.hush()
			left := make(chan error, 1)
			go func() { left <- a.Leave(context.Background(), "s") }()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			from := time.Now()
			err := a.Shutdown(ctx)
			require.LessOrEqual(t, time.Since(from), patience+most)
			require.ErrorIs(t, <-left, ErrNotConfirmed)
			if patience > 0 {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorContains(t, err, `shut down in scope "s": not confirmed`)
			}
		})
	}
}
