package rolebus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

func TestLeaveTakesTheRolesThenTheWorkThenTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("other"), WithScopes("s")), f.bus(t, "b", WithScopes("s"))
		s := a.In("s")
		require.NoError(t, s.AddRoles(t.Context(), "x"))
		there := watchLog(t.Context(), b.In("s"))
		there.take()
		called, release := make(chan context.Context), make(chan struct{})
		for range 2 {
			s.OnLeave(func(ctx context.Context) {
				called <- ctx
				<-release
			})
		}
		a.OnLeave(func(context.Context) { t.Error("it is another scope's") })
		for round := range 2 {
			from := time.Now()
			done := make(chan error, 1)
			go func() { done <- a.Leave(context.Background(), "s") }()
			require.Equal(t, []string{"RoleRemoved a x"}, there.take())
			ctx := <-called
			<-called // at the same time
			require.Equal(t, settling, time.Since(from))
			require.NoError(t, ctx.Err())

			lease := s.LeaseContext()
			require.NoError(t, lease.Err(), "it is there")
			for _, err := range []error{s.AddRoles(t.Context(), "y"), s.SetRoles(t.Context(), "y"), s.ChangeRoles(t.Context(), []Role{"y"}, nil)} {
				require.ErrorIs(t, err, ErrNotJoined)
				require.ErrorContains(t, err, "it is being left")
			}
			require.NoError(t, s.RemoveRoles(t.Context(), "x"))
			require.NoError(t, a.AddRoles(t.Context(), Role(rune('0'+round))), "the other scope is as it was")
			require.Equal(t, 1+round+1, a.MyRoles().Len())
			require.NoError(t, b.In("s").AddRoles(t.Context(), "mine"))
			there.take()
			require.Len(t, s.Nodes("mine").Slice(), 1, "it sees what happens")
			second := make(chan error, 1)
			go func() { second <- a.Leave(context.Background(), "s") }()
			synctest.Wait()
			joined := make(chan error, 1)
			go func() {
				_, err := a.Join(context.Background(), "s")
				joined <- err
			}()
			time.Sleep(time.Hour)
			require.Empty(t, there.take(), "the node stays")
			require.Empty(t, joined)
			require.NoError(t, b.In("s").RemoveRoles(t.Context(), "mine"))
			there.take()

			release <- struct{}{}
			synctest.Wait()
			require.Empty(t, done, "both are waited for")
			release <- struct{}{}
			require.NoError(t, <-done)
			require.ErrorIs(t, <-second, ErrNotJoined)
			require.ErrorIs(t, context.Cause(lease), ErrNotJoined)
			require.NoError(t, <-joined)
			require.Equal(t, []string{"NodeLeft a left", "NodeJoined a"}, there.take())
			require.NoError(t, s.AddRoles(t.Context(), "x"), "in another life")
			there.take()
		}
	})
}

func TestLeaveWithoutFunctionsIsOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		stop := a.OnLeave(func(context.Context) { t.Error("it was taken back") })
		require.True(t, stop())
		require.False(t, stop())
		there := watchLog(t.Context(), b.Scope)
		there.take()
		from, seq := time.Now(), f.seq
		require.NoError(t, a.Leave(t.Context(), "default"))
		require.Zero(t, time.Since(from))
		require.Equal(t, seq+1, f.seq)
		require.Equal(t, []string{"RoleRemoved a x left", "NodeLeft a left"}, there.take())
	})
}

func TestLeaveOfAnObserverNeedNotSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newFakeBucket().bus(t, "o", WithObserver())
		called := 0
		o.OnLeave(func(context.Context) { called++ })
		from := time.Now()
		require.NoError(t, o.Leave(t.Context(), "default"))
		require.Zero(t, time.Since(from), "nobody picks an observer")
		require.Equal(t, 1, called)
	})
}

