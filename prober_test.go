package rolebus

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// Bubble time is exact: what takes how long here is what it takes where messages take no time.

func peeredFleet(t *testing.T, f *fakeBucket, n *fakeNet, size int, opts ...Option) []*peeredBus {
	t.Helper()
	var fleet []*peeredBus
	for i := range size {
		fleet = append(fleet, f.peered(t, n, "S1", fmt.Sprintf("n%02d", i), opts...))
	}
	return fleet
}

// settle lets the fleet live for long enough that everybody has asked its neighbours.
func settle() {
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

// nameBefore returns a name whose place in the ring is right before a node's, also one that is hidden.
func nameBefore(snap *Snapshot, node string) string {
	others := append(snap.Suspects().Slice(), snap.Members().Slice()...)
	for i := 0; ; i++ {
		name := fmt.Sprint("before-", i)
		if next := (&Snapshot{members: list{nodes: others}}).successor(name); next.name == node {
			return name
		}
	}
}

func listedBy(b *peeredBus, node string) bool { return b.Snapshot().named.get(node) != nil }

func TestADeadNeighbourIsHiddenEverywhereInUnderASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 50)
		o := f.peered(t, n, "S1", "o", WithObserver())
		for round := range 10 {
			settle()
			time.Sleep(time.Duration(round) * 70 * time.Millisecond) // at any moment of a round
			dead := fleet[5*round]
			logs := watchLog(t.Context(), o.Scope)
			logs.take()
			dead.crash()
			time.Sleep(time.Second)
			synctest.Wait()
			for _, b := range append(without(fleet, dead), o) {
				if b.Err() == nil {
					require.False(t, listedBy(b, dead.Name()), "%s after a second", b.Name())
				}
			}
			require.Equal(t, []string{
				"RoleRemoved " + dead.Name() + " x unreachable", "NodeLeft " + dead.Name() + " unreachable",
			}, logs.take())
			time.Sleep(2 * fakeTTL)
			require.Equal(t, []string{"NodeBuried " + dead.Name() + " expired"}, logs.take(), "its tombstone says that it is certain")
			require.Empty(t, o.Snapshot().Suspects().Slice())
		}
	})
}

func TestAFrozenNeighbourIsHiddenInUnderFourSecondsAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 10)
		settle()
		frozen := fleet[3]
		logs := watchLog(t.Context(), fleet[0].Scope)
		logs.take()
		frozen.freeze()
		time.Sleep(4*time.Second - 1)
		synctest.Wait()
		for _, b := range without(fleet, frozen) {
			require.False(t, listedBy(b, "n03"), b.Name())
			require.Equal(t, []string{"n03"}, names(b.Snapshot().Suspects().Slice()))
		}
		frozen.thaw()
		time.Sleep(time.Second)
		synctest.Wait()
		for _, b := range without(fleet, frozen) {
			require.True(t, listedBy(b, "n03"), "%s: it answers", b.Name())
			require.Empty(t, b.Snapshot().Suspects().Slice())
		}
		require.Equal(t, []string{
			"RoleRemoved n03 x unreachable", "NodeLeft n03 unreachable", "NodeJoined n03", "RoleAdded n03 x",
		}, logs.take())
	})
}

// In every other round one more node is asked beside the successor, and both at once.
func TestARoundAsksTwoAtOnceEveryOtherTime(t *testing.T) {
	const size, seconds = 20, 20
	for _, tc := range []struct {
		slow        time.Duration
		least, most int
	}{
		{0, size * 2 * seconds * 13 / 10, size * 2 * seconds * 17 / 10},
		{300 * time.Millisecond, 680, 800}, // 20 * 25 rounds * 1.45; one after another it would be 20 * 21 * 1.45
	} {
		synctest.Test(t, func(t *testing.T) {
			f, n := newFakeBucket(), newFakeNet()
			peeredFleet(t, f, n, size)
			settle()
			n.delay(tc.slow)
			time.Sleep(time.Second)
			before := n.askedInAll()
			time.Sleep(seconds * time.Second)
			asked := n.askedInAll() - before
			require.GreaterOrEqual(t, asked, tc.least)
			require.LessOrEqual(t, asked, tc.most)
		})
	}
}

