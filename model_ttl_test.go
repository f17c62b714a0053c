package rolebus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// listener is what one process with a TTL of its own makes of what it hears.
type listener struct {
	snap *Snapshot
	ttl  time.Duration
	calm time.Duration
	now  time.Time
}

func newListener(ttl time.Duration) *listener {
	return &listener{snap: newSnapshot("s", "o"), ttl: ttl, calm: forEver, now: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (l *listener) news(changes ...change) news {
	return news{changes: changes, calm: l.calm, ttl: l.ttl, now: l.now}
}

func (l *listener) hear(changes ...change) (g gap) {
	l.snap, g = l.snap.apply(l.news(changes...))
	return g
}

// reads is a reading of the whole scope, some time later.
func (l *listener) reads(after time.Duration, changes ...change) {
	l.now = l.now.Add(after)
	n := l.news(changes...)
	n.whole, n.began, n.due = true, l.snap.serial, l.now
	l.snap, _ = l.snap.apply(n)
}

func (l *listener) lists(node string) bool { return l.snap.named.get(node) != nil }

func livingFor(ttl time.Duration, node string, version uint64) change {
	return change{kind: kindState, node: node, id: life{1, version}, generation: version, ttl: ttl}
}

func buriedAs(node string, version uint64) change {
	return change{kind: kindExpired, node: node, id: life{1, version + leaseAhead}, generation: version + 1}
}

func TestADoubtIsCountedInTheOwnersTTL(t *testing.T) {
	for _, own := range []time.Duration{time.Second, 15 * time.Second, time.Minute} {
		l := newListener(own)
		l.hear(livingFor(time.Second, "quick", 1), livingFor(time.Minute, "slow", 2))
		l.reads(0)
		l.reads(1300 * time.Millisecond)
		require.True(t, l.lists("quick"))
		l.reads(100 * time.Millisecond)
		require.False(t, l.lists("quick"), "TTL %v", own)
		l.reads(78 * time.Second)
		require.True(t, l.lists("slow"), "TTL %v", own)
		l.reads(2 * time.Second)
		require.False(t, l.lists("slow"), "TTL %v", own)
	}
}

func TestAGraceIsCountedInTheOwnersTTL(t *testing.T) {
	l := newListener(time.Second)
	l.hear(livingFor(time.Second, "quick", 1), livingFor(time.Minute, "slow", 2))
	l.calm = 5 * time.Second // since the bus was out of reach
	l.hear(buriedAs("quick", 1), buriedAs("slow", 2))
	require.False(t, l.lists("quick"))
	require.True(t, l.lists("slow"), "it may not have found its way back yet")
}

// A node that is known, and that the bucket held nothing of before.
func TestWhatIsFirstThoughKnownHasEverythingRead(t *testing.T) {
	l := newListener(time.Second)
	first := livingFor(time.Second, "a", 1)
	first.first = true
	require.False(t, l.hear(first).whole, "who joins is first")
	l.hear(livingFor(time.Second, "b", 1))
	again := livingFor(time.Second, "a", 1002)
	again.first = true
	require.True(t, l.hear(again).whole, "the bucket was purged, or is another one")
	l.reads(0, again)
	b := livingFor(time.Second, "b", 1002)
	b.first = true
	require.False(t, l.hear(b).whole, "that is known by now")
}

func TestWhoHasTheLongerTTLAsksTheLeaderFirst(t *testing.T) {
	l := newListener(time.Minute)
	l.hear(livingFor(time.Second, "quick", 1), livingFor(time.Minute, "slow", 2))
	buried := []change{buriedAs("quick", 1), buriedAs("slow", 2)}
	g := l.hear(buried...)
	require.Equal(t, buried[:1], g.vouch)
	require.True(t, l.lists("quick"))
	require.False(t, l.lists("slow"), "of that it would have noticed an outage itself")
	n := l.news(g.vouch...)
	n.vouched = true
	l.snap, g = l.snap.apply(n)
	require.Empty(t, g.vouch)
	require.False(t, l.lists("quick"))
}

// A leader that was elected while a quick node could not renew its lease buries it in time, as far as its own clock goes.
func TestAnElectionThatNobodyWithALongTTLNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		quick := f.bus(t, "quick", WithRoles("x"), WithTTL(2*time.Second))
		readers := []*fakeBus{f.bus(t, "slow", WithRoles("x"), WithTTL(time.Minute)), f.bus(t, "o", WithObserver(), WithTTL(time.Minute))}
		time.Sleep(3 * time.Minute) // the observers' first question is over
		var logs []*eventLog
		for _, b := range readers {
			logs = append(logs, watchLog(t.Context(), b.Scope))
		}
		for _, log := range logs {
			log.take()
		}
		f.mu.Lock()
		due := time.Until(f.leases[[2]string{"default", "quick"}].c.due)
		f.headless = true
		f.mu.Unlock()
		time.Sleep(due + maxLate/2)
		quick.link.setCut(true) // it is the last to hear of the new leader
		f.start()
		time.Sleep(time.Second)
		quick.link.setCut(false)
		time.Sleep(10 * time.Second)
		for _, log := range logs {
			require.Empty(t, log.take())
		}
		quick.crash()
		time.Sleep(2*time.Second + 500*time.Millisecond)
		for _, b := range readers {
			require.Equal(t, []string{"slow"}, names(b.Nodes("x").Slice()), "a lease of 2 s, and half a second")
		}
	})
}