func TestAFunctionOfOnLeaveIsCalledEachTimeUntilItIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newFakeBucket().bus(t, "a")
		s := a.In("s")
		calls, late := 0, 0
		var lateStop func() bool
		stop := s.OnLeave(func(context.Context) {
			if calls++; calls == 1 {
				lateStop = s.OnLeave(func(context.Context) {
					time.Sleep(time.Second)
					late++
				})
			}
		})
		for round := range 3 {
			_, err := a.Join(t.Context(), "s")
			require.NoError(t, err)
			require.NoError(t, a.Leave(t.Context(), "s"))
			require.Equal(t, []int{round + 1, round + 1}, []int{calls, late}, "who comes late is called at once, and waited for")
		}
		_, err := a.Join(t.Context(), "s")
		require.NoError(t, err)
		require.True(t, stop(), "nobody leaves now")
		require.NoError(t, a.Leave(t.Context(), "s"))
		require.Equal(t, []int{3, 4}, []int{calls, late})
		_, err = a.Join(t.Context(), "s")
		require.NoError(t, err)
		s.OnLeave(func(context.Context) {
			if lateStop() {
				t.Error("it is called just now")
			}
		})
		require.NoError(t, a.Leave(t.Context(), "s"))
		require.Equal(t, []int{3, 5}, []int{calls, late})
		_, err = a.Join(t.Context(), "s")
		require.NoError(t, err)
		require.NoError(t, a.Close())
		require.Equal(t, []int{3, 5}, []int{calls, late}, "Close calls none")
	})
}

func TestAFunctionOfOnLeaveThatFailsIsToldAndStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		a := newFakeBucket().bus(t, "a", WithLogger(slog.New(slog.NewTextHandler(&logged, nil))), WithScopes("s"))
		s := a.In("s")
		s.OnLeave(func(context.Context) { panic("of the user's code") })
		s.OnLeave(func(context.Context) { runtime.Goexit() })
		other := false
		s.OnLeave(func(context.Context) {
			time.Sleep(time.Minute)
			other = true
		})
		err := a.Leave(t.Context(), "s")
		require.ErrorContains(t, err, `rolebus: leave in scope "s": a function of OnLeave panicked: of the user's code`)
		require.ErrorContains(t, err, "a function of OnLeave ended its goroutine")
		require.True(t, other)
		require.Contains(t, logged.String(), "of the user's code")
		require.Contains(t, logged.String(), "runtime.Goexit")
		require.Contains(t, logged.String(), "scope=s node=a")
		require.NotContains(t, a.Scopes(), "s")
	})
}

// What a Leave takes when nothing answers, and the functions take whatever they get.
func TestLeaveKeepsToItsTime(t *testing.T) {
	for name, tc := range map[string]struct {
		patience time.Duration // of the ctx; 0 for ever, until it is cancelled after an hour
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
		"cancelled": {
			called: settling, over: time.Hour, want: time.Hour,
		},
		"a stubborn function": {
			patience: 30 * time.Second, stubborn: true, called: settling, over: 29 * time.Second, want: 29*time.Second + userTime,
			errs: []error{context.DeadlineExceeded},
		},
		"no answer": {
			patience: 6 * time.Second, outage: func(b *fakeBus) { b.link.hush() }, called: 2*time.Second + settling,
			over: 5400 * time.Millisecond, want: 6*time.Second + lastWord, errs: []error{ErrNotConfirmed, context.DeadlineExceeded},
		},
		"no answer, and much time": {
			patience: time.Minute, outage: func(b *fakeBus) { b.link.hush() }, called: 5*time.Second + settling,
			over: 59 * time.Second, want: time.Minute + lastWord, errs: []error{ErrNotConfirmed, context.DeadlineExceeded},
		},
		"no answer, and cancelled": {
			outage: func(b *fakeBus) { b.link.hush() }, called: 5*time.Second + settling,
			over: time.Hour, want: time.Hour + lastWord, errs: []error{ErrNotConfirmed, context.DeadlineExceeded},
		},
		"no contact": {
			patience: 6 * time.Second, outage: func(b *fakeBus) { b.link.refuse(nats.ErrDisconnected) }, called: 2*time.Second + settling,
			over: 5400 * time.Millisecond, want: 6 * time.Second, errs: []error{ErrNotConfirmed, nats.ErrDisconnected},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
				if tc.outage != nil {
					tc.outage(a)
				}
				ctx, cancel := context.WithCancel(context.Background())
				if tc.patience > 0 {
					ctx, cancel = context.WithTimeout(context.Background(), tc.patience)
				} else {
					time.AfterFunc(time.Hour, cancel)
				}
				defer cancel()
				from, release := time.Now(), make(chan struct{})
				a.OnLeave(func(ctx context.Context) {
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
				err := a.Leave(ctx, "default")
				took := time.Since(from)
				if tc.outage != nil {
					require.InDelta(t, tc.want, took, float64(lastWord))
				} else {
					require.Equal(t, tc.want, took)
				}
				for _, want := range tc.errs {
					require.ErrorIs(t, err, want)
				}
				if len(tc.errs) == 0 {
					require.NoError(t, err)
				}
				if tc.stubborn {
					require.ErrorContains(t, err, "functions of OnLeave that are still running: 1")
				}
				require.Empty(t, a.Scopes(), "it is left all the same")
				synctest.Wait()
				if tc.outage == nil {
					require.Nil(t, b.Snapshot().Node("a"))
				}
				f.start()
				close(release)
			})
		})
	}
}

func TestALeaveThatHasNoTimeDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newFakeBucket().bus(t, "a", WithRoles("x"))
		a.OnLeave(func(context.Context) { t.Error("called") })
		require.ErrorIs(t, a.Leave(over(context.Canceled), "default"), context.Canceled)
		require.Equal(t, 1, a.MyRoles().Len())
	})
}

func TestShutdownCallsTheFunctionsOfTheScopesThatAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x"), WithScopes("s", "left"), WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))), f.bus(t, "b")
		from := time.Now()
		calls := make(chan string, 9)
		call := func(of string) func(context.Context) {
			return func(context.Context) {
				calls <- of
				if of == "panics" {
					panic("of the user's code")
				}
				time.Sleep(time.Minute)
			}
		}
		a.OnShutdown(call("bus"))
		a.OnLeave(call("default"))
		a.In("s").OnLeave(call("s"))
		a.In("s").OnLeave(call("panics"))
		a.In("never joined").OnLeave(call("never joined"))
		require.NoError(t, a.Leave(t.Context(), "left"))
		a.In("left").OnLeave(call("left"))
		there := watchLog(t.Context(), b.Scope)
		there.take()
		ended := make(chan error, 1)
		go func() { ended <- a.Shutdown(t.Context()) }()
		require.Equal(t, []string{"RoleRemoved a x"}, there.take())
		var called []string
		for range 4 {
			called = append(called, <-calls)
		}
		require.ElementsMatch(t, []string{"bus", "default", "s", "panics"}, called)
		require.Equal(t, settling, time.Since(from), "at the same time")
		err := <-ended
		require.ErrorContains(t, err, `leave in scope "s": a function of OnLeave panicked`)
		require.Equal(t, settling+time.Minute, time.Since(from))
		require.Equal(t, []string{"NodeLeft a left"}, there.take())
		require.Empty(t, calls)
		over := make(chan error, 1)
		a.OnLeave(func(ctx context.Context) { over <- ctx.Err() })
		require.Error(t, <-over, "called, and told that it has no time")
	})
}

func TestShutdownOfABusThatHasStoppedLetsTheWorkOfItsScopesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("x"), WithScopes("left"))
		called := 0
		a.OnLeave(func(context.Context) { called++ })
		require.NoError(t, a.Leave(t.Context(), "left"))
		a.In("left").OnLeave(func(context.Context) { t.Error("it was left before") })
		f.bus(t, "a")
		<-a.Done()
		require.Zero(t, called)
		from := time.Now()
		require.NoError(t, a.Shutdown(t.Context()))
		require.Equal(t, 1, called)
		require.Zero(t, time.Since(from))
		require.ErrorIs(t, a.Leave(t.Context(), "default"), ErrClosed)
		require.Equal(t, 1, called)
	})
}