// Where all have much to do, silence tells nothing of one: who is overloaded is not gone.
func TestSilenceTellsNothingWhereTheWayIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 5)
		settle()
		n.delay(2 * quickWay)
		frozen := fleet[3]
		frozen.set(func(p *fakePeers) { p.hung = true })
		fleet[0].peers.hint("default", hint{node: "n03", server: "S1"})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, b := range fleet {
			require.True(t, listedBy(b, "n03"), b.Name())
		}
		n.delay(0)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		for _, b := range without(fleet, frozen) {
			require.False(t, listedBy(b, "n03"), "%s: now it does", b.Name())
		}
	})
}

func TestAServerTellsOfADeathAndMillisecondsLaterItIsHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 5, WithProbeInterval(time.Hour))
		synctest.Wait()
		dead := fleet[1]
		dead.crash()
		n.died(hint{node: "n01", server: "S1", closed: true})
		time.Sleep(backAgain)
		synctest.Wait()
		for _, b := range without(fleet, dead) {
			require.False(t, listedBy(b, "n01"), b.Name())
		}
		// Who is connected anew by then is not touched, nor who does not answer.
		fleet[2].set(func(p *fakePeers) { p.at = "S2" })
		n.died(hint{node: "n02", server: "S1", closed: true})
		fleet[3].set(func(p *fakePeers) { p.hung = true })
		n.died(hint{node: "n03", server: "S1", closed: true})
		time.Sleep(time.Second)
		synctest.Wait()
		for _, b := range without(fleet, dead) {
			require.True(t, listedBy(b, "n02"), b.Name())
		}
		// Nor who is connected anew, or known through another server, a moment later.
		fleet[3].set(func(p *fakePeers) { p.hung = false })
		fleet[2].set(func(p *fakePeers) { p.at = "" })
		n.died(hint{node: "n02", server: "S2", closed: true})
		time.Sleep(backAgain / 2)
		fleet[2].set(func(p *fakePeers) { p.at = "S1" })
		fleet[4].crash()
		n.died(hint{node: "n04", server: "S1", closed: true})
		time.Sleep(backAgain)
		synctest.Wait()
		for _, b := range []*peeredBus{fleet[0], fleet[3]} {
			require.True(t, listedBy(b, "n02"), b.Name())
			require.False(t, listedBy(b, "n04"), b.Name())
		}
	})
}

func TestAServerThatDiesMakesNobodySuspectItsClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		var fleet []*peeredBus
		for i := range 12 {
			fleet = append(fleet, f.peered(t, n, fmt.Sprint("S", i%3), fmt.Sprintf("n%02d", i)))
		}
		time.Sleep(10 * time.Second)
		n.mu.Lock()
		n.down["S1"] = true
		n.mu.Unlock()
		// Its clients are slow to find another one.
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for i, b := range fleet {
			if i%3 != 1 {
				require.Len(t, b.Nodes("x").Slice(), 12, b.Name())
			}
		}
		for i, b := range fleet {
			if i%3 == 1 {
				b.move("S2")
			}
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, b := range fleet {
			require.Len(t, b.Nodes("x").Slice(), 12, b.Name())
			require.Empty(t, b.Snapshot().Suspects().Slice())
		}
		// One that dies at its new server is found.
		fleet[4].crash()
		time.Sleep(time.Second)
		synctest.Wait()
		require.False(t, listedBy(fleet[0], "n04"))
	})
}

func TestWhoIsCutOffSuspectsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 6)
		settle()
		// It can ask nobody, and nothing comes.
		alone := fleet[2]
		alone.move("")
		time.Sleep(fakeTTL)
		synctest.Wait()
		require.Equal(t, []string{"n02"}, names(fleet[0].Snapshot().Suspects().Slice()), "its lease is renewed, but it is not there")
		time.Sleep(2 * fakeTTL)
		synctest.Wait()
		require.Len(t, alone.Nodes("x").Slice(), 6)
		require.Empty(t, alone.Snapshot().Suspects().Slice())
		require.True(t, listedBy(fleet[0], "n02"), "nor would it be there by now, if it were gone")

		// Nor does it for a grace period after it is back, whatever it hears.
		alone.move("S1")
		fleet[4].freeze()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.True(t, listedBy(fleet[0], "n02"))
		require.True(t, listedBy(alone, "n04"))
		require.False(t, listedBy(fleet[0], "n04"))
	})
}

func TestAMassOfHintsEmptiesNoSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 21)
		settle()
		for _, b := range fleet[1:] {
			b.set(func(p *fakePeers) { p.hung = true })
			fleet[0].Scope.member.Load().prober.hear(hint{node: b.Name(), server: "S1"})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, fleet[0].Snapshot().Suspects().Slice(), 10, "half of the others, and no more")
		require.Len(t, fleet[0].Nodes("x").Slice(), 11)
		for _, b := range fleet[1:] {
			b.set(func(p *fakePeers) { p.hung = false })
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		require.Len(t, fleet[0].Nodes("x").Slice(), 21)
	})
}

// Deaths that follow one another are no mass, though all the dead keep their leases.
func TestManyDeathsOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 3, WithTTL(time.Hour))
		for i := range 20 {
			b := f.peered(t, n, "S1", fmt.Sprint("short-lived-", i), WithTTL(time.Hour))
			settle()
			b.crash()
			n.died(hint{node: b.Name(), server: "S1", closed: true})
			time.Sleep(backAgain)
			synctest.Wait()
			require.Len(t, fleet[0].Nodes("x").Slice(), 3)
		}
		require.Len(t, fleet[0].Snapshot().Suspects().Slice(), 20)
	})
}

func TestAFloodOfHintsIsNoFloodOfProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 4)
		settle()
		before := n.asked("n03")
		const seconds = 20
		for range seconds * 100 {
			for range 10 {
				require.NoError(t, fleet[0].peers.hint("default", hint{node: "n03", server: "S1"}))
			}
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		most := 4 * (checksInBurst + (seconds*2+1)*(checksPerRound+probesPerRound))
		require.Less(t, n.asked("n03")-before, most*6/5, "20,000 hints; the interval is up to a tenth shorter")
		require.True(t, listedBy(fleet[1], "n03"))
	})
}

func TestANewcomerLearnsWhomTheOthersSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 8)
		settle()
		fleet[4].crash()
		time.Sleep(time.Second)
		// Its place in the ring is right before the dead one.
		newcomer := f.peered(t, n, "S1", nameBefore(fleet[0].Snapshot(), fleet[4].Name()))
		o := f.peered(t, n, "S1", "o", WithObserver())
		time.Sleep(time.Second)
		synctest.Wait()
		require.False(t, listedBy(newcomer, "n04"))
		require.False(t, listedBy(o, "n04"))
		// And the one after the dead one has somebody who looks after it.
		fleet[5].crash()
		time.Sleep(time.Second)
		synctest.Wait()
		require.False(t, listedBy(fleet[0], "n05"))
	})
}

// A member that answers and asks nobody leaves the next one to whoever asked it.
func TestBehindPassiveMembersADeathIsSeenAsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		active := []*peeredBus{f.peered(t, n, "S1", "n00"), f.peered(t, n, "S1", "n04")}
		passive := map[string]*peeredBus{}
		for _, node := range []string{"n01", "n02", "n03", "n05", "n06"} {
			passive[node] = f.peered(t, n, "S1", node, WithProbeInterval(0))
		}
		settle()
		for _, node := range []string{"n03", "n06"} {
			passive[node].crash()
			time.Sleep(time.Second)
			synctest.Wait()
			for _, b := range active {
				require.False(t, listedBy(b, node), "%s lists %s", b.Name(), node)
			}
		}
	})
}