// A stream without replicas does not tell since when it is there again. What fires late does, also for what fires in time.
func TestALateSwitchTellsOfAnOutageThatNothingElseTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a := f.bus(t, "a", WithRoles("x"))
		time.Sleep(2 * time.Second)
		b := f.bus(t, "b", WithRoles("x"))
		o := f.bus(t, "o", WithObserver(), WithTTL(time.Hour)) // asks seldom
		time.Sleep(time.Minute)
		seen := watchLog(t.Context(), o.Scope)
		require.Len(t, seen.take(), 4)
		var one, other time.Duration
		require.Eventually(t, func() bool { // heartbeats are not quite regular
			f.mu.Lock()
			defer f.mu.Unlock()
			due := func(node string) time.Duration { return time.Until(f.leases[[2]string{"default", node}].c.due) }
			one, other = due("a"), due("b")
			f.headless = (one - other).Abs() > maxLate+maxLate/2
			return f.headless
		}, time.Hour, 100*time.Millisecond)
		time.Sleep(max(one, other) + maxLate/10)
		for _, q := range []*fakeBus{a, b} {
			q.link.setCut(true) // they hear of it a little later
		}
		f.start()
		f.mu.Lock()
		f.led = time.Time{}
		f.mu.Unlock()
		time.Sleep(maxLate)
		for _, q := range []*fakeBus{a, b} {
			q.link.setCut(false)
		}
		time.Sleep(time.Minute)
		require.Empty(t, seen.take())
	})
}

// Two TTLs in one scope, through all that takes records away.
func TestTwoTTLsInOneScope(t *testing.T) {
	for name, fault := range map[string]func(f *fakeBucket, fleet []*fakeBus){
		"a purge":          func(f *fakeBucket, _ []*fakeBus) { f.wipe(false) },
		"a deleted bucket": func(f *fakeBucket, _ []*fakeBus) { f.wipe(true) },
		"a restart":        func(f *fakeBucket, fleet []*fakeBus) { f.outage(5*time.Second, fleet...) },
		"a long outage":    func(f *fakeBucket, fleet []*fakeBus) { f.outage(2*time.Minute, fleet...) },
		"no leader": func(f *fakeBucket, _ []*fakeBus) {
			f.mu.Lock()
			f.headless = true
			f.mu.Unlock()
			time.Sleep(3 * time.Second)
			f.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeBucket()
				var fleet []*fakeBus
				var logs []*eventLog
				for _, ttl := range []time.Duration{time.Second, time.Minute} {
					for _, node := range []string{"a", "b"} {
						fleet = append(fleet, f.bus(t, node+ttl.String(), WithRoles("x"), WithTTL(ttl)))
					}
					fleet = append(fleet, f.bus(t, "o"+ttl.String(), WithObserver(), WithTTL(ttl)))
				}
				for _, b := range fleet {
					logs = append(logs, watchLog(t.Context(), b.Scope))
				}
				time.Sleep(2 * time.Minute)
				for _, log := range logs {
					require.Len(t, log.take(), 8, "all are listed, with their role")
				}
				fault(f, fleet)
				time.Sleep(5 * time.Minute)
				for i, log := range logs {
					require.Empty(t, log.take(), fleet[i].Name())
				}
				for _, dead := range []*fakeBus{fleet[0], fleet[3]} {
					dead.crash()
					time.Sleep(dead.opts.ttl + 500*time.Millisecond)
					synctest.Wait()
					for _, b := range fleet {
						require.False(t, b.ctx.Err() == nil && lists(b, dead.Name()), "%s lists %s", b.Name(), dead.Name())
					}
				}
			})
		})
	}
}

// Who dies when the bucket is wiped, its switch with it, is missed as soon as somebody says again what is so.
func TestWhoDiesWhenTheBucketIsWipedIsMissedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		far := []Option{WithTTL(3 * time.Second), WithSyncInterval(time.Hour)}
		b, dead := f.bus(t, "b", far...), f.bus(t, "dead", far...)
		slow := f.bus(t, "slow", append(far, WithTTL(time.Hour))...)
		o := f.bus(t, "o", append(far, WithTTL(time.Hour), WithObserver())...)
		time.Sleep(time.Minute)
		dead.crash()
		f.wipe(false)
		time.Sleep(graceOf(3*time.Second) + 1500*time.Millisecond) // a heartbeat is refused, and the doubt runs out
		synctest.Wait()
		for _, q := range []*fakeBus{b, slow, o} {
			require.False(t, lists(q, "dead"), q.Name())
			require.True(t, lists(q, "b") && lists(q, "slow"), q.Name())
		}
	})
}

