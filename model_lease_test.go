package rolebus

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A stream without a leader takes no writes, and nobody can bury what stands in it: whatever is tried meanwhile, the lease runs for
// as long as it was armed for.
func TestModelALeaseRunsOnWhileThereIsNoLeader(t *testing.T) {
	for name, during := range map[string]func(t *testing.T, a *fakeBus){
		"a heartbeat is due":    func(*testing.T, *fakeBus) {},
		"a change is wanted":    func(_ *testing.T, a *fakeBus) { a.wants("y") },
		"metadata is wanted":    func(_ *testing.T, a *fakeBus) { _, _ = a.dress(map[string]string{"v": "2"}) },
		"the connection flaps":  func(_ *testing.T, a *fakeBus) { a.partition(true); a.partition(false) },
		"everything is doubted": func(_ *testing.T, a *fakeBus) { poke(a.member.Load().keeper.nudge) },
	} {
		for _, silent := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFakeBucket()
					a, o := f.bus(t, "a", WithRoles("x")), f.bus(t, "o", WithObserver())
					time.Sleep(3 * fakeTTL)
					seen, ctx := watchLog(t.Context(), o.Scope), a.LeaseContext()
					seen.take()
					for range 20 {
						f.headlessFor(silent, 4*fakeTTL/10, func() { during(t, a) })
						require.NoError(t, context.Cause(ctx))
						time.Sleep(2 * fakeTTL)
						require.NoError(t, context.Cause(ctx))
						require.Positive(t, a.LeaseLeft())
					}
					require.NotContains(t, seen.take(), "NodeLeft a expired")
				})
			})
		}
	}
}

// A write whose acknowledgement was lost is this node's own, whichever of the two records is found.
func TestModelALeaseRunsOnThoughAWriteIsNotAcknowledged(t *testing.T) {
	for name, trouble := range map[string]func(l *fakeLink, on bool){
		"stored":     func(l *fakeLink, on bool) { l.deaf = on },
		"not stored": func(l *fakeLink, on bool) { l.refusePuts = map[bool]int{true: 1 << 20}[on] },
		"stored, and nothing after it": func(l *fakeLink, on bool) {
			l.deaf, l.onPut = on, nil
			if puts := 0; on {
				l.onPut = func() {
					l.mu.Lock()
					defer l.mu.Unlock()
					if puts++; puts > 1 {
						l.refusePuts = 1
					}
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
				time.Sleep(fakeTTL)
				ctx := a.LeaseContext()
				for _, role := range []Role{"y", "z"} {
					f.mu.Lock()
					trouble(a.link, true)
					f.mu.Unlock()
					a.wants(role)
					time.Sleep(3 * fakeTTL)
					require.NoError(t, context.Cause(ctx), "heartbeats go on, whatever becomes of the change")
					f.mu.Lock()
					trouble(a.link, false)
					f.mu.Unlock()
					time.Sleep(2 * lastRetry)
					require.NoError(t, context.Cause(ctx))
					synctest.Wait()
					require.Equal(t, []Role{role}, b.Roles("a").Slice())
				}
			})
		})
	}
}

// Heartbeats find no leader for a moment, at whatever time after the last that was taken. When there is one it stores what is written, but
// is long about what it is asked: whoever would find out first whether the bucket is still there would be buried, and whoever waits for
// the leader to say so as long as ever, though a replica would do, would lose the lease that he has.
func TestModelALeaseIsRenewedWhileNothingIsFoundOut(t *testing.T) {
	for name, during := range map[string]func(a *fakeBus){
		"a heartbeat found no leader": func(*fakeBus) {},
		"nor did a change":            func(a *fakeBus) { a.wants("y") },
	} {
		t.Run(name, func(t *testing.T) {
			for phase := range time.Duration(12) {
				after := 3*fakeTTL + phase*fakeTTL/36
				synctest.Test(t, func(t *testing.T) {
					ctx := findsNothingOut(t, after, 4*fakeTTL/10, during)
					if name == "a heartbeat found no leader" {
						require.NoError(t, context.Cause(ctx), "heartbeats are taken again, and a replica has the record")
					}
				})
				// So long that this node may be sure of its lease no more, although it runs.
				synctest.Test(t, func(t *testing.T) { findsNothingOut(t, after, fakeTTL/2, during) })
			}
		})
	}
}