// One alone among many that ask nobody gets round to all of them, some in each round.
func TestOneWhoAsksAmongManyPassive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count, interval = 5*answersPerRound + 3, 500 * time.Millisecond
		f, n := newFakeBucket(), newFakeNet()
		active := f.peered(t, n, "S1", "n00")
		var passive []*peeredBus
		for i := range count {
			passive = append(passive, f.peered(t, n, "S1", fmt.Sprintf("n%02d", i+1), WithProbeInterval(0)))
		}
		time.Sleep(10 * time.Second) // all have answered
		before := n.askedInAll()
		time.Sleep(10 * time.Second)
		asked := n.askedInAll() - before
		require.LessOrEqual(t, asked, 20*2*(answersPerRound+1), "some in each round")
		for _, at := range []int{count - 1, 0, count / 2} {
			passive[at].crash()
			time.Sleep((count/answersPerRound+3)*interval + time.Second)
			synctest.Wait()
			require.False(t, listedBy(active, passive[at].Name()), passive[at].Name())
		}
		require.Len(t, active.Nodes("x").Slice(), 1+count-3)
	})
}

// A client that answers no probes loses its connection, once, and the servers tell.
func TestASuspicionEndsWhereTheBucketStillHoldsTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 3)
		deaf := f.bus(t, "deaf", WithRoles("x"), WithTTL(3*time.Second))
		settle()
		everywhere := func(listed bool, when string) {
			synctest.Wait()
			for _, b := range fleet {
				require.Equal(t, listed, listedBy(b, "deaf"), "%s, %s", b.Name(), when)
			}
		}
		lost := hint{node: "deaf", server: "S1", closed: true}
		n.died(lost)
		time.Sleep(time.Second)
		everywhere(false, "its connection was closed, and nobody listens for it")
		time.Sleep(3*time.Second + maxLate)
		everywhere(true, "its lease would have ended")
		for range 20 {
			n.died(lost)
			time.Sleep(time.Second)
			everywhere(true, "that nobody listens says nothing of it")
		}
		require.NoError(t, deaf.AddRoles(t.Context(), "y"))
		n.died(lost)
		time.Sleep(time.Second)
		everywhere(true, "nor of its next state")
		deaf.crash()
		time.Sleep(3*time.Second + 500*time.Millisecond)
		everywhere(false, "its lease has ended")

		// Its next life may answer.
		again := f.peered(t, n, "S1", "deaf")
		settle()
		everywhere(true, "it is back")
		again.crash()
		time.Sleep(time.Second)
		everywhere(false, "it answered, and does not any more")
	})
}

// Who outlived a suspicion because the way to it was broken is asked again, and suspected again, once it answers.
func TestWhoOutlivedASuspicionAndAnswersCanBeSuspectedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 4)
		settle()
		victim := fleet[2]
		victim.set(func(p *fakePeers) { p.at = "" })
		time.Sleep(fakeTTL)
		synctest.Wait()
		require.False(t, listedBy(fleet[0], "n02"))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.True(t, listedBy(fleet[0], "n02"))
		victim.set(func(p *fakePeers) { p.at = "S1" })
		time.Sleep(10 * time.Second)
		victim.crash()
		time.Sleep(time.Second)
		synctest.Wait()
		require.False(t, listedBy(fleet[0], "n02"))
	})
}

func TestWhoNeverAnsweredIsNotSuspected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 3)
		mute := f.bus(t, "n01b", WithRoles("x")) // listens to nobody: a program in another language
		time.Sleep(5 * time.Second)
		fleet[2].crash()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"n00", "n01", "n01b"}, names(fleet[0].Nodes("x").Slice()), "the ring goes on behind it")
		require.NoError(t, mute.Err())
	})
}

// Also while this process suspects nobody, because it may be the one that is cut off: who answers is there.
func TestASuspectThatAnswersIsBackWhateverIsBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := []*peeredBus{
			f.peered(t, n, "S1", "n00"), f.peered(t, n, "S1", "n01", WithProbeInterval(0)), // who hears no hint says nothing
			f.peered(t, n, "S1", "n02"),
		}
		settle()
		fleet[1].set(func(p *fakePeers) { p.hung = true })
		time.Sleep(5 * time.Second)
		require.False(t, listedBy(fleet[0], "n01"))
		fleet[0].Scope.member.Load().trust.shake(time.Now())
		fleet[1].set(func(p *fakePeers) { p.hung = false })
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, listedBy(fleet[0], "n01"))
	})
}