// A node alone with the shortest TTL may be dead: that nothing is stored for so long is no sign.
func TestTheRhythmIsThatOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		o := f.bus(t, "o", WithObserver())
		rhythm := func() time.Duration { return o.member.Load().rhythm() }
		require.Zero(t, rhythm())
		f.bus(t, "a", WithTTL(time.Minute))
		synctest.Wait()
		require.Zero(t, rhythm(), "it may be dead")
		quick := f.bus(t, "b", WithTTL(time.Second))
		synctest.Wait()
		require.Equal(t, time.Minute, rhythm())
		f.bus(t, "c", WithTTL(20*time.Second))
		synctest.Wait()
		require.Equal(t, 20*time.Second, rhythm())
		quick.crash()
		time.Sleep(2 * time.Second)
		require.Equal(t, time.Minute, rhythm())
		require.Equal(t, forEver, o.member.Load().trust.calm(time.Now()))
	})
}

// A bucket that is made anew by somebody else is known by its identity, whoever hears of it and whatever generation it has.
func TestABucketMadeAnewIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		slow := []Option{WithTTL(time.Hour), WithSyncInterval(time.Hour)}
		a, b := f.bus(t, "a", append(slow, WithRoles("x"))...), f.bus(t, "b", slow...)
		time.Sleep(time.Minute)
		f.wipe(true)
		f.mu.Lock()
		f.seq = 100 // as many were stored since
		f.mu.Unlock()
		c := f.bus(t, "c", append(slow, WithRoles("x"))...)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, q := range []*fakeBus{a, b, c} {
			require.Equal(t, []string{"a", "c"}, names(q.Nodes("x").Slice()), q.Name())
		}
	})
}

// Another bucket of the same name is heard over a leaf node's link.
func TestAnotherBucketOfTheSameNameIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, other := newFakeBucket(), newFakeBucket()
		a := f.bus(t, "a", WithRoles("x"))
		seen := watchLog(t.Context(), a.Scope)
		require.Len(t, seen.take(), 2)
		f.mu.Lock()
		other.links = append(other.links, a.link) // it crosses
		f.mu.Unlock()
		other.bus(t, "a", WithRoles("y"), WithTTL(time.Second)).crash()
		other.bus(t, "b", WithRoles("y"), WithTTL(time.Second)).crash()
		time.Sleep(foreignAge / 2)
		require.Empty(t, seen.take())
		require.NoError(t, a.Err())
		require.EqualValues(t, 4, a.noise.count(), "two that joined, and were buried")
		require.True(t, a.fleet.stranger(other.fleet))
	})
}

func lists(b *fakeBus, node string) bool { return b.Snapshot().named.get(node) != nil }

// pulselessLink is a way to a bucket whose leader says nothing of itself.
type pulselessLink struct{ *fakeLink }

func (l pulselessLink) pulse(context.Context) (pulse, error) { return pulse{}, errFakeDown }

// Where the leader gives no word, the tombstone is doubted, not lost.
func TestNoWordOfTheLeaderIsADoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		quick, slow := f.bus(t, "quick", WithRoles("x"), WithTTL(2*time.Second)), f.bus(t, "slow", WithTTL(time.Minute))
		time.Sleep(time.Minute)
		slow.Bus.store = pulselessLink{slow.link}
		quick.crash()
		time.Sleep(2*time.Second + 100*time.Millisecond)
		require.True(t, lists(slow, "quick"))
		time.Sleep(30 * time.Second)
		require.False(t, lists(slow, "quick"))
	})
}

// This process is connected to another server now, which has a bucket of its own: of two nodes with one name the older life may be
// the one that is there.
func TestTheNodesOfAnotherFleetAreListedInTheEnd(t *testing.T) {
	born := func(node string, incarnation uint64) change {
		return change{kind: kindState, node: node, id: life{incarnation, 1}, generation: 1, ttl: 3 * time.Second}
	}
	l := newListener(3 * time.Second)
	l.snap = l.snap.adopt("one", l.now)
	l.hear(born("a", 9), born("b", 9), born("c", 9))
	l.hear(change{kind: kindLeft, node: "b", id: life{9, 1001}, generation: 2})
	l.snap = l.snap.adopt("two", l.now)
	there := []change{born("a", 5), born("b", 5)}
	l.reads(0, there...)
	require.True(t, l.lists("b"), "that it left was so in the other fleet")
	require.EqualValues(t, 9, l.snap.live("a").id.incarnation, "it may be of this fleet, and write its record again")
	l.reads(graceOf(3*time.Second), there...)
	require.True(t, l.lists("a"))
	require.EqualValues(t, 5, l.snap.live("a").id.incarnation)
	require.False(t, l.lists("c"))
	l.hear(born("c", 5))
	require.True(t, l.lists("c"), "nothing of the other one stands in its way")
}
