package rolebus

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// setClock sets this machine's wall clock by so much.
func (b *fakeBus) setClock(by time.Duration) { b.set.Add(int64(by)) }

// sleepAll makes machines sleep: to them it is as if the rest of the world had gone on by so much in no time.
func (f *fakeBucket) sleepAll(d time.Duration, fleet ...*fakeBus) {
	for _, b := range fleet {
		b.setClock(d)
	}
	f.step(d)
}

func TestWhoHasSleptIsNotCertain(t *testing.T) {
	for _, by := range []time.Duration{fakeTTL / 10, fakeTTL, time.Hour, -time.Hour} {
		t.Run(fmt.Sprint(by), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newFakeBucket().bus(t, "a")
				ctx := a.LeaseContext()
				require.Equal(t, leaseSure, a.LeaseLeft())
				a.link.setCut(true) // the network is not up yet

				a.setClock(by)
				require.Zero(t, a.LeaseLeft(), "whoever asks first learns it")
				require.ErrorIs(t, context.Cause(ctx), ErrLeaseLost)
				require.ErrorContains(t, context.Cause(ctx), "slept")
				require.Error(t, a.LeaseContext().Err())
				time.Sleep(fakeTTL)
				require.Zero(t, a.LeaseLeft())
				require.NotZero(t, a.Snapshot().Stale())

				a.link.setCut(false)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				require.NotZero(t, a.LeaseLeft(), "a heartbeat got through")
				require.NoError(t, a.LeaseContext().Err())
				require.Zero(t, a.Snapshot().Stale())
			})
		})
	}
}

func TestWhoHasSleptLearnsItThoughNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newFakeBucket().bus(t, "a")
		ctx := a.LeaseContext()
		a.link.setCut(true)
		a.setClock(fakeTTL)
		time.Sleep(a.machine.nap)
		synctest.Wait()
		require.ErrorIs(t, context.Cause(ctx), ErrLeaseLost)
	})
}

// A wall clock that is only set costs one question: nobody else notices anything.
func TestAWallClockThatIsSetCostsOneHeartbeat(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeBucket()
			a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b", WithRoles("x"))
			seen := watchLog(t.Context(), b.Scope)
			require.Equal(t, []string{"NodeJoined a", "RoleAdded a x", "NodeJoined b", "RoleAdded b x"}, seen.take())
			ctx := a.LeaseContext()
			a.setClock(by)
			require.Zero(t, a.LeaseLeft())
			synctest.Wait() // no time passes
			require.Error(t, ctx.Err())
			require.Equal(t, leaseSure, a.LeaseLeft())
			time.Sleep(10 * fakeTTL)
			require.NotZero(t, a.LeaseLeft())
			require.Empty(t, seen.take())

			// It has missed nothing, and believes what it hears.
			a.setClock(by)
			b.crash()
			time.Sleep(fakeTTL + time.Second)
			synctest.Wait()
			require.Equal(t, 1, a.Snapshot().Members().Len())
		})
	}
}

// What a wall clock is slowed down or sped up by, to be right again, is no sleep.
func TestAWallClockThatDriftsIsNoSleep(t *testing.T) {
	for _, ppm := range []int{500, -500} {
		synctest.Test(t, func(t *testing.T) {
			a := newFakeBucket().bus(t, "a")
			ctx := a.LeaseContext()
			for range 3600 {
				time.Sleep(time.Second)
				a.setClock(time.Second * time.Duration(ppm) / 1e6)
			}
			require.NoError(t, ctx.Err())
			require.NotZero(t, a.LeaseLeft())
		})
	}
}

// Naps that are too short to count do not add up to a lease that is wrong.
func TestShortNapsAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newFakeBucket().bus(t, "a")
		a.link.setCut(true)
		began, slept := time.Now(), time.Duration(0)
		for a.LeaseLeft() > 0 {
			a.setClock(a.machine.nap / 4)
			slept += a.machine.nap / 4
			time.Sleep(a.machine.nap)
		}
		require.Less(t, time.Since(began)+slept, fakeTTL)
	})
}