// Who restarts listens before it has written its record, and may wait long for a leader to write it to.
func TestTheNextLifeDoesNotAnswerForTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 4)
		settle()
		logs := watchLog(t.Context(), fleet[0].Scope)
		logs.take()
		fleet[1].crash()
		time.Sleep(time.Second)
		require.Equal(t, []string{"RoleRemoved n01 x unreachable", "NodeLeft n01 unreachable"}, logs.take())
		_, err := fleet[3].peers.answer("default", "n01", func() answer { return answer{} })
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		require.Empty(t, logs.take())
	})
}

func TestASuspectThatChangesIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 3)
		settle()
		fleet[1].set(func(p *fakePeers) { p.hung = true }) // its bucket connection goes on
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.False(t, listedBy(fleet[0], "n01"))
		require.NoError(t, fleet[1].AddRoles(t.Context(), "y"))
		synctest.Wait()
		require.True(t, listedBy(fleet[0], "n01"))
	})
}

func TestAHintIsCheckedAndNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 4)
		settle()
		logs := watchLog(t.Context(), fleet[0].Scope)
		logs.take()
		incarnation := fleet[3].Snapshot().named.get("n03").id.incarnation
		require.NoError(t, fleet[1].peers.hint("default", hint{node: "n03", server: "S1"}))
		require.NoError(t, fleet[1].peers.hint("default", hint{node: "n02", server: "S1", incarnation: incarnation}))
		n.died(hint{node: "n01", server: "S1", closed: true})
		time.Sleep(5 * time.Second)
		require.Empty(t, logs.take(), "they answer")
	})
}

func TestWhoIsAwayForAMomentIsNotHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 4)
		settle()
		logs := watchLog(t.Context(), fleet[0].Scope)
		logs.take()
		for range 40 { // at any moment of a round
			fleet[2].set(func(p *fakePeers) { p.at = "" })
			time.Sleep(absentAgain - time.Millisecond)
			fleet[2].set(func(p *fakePeers) { p.at = "S1" })
			time.Sleep(time.Second - 61*time.Millisecond)
		}
		require.Empty(t, logs.take())
	})
}

// A new life may be a program in another language, which answers nobody.
func TestANewLifeThatNeverAnsweredIsNotSuspected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 3)
		settle()
		fleet[1].crash()
		f.bus(t, "n01", WithRoles("new"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"n01"}, names(fleet[0].Nodes("new").Slice()))
		require.Empty(t, fleet[0].Snapshot().Suspects().Slice())
	})
}

// A verdict takes its time. Who says something meanwhile is there.
func TestWhoIsHeardOfWhileItIsAskedIsNotHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := []*peeredBus{f.peered(t, n, "S1", "n00"), f.peered(t, n, "S1", "n01", WithProbeInterval(0))}
		settle()
		logs := watchLog(t.Context(), fleet[0].Scope)
		logs.take()
		before := n.asked("n01")
		fleet[1].set(func(p *fakePeers) { p.hung = true })
		for end := time.Now().Add(5 * time.Second); n.asked("n01") < before+silentTries+1; {
			require.True(t, time.Now().Before(end), "it is asked")
			time.Sleep(10 * time.Millisecond)
		}
		// The last question will not be answered any more.
		fleet[1].set(func(p *fakePeers) { p.hung = false })
		require.NoError(t, fleet[1].AddRoles(t.Context(), "y"))
		time.Sleep(5 * time.Second)
		require.Equal(t, []string{"RoleAdded n01 y"}, logs.take())
	})
}

// slowLink is a way to the bucket on which an announcement that cannot be read keeps the scope's loop busy.
type slowLink struct {
	*fakeLink
	busy chan struct{}
}