// findsNothingOut has a bucket without a leader for a time, and then with one that answers no question, and returns the context of a lease
// that was taken before.
func findsNothingOut(t *testing.T, after, headless time.Duration, during func(a *fakeBus)) context.Context {
	f := newFakeBucket()
	a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
	time.Sleep(after)
	seen, ctx := watchLog(t.Context(), b.Scope), a.LeaseContext()
	f.headlessFor(false, headless, func() { during(a) })
	f.mu.Lock()
	a.link.unanswered = true
	f.mu.Unlock()
	for range 20 {
		time.Sleep(fakeTTL / 2)
		f.mu.Lock()
		found := f.records[[2]string{"default", "a"}].c.kind
		f.mu.Unlock()
		require.Equal(t, kindState, found, "it was buried")
	}
	f.mu.Lock()
	a.link.unanswered = false
	f.mu.Unlock()
	time.Sleep(fakeTTL)
	require.Positive(t, a.LeaseLeft())
	require.NotContains(t, seen.take(), "NodeLeft a expired")
	require.NoError(t, a.AddRoles(t.Context(), "z"))
	return ctx
}

// A heartbeat that is due waits for a change that is under way, and for none that waits, too.
func TestModelAHeartbeatThatIsDueGoesBeforeAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("x"))
		const slow = 18 * fakeTTL / 100 // two of them take longer than the interval of heartbeats
		var last, longest time.Duration
		began := time.Now()
		f.mu.Lock()
		a.link.onPut = func() { time.Sleep(slow) }
		f.mu.Unlock()
		for n := range 1000 {
			a.wants(Role(fmt.Sprint(n)))
			time.Sleep(fakeTTL / 100)
			f.mu.Lock()
			at := f.leases[[2]string{"default", "a"}].at.Sub(began)
			f.mu.Unlock()
			longest, last = max(longest, at-last), at
		}
		require.LessOrEqual(t, longest, fakeTTL/3+slow)
	})
}

// What a replica has that lags says nothing of what is so, nor what it does not have.
func TestModelALeaseRunsOnThoughAReplicaLags(t *testing.T) {
	for name, trouble := range map[string]func(l *fakeLink){
		"nobody carries questions to the leader": func(l *fakeLink) { l.noMeta = true },
		"nor acknowledgements":                   func(l *fakeLink) { l.noMeta, l.deaf = true, true },
		"it may not ask the leader":              func(l *fakeLink) { l.mayNotAsk = true },
	} {
		for _, has := range []string{"nothing", "the record of before"} {
			t.Run(name+", the replica has "+has, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFakeBucket()
					a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
					outdated := map[[2]string]fakeRecord{}
					if has != "nothing" {
						f.mu.Lock()
						outdated = maps.Clone(f.records)
						f.mu.Unlock()
					}
					require.NoError(t, a.AddRoles(t.Context(), "y"))
					time.Sleep(fakeTTL)
					ctx := a.LeaseContext()
					f.mu.Lock()
					trouble(a.link)
					a.link.outdated = outdated
					f.mu.Unlock()
					a.wants("z")
					poke(a.member.Load().keeper.nudge)
					time.Sleep(fakeTTL / 2)
					require.NoError(t, context.Cause(ctx))
					f.mu.Lock()
					a.link.outdated, a.link.deaf = nil, false // it has caught up
					f.mu.Unlock()
					time.Sleep(3 * fakeTTL)
					require.NoError(t, context.Cause(ctx))
					synctest.Wait()
					require.Equal(t, []Role{"z"}, b.Roles("a").Slice())
				})
			})
		}
	}
}