// Leave and what ends the Bus at the same time: each function is called once, both wait for it, and whoever has the least patience
// decides for both.
func TestLeaveWhileTheBusIsEnded(t *testing.T) {
	impatient := func(d time.Duration) context.Context {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		context.AfterFunc(ctx, cancel)
		return ctx
	}
	for name, tc := range map[string]struct {
		first, second func(a *Bus) error
		over          time.Duration // the function's context, since the second began; 0 if it ends before
		errs          []error       // of either
	}{
		"Leave, then Shutdown": {
			first:  func(a *Bus) error { return a.Leave(context.Background(), "s") },
			second: func(a *Bus) error { return a.Shutdown(context.Background()) },
		},
		"Shutdown, then Leave": {
			first:  func(a *Bus) error { return a.Shutdown(context.Background()) },
			second: func(a *Bus) error { return a.Leave(context.Background(), "s") },
		},
		"Leave, then an impatient Shutdown": {
			first:  func(a *Bus) error { return a.Leave(context.Background(), "s") },
			second: func(a *Bus) error { return a.Shutdown(impatient(10 * time.Second)) },
			over:   10 * time.Second,
		},
		"Shutdown, then an impatient Leave": {
			first:  func(a *Bus) error { return a.Shutdown(context.Background()) },
			second: func(a *Bus) error { return a.Leave(impatient(10*time.Second), "s") },
			over:   10 * time.Second,
		},
		"Leave, then Close": {
			first:  func(a *Bus) error { return a.Leave(context.Background(), "s") },
			second: func(a *Bus) error { return a.Close() },
			over:   time.Nanosecond,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a, b := f.bus(t, "a", WithScopes("s")), f.bus(t, "b", WithScopes("s"))
				require.NoError(t, a.In("s").AddRoles(t.Context(), "x"))
				calls, release := 0, make(chan struct{})
				var second time.Time
				ended := make(chan time.Duration, 1)
				a.In("s").OnLeave(func(ctx context.Context) {
					calls++
					select {
					case <-ctx.Done():
						ended <- time.Since(second)
					case <-release:
					}
				})
				errs := make(chan error, 2)
				go func() { errs <- tc.first(a.Bus) }()
				time.Sleep(time.Minute)
				second = time.Now()
				go func() { errs <- tc.second(a.Bus) }()
				synctest.Wait()
				if tc.over == 0 {
					time.Sleep(time.Hour)
					synctest.Wait()
					require.Empty(t, errs, "both wait")
					close(release)
				}
				require.NoError(t, <-errs)
				require.NoError(t, <-errs)
				if tc.over > 0 {
					require.InDelta(t, tc.over, <-ended, float64(time.Nanosecond))
				}
				require.Equal(t, 1, calls)
				synctest.Wait()
				require.Nil(t, b.In("s").Snapshot().Node("a"))
				require.ErrorIs(t, a.Close(), nil)
			})
		})
	}
}

// What ends the Bus need not wait for the work of a scope: it may leave that scope first.
func TestAFunctionOfOnShutdownMayLeaveAScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newFakeBucket().bus(t, "a", WithScopes("s"))
		calls := 0
		a.In("s").OnLeave(func(context.Context) {
			calls++
			time.Sleep(time.Second)
		})
		a.OnShutdown(func(ctx context.Context) {
			if err := a.Leave(ctx, "s"); err != nil {
				t.Error(err)
			}
		})
		from := time.Now()
		require.NoError(t, a.Shutdown(context.Background()))
		require.Equal(t, 1, calls)
		require.Equal(t, settling+time.Second, time.Since(from))
	})
}

func TestNoRoleIsLeftByACallThatRacesWithLeave(t *testing.T) {
	for range 30 {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeBucket()
			a := f.bus(t, "a", WithRoles("x"))
			a.OnLeave(func(context.Context) {
				f.mu.Lock()
				defer f.mu.Unlock()
				for key, r := range f.records {
					if len(r.c.roles) > 0 {
						t.Errorf("%v has roles %v", key, r.c.roles)
					}
				}
			})
			var calls sync.WaitGroup
			for i := range 4 {
				calls.Go(func() {
					for {
						err := a.AddRoles(context.Background(), Role(rune('a'+i)))
						if errors.Is(err, ErrNotJoined) {
							return
						}
						if err != nil {
							t.Errorf("add: %v", err)
							return
						}
						_ = a.RemoveRoles(context.Background(), Role(rune('a'+i))) // it may be left by now
					}
				})
			}
			require.NoError(t, a.Leave(context.Background(), "default"))
			calls.Wait()
		})
	}
}

func TestAnObserverThatLeavesAScopeByItselfCallsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, o := f.bus(t, "a"), f.bus(t, "o", WithObserver(), WithAllScopes())
		o.In("s").OnLeave(func(context.Context) { t.Error("called") })
		require.NoError(t, a.In("s").AddRoles(t.Context(), "x"))
		synctest.Wait()
		require.Contains(t, o.Scopes(), "s")
		require.NoError(t, a.Leave(t.Context(), "s"))
		time.Sleep(time.Minute)
		require.NotContains(t, o.Scopes(), "s")
	})
}