func (l *slowLink) decode(msg *nats.Msg) (change, error) {
	if len(msg.Data) > 0 {
		<-l.busy
	}
	return l.fakeLink.decode(msg)
}

// slowGoodbye is a bucket that takes its time for goodbyes.
type slowGoodbye struct{ store }

func (s slowGoodbye) bury(ctx context.Context, scope string, c change, replaces uint64) error {
	sleep(ctx, 1500*time.Millisecond) // within what a request may take
	return s.store.bury(ctx, scope, c, replaces)
}

// Who leaves hears no goodbyes any more. It must not take those who leave with it for dead, nor tell others to look.
func TestWhoLeavesSuspectsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 6)
		settle()
		leaver := fleet[0]
		k := leaver.member.Load().keeper
		k.store = slowGoodbye{k.store}
		seen := watchLog(t.Context(), leaver.Scope)
		seen.take()
		left := make(chan error)
		go func() { left <- leaver.Leave(t.Context(), leaver.Scope.Name()) }()
		time.Sleep(50 * time.Millisecond)
		require.NoError(t, fleet[1].Close())
		require.NoError(t, fleet[2].Close())
		require.NoError(t, <-left)
		for _, line := range seen.take() {
			require.NotContains(t, line, "unreachable")
		}
	})
}

func TestAGoodbyeComesBeforeAVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		o, err := newOptions([]Option{WithNode("o"), WithObserver()})
		require.NoError(t, err)
		link := &slowLink{f.link(), make(chan struct{})}
		b := newBus(o, newNoise(o.log), link)
		require.NoError(t, b.open(t.Context(), false))
		defer func() { _ = b.Close() }()
		logs := watchLog(t.Context(), b.Scope)
		m := b.member.Load()
		for range 10 { // which of two that wait is taken first is left to chance
			leaver := f.bus(t, "n", WithRoles("x"))
			synctest.Wait()
			logs.take()
			snap := b.Snapshot()
			m.feed.messages <- garbage()
			synctest.Wait()
			require.NoError(t, leaver.Close())
			m.feed.messages <- garbage() // so that the watcher sees what comes before it
			go m.judge(t.Context(), verdict{node: "n", incarnation: snap.named.get("n").id.incarnation, began: snap.serial})
			synctest.Wait()
			link.busy <- struct{}{}
			synctest.Wait()
			link.busy <- struct{}{}
			require.Equal(t, []string{"RoleRemoved n x left", "NodeLeft n left"}, logs.take())
		}
	})
}

func TestOffMeansOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 3)
		off := f.peered(t, n, "S1", "off", WithProbeInterval(0))
		settle()
		require.Positive(t, n.asked("off"), "others look after it")
		fleet[1].crash()
		n.died(hint{node: "n01", server: "S1", closed: true})
		time.Sleep(time.Second)
		synctest.Wait()
		require.False(t, listedBy(fleet[0], "n01"))
		require.True(t, listedBy(off, "n01"))
	})
}

func TestWhoMayNotProbeGoesByTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 3)
		o := f.peered(t, n, "S1", "o", WithObserver())
		o.set(func(p *fakePeers) { p.forbidden = true })
		settle()
		fleet[1].crash()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.False(t, listedBy(fleet[0], "n01"))
		require.True(t, listedBy(o, "n01"), "nobody vouches: its own questions may be lost")
		time.Sleep(fakeTTL)
		synctest.Wait()
		require.False(t, listedBy(o, "n01"))
	})
}

func TestTheProbesOfALargeScopeAreBounded(t *testing.T) {
	for size, want := range map[int]time.Duration{
		0: 500 * time.Millisecond, 500: 500 * time.Millisecond, 1000: time.Second, 10_000: 10 * time.Second,
	} {
		p := &prober{interval: 500 * time.Millisecond, snap: func() *Snapshot { return &Snapshot{members: list{nodes: make([]*Node, size)}} }}
		require.Equal(t, want, p.pace(), size)
		require.LessOrEqual(t, float64(size)/p.pace().Seconds(), float64(nodesPerSecond))
	}
}