// A device that dozes heartbeats when it wakes up, and by the server's time as it is then.
func TestADeviceThatDozesIsNotBuriedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		o := f.bus(t, "o", WithObserver())
		a := f.bus(t, "a", WithRoles("x"))
		synctest.Wait()
		seen := watchLog(t.Context(), o.Scope)
		require.Equal(t, []string{"NodeJoined a", "RoleAdded a x"}, seen.take())
		generation := a.Generation()
		for range 50 {
			f.sleepAll(fakeTTL*6/10, a, o)
			time.Sleep(fakeTTL / 10)
			require.Empty(t, seen.take())
			require.NotZero(t, a.LeaseLeft())
			require.Equal(t, generation, a.Generation(), "it was never buried")
		}
	})
}

// A whole host that sleeps, with its server: every lease has ended when it wakes up.
func TestAHostThatSleptReportsNobodyLost(t *testing.T) {
	for tenths := range time.Duration(20) {
		t.Run(fmt.Sprint(tenths*fakeTTL/10), func(t *testing.T) {
			stepped(t, func(f *fakeBucket, fleet []*fakeBus) { f.sleepAll(tenths*fakeTTL/10, fleet...) })
		})
	}
}

func TestAServersClockThatStepsForwardReportsNobodyLost(t *testing.T) {
	for tenths := range time.Duration(20) {
		t.Run(fmt.Sprint(tenths*fakeTTL/10), func(t *testing.T) {
			stepped(t, func(f *fakeBucket, _ []*fakeBus) { f.step(tenths * fakeTTL / 10) })
		})
	}
}

// stepped holds that a step of the server's clock, or a sleep, loses nobody, and that one who dies afterwards is lost.
func stepped(t *testing.T, step func(*fakeBucket, []*fakeBus)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		var fleet []*fakeBus
		var seen []*eventLog
		for i := range 10 {
			ttl := fakeTTL
			if i == 9 {
				ttl *= 10
			}
			opts := []Option{WithRoles("x"), WithTTL(ttl), WithSyncInterval(time.Second)}
			if i == 8 {
				opts = []Option{WithObserver(), WithSyncInterval(time.Second)}
			}
			fleet = append(fleet, f.bus(t, fmt.Sprint("n", i), opts...))
			time.Sleep(fakeTTL / 30)
		}
		time.Sleep(2 * fakeTTL)
		for _, b := range fleet {
			seen = append(seen, watchLog(t.Context(), b.Scope))
		}
		for _, l := range seen {
			require.Len(t, l.take(), 18)
		}
		for round := range 3 {
			step(f, fleet)
			time.Sleep(3*fakeTTL + fakeTTL/7)
			for i, l := range seen {
				require.Empty(t, l.take(), "n%d, round %d", i, round)
			}
		}
		fleet[0].crash()
		time.Sleep(3 * fakeTTL)
		for i, b := range fleet[1:] {
			require.Equal(t, 8, b.Nodes("x").Len(), "n%d", i+1)
		}
	})
}

// A server's clock that steps forward takes so much from every lease: what is left is certain, and a heartbeat makes it whole again.
func TestAServersClockThatStepsForwardShortensLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("x"))
		b := f.bus(t, "b")
		ctx := a.LeaseContext()
		synctest.Wait()
		a.link.refuse(errFakeDown) // no heartbeat gets through
		f.step(fakeTTL / 2)
		require.NoError(t, b.AddRoles(t.Context(), "told"))
		synctest.Wait()
		require.NoError(t, ctx.Err())
		require.LessOrEqual(t, a.LeaseLeft(), leaseSure-fakeTTL/2)
		a.link.refuse(nil)
		time.Sleep(fakeTTL / 3)
		require.Greater(t, a.LeaseLeft(), leaseSure-fakeTTL/2)
		require.NoError(t, ctx.Err())

		a.link.refuse(errFakeDown)
		f.step(leaseSure)
		require.NoError(t, b.AddRoles(t.Context(), "told again"))
		synctest.Wait()
		require.ErrorIs(t, context.Cause(ctx), ErrLeaseLost)
		require.Zero(t, a.LeaseLeft())
		a.link.refuse(nil)
		time.Sleep(2 * time.Second)
		require.NotZero(t, a.LeaseLeft())
	})
}

func TestAHeartbeatOfBeforeAStepDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lease{machine: newMachine(fakeTTL), sure: leaseSure}
		defer l.end(ErrClosed)
		before := l.machine.now()
		l.renew(before)
		require.Equal(t, leaseSure, l.left())
		time.Sleep(time.Nanosecond)
		l.shorten(time.Second)
		l.renew(before)
		require.Equal(t, leaseSure-time.Second-1, l.left())
		l.renew(l.machine.now())
		require.Equal(t, leaseSure, l.left())
	})
}

// After a step back leases that were armed before lie too far ahead: who hears of it arms his own anew, others within a minute.
func TestAServersClockThatStepsBackArmsLeasesAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b", WithRoles("x"))
		seen := watchLog(t.Context(), b.Scope)
		require.Len(t, seen.take(), 4)
		ahead := func() int {
			f.mu.Lock()
			defer f.mu.Unlock()
			n := 0
			for _, l := range f.leases {
				if l.c.due.After(f.clock().Add(fakeTTL)) {
					n++
				}
			}
			return n
		}
		ctx := a.LeaseContext()
		f.step(-time.Hour)
		require.Equal(t, 2, ahead())
		require.NoError(t, b.AddRoles(t.Context(), "told"))
		time.Sleep(fakeTTL/3 + time.Second)
		require.Zero(t, ahead())

		f.step(-time.Hour)
		require.Equal(t, 2, ahead())
		time.Sleep(clockAge + fakeTTL/3)
		require.Zero(t, ahead())
		require.NoError(t, ctx.Err(), "they end later than it was thought")
		require.Equal(t, []string{"RoleAdded b told"}, seen.take(), "a node that arms its lease lives, wherever that lies")
		a.crash()
		time.Sleep(2 * fakeTTL)
		require.Equal(t, 1, b.Nodes("x").Len())
	})
}

// Whoever may publish announcements can make up a time. That costs a question once in a while, and keeps nobody listed.
func TestAnAnnouncementFromTheFutureIsRefuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		a.crash()
		for n := range uint64(20 * fakeTTL / time.Second) {
			f.mu.Lock()
			f.storeAt("default", change{kind: kindState, node: "liar", id: life{1, 1 + n}, ttl: fakeTTL}, "", f.clock().Add(time.Hour))
			f.mu.Unlock()
			time.Sleep(time.Second)
		}
		require.Empty(t, names(b.Nodes("x").Slice()), "a is gone for 20 TTLs")
		require.NotZero(t, b.LeaseLeft())
	})
}

// Who dies after a step back, before its lease is armed anew, is not listed until that ends: whole readings look at it.
func TestWhoDiesAfterAStepBackIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b", WithRoles("x"))
		f.step(-time.Hour)
		a.crash()
		time.Sleep(clockAge + fakeTTL/3 + graceOf(fakeTTL) + time.Second)
		synctest.Wait()
		require.Equal(t, 1, b.Nodes("x").Len(), "%v", names(b.Nodes("x").Slice()))
	})
}

// The server's clock was set ahead, and then this process joins another scope: there, too, leases may have ended before they should.
func TestWhoJoinsAfterTheClockWasSetAheadBelievesNobodyYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		b := f.peered(t, n, "S1", "a")
		before, err := b.Join(t.Context(), "before")
		require.NoError(t, err)
		time.Sleep(time.Second)
		b.jumped(time.Second)
		time.Sleep(time.Second)
		after, err := b.Join(t.Context(), "after")
		require.NoError(t, err)
		for _, s := range []*Scope{before, after} {
			require.Equal(t, time.Second, s.member.Load().trust.calm(time.Now()), s.Name())
		}
		b.jumped(-time.Second) // it ends no lease early
		require.Equal(t, time.Second, before.member.Load().trust.calm(time.Now()))
	})
}