// A bucket that went back may give the generation of a record to its tombstone: heartbeats are taken as before, and a replica that lags
// has the record.
func TestModelARecordWhoseGenerationItsTombstoneHasIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("x"))
		time.Sleep(fakeTTL)
		key := [2]string{"default", "a"}
		a.link.setCut(true)
		time.Sleep(fakeTTL / 2) // a heartbeat fails
		f.mu.Lock()
		a.link.outdated = maps.Clone(f.records)
		r := f.records[key]
		id := life{r.c.id.incarnation, r.c.id.version + leaseAhead}
		f.records[key] = fakeRecord{c: change{kind: kindExpired, node: "a", id: id, generation: r.generation}, generation: r.generation}
		f.mu.Unlock()
		a.link.setCut(false)
		time.Sleep(fakeTTL / 2)
		f.mu.Lock()
		defer f.mu.Unlock()
		require.Equal(t, kindState, f.records[key].c.kind)
	})
}

// Whatever may mean that the lease in the bucket is over ends the context.
func TestModelALeaseIsLostWithTheRecord(t *testing.T) {
	for name, fault := range map[string]func(f *fakeBucket, own life, was fakeRecord){
		"the record is purged":    func(f *fakeBucket, _ life, _ fakeRecord) { f.wipe(false) },
		"the bucket is made anew": func(f *fakeBucket, _ life, _ fakeRecord) { f.wipe(true) },
		"a tombstone stands there": func(f *fakeBucket, own life, _ fakeRecord) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.mute = true
			f.store("default", change{kind: kindLeft, node: "a", id: life{own.incarnation, own.version}}, "")
			f.mute = false
		},
		"the record is that of before": func(f *fakeBucket, _ life, was fakeRecord) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.seq++
			was.generation = f.seq
			f.records[[2]string{"default", "a"}] = was
		},
		"it is one that this node never sent": func(f *fakeBucket, own life, _ fakeRecord) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.mute = true
			f.store("default", change{kind: kindState, node: "a", id: life{own.incarnation, own.version + 5}, ttl: fakeTTL}, "")
			f.mute = false
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				a := f.bus(t, "a", WithRoles("x"))
				f.mu.Lock()
				was := f.records[[2]string{"default", "a"}]
				f.mu.Unlock()
				require.NoError(t, a.AddRoles(t.Context(), "y"))
				time.Sleep(fakeTTL)
				ctx := a.LeaseContext()
				f.mu.Lock()
				own := f.records[[2]string{"default", "a"}].c.id
				f.mu.Unlock()
				fault(f, own, was)
				time.Sleep(fakeTTL / 3)
				require.ErrorIs(t, context.Cause(ctx), ErrLeaseLost)
				time.Sleep(time.Second)
				require.NoError(t, a.LeaseContext().Err(), "it has written itself again")
			})
		})
	}
}

// headlessFor takes the leader away for a time, in which something happens.
func (f *fakeBucket) headlessFor(silent bool, d time.Duration, do func()) {
	f.mu.Lock()
	f.headless, f.silent = true, silent
	f.mu.Unlock()
	do()
	time.Sleep(d)
	f.start()
}

// wants makes the node want a role alone, without waiting for it.
func (b *fakeBus) wants(role Role) {
	_, _ = b.member.Load().keeper.want.edit(func([]Role) []Role { return []Role{role} }, func(wanted) error { return nil })
}

// A bucket that is wiped between a lease and its record keeps no lease; who dies right after that would have none.
func TestModelARecordThatIsWrittenAgainHasALeaseAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		o, err := newOptions([]Option{WithNode("a"), WithTTL(fakeTTL)})
		require.NoError(t, err)
		k := newMember(newBus(o, newNoise(o.log), f.link()).Scope, wanted{roles: []Role{"one"}}).keeper
		require.NoError(t, k.join(t.Context()))
		f.wipe(false)
		k.store = &wipedBefore{k.store, f}
		require.NoError(t, k.look(t.Context()))
		f.mu.Lock()
		defer f.mu.Unlock()
		require.Len(t, f.records, 1)
		require.Len(t, f.leases, 1)
	})
}

// wipedBefore is a bucket that is wiped just before each record is written.
type wipedBefore struct {
	store
	bucket *fakeBucket
}

func (w *wipedBefore) put(ctx context.Context, scope string, c change, replaces uint64) (uint64, error) {
	w.bucket.wipe(false)
	return w.store.put(ctx, scope, c, replaces)
}
