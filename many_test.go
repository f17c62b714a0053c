package rolebus

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Many at once: deaths, silences, resets, and their ends.

// shuffled returns a fleet in an order that a seed gives.
func shuffled(fleet []*peeredBus, seed uint64) []*peeredBus {
	rnd := rand.New(rand.NewPCG(seed, 1))
	out := make([]*peeredBus, 0, len(fleet))
	for _, i := range rnd.Perm(len(fleet)) {
		out = append(out, fleet[i])
	}
	return out
}

func requireListed(t *testing.T, by []*peeredBus, count int, when string) {
	t.Helper()
	synctest.Wait()
	for _, b := range by {
		require.Equal(t, count, b.Snapshot().Members().Len(), "%s, %s", b.Name(), when)
	}
}

func TestMostOfAFleetDiesAtOnceAndIsGoneWithinASecond(t *testing.T) {
	for _, tc := range []struct{ size, dead int }{{1, 1}, {3, 2}, {3, 3}, {6, 5}, {12, 11}, {12, 12}, {12, 8}, {40, 38}} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprintf("%d of %d, %d", tc.dead, tc.size, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f, n := newFakeBucket(), newFakeNet()
					fleet := shuffled(peeredFleet(t, f, n, tc.size), seed)
					o := f.peered(t, n, "S1", "o", WithObserver())
					time.Sleep(5*time.Second + time.Duration(seed)*110*time.Millisecond)
					for _, b := range fleet[:tc.dead] {
						b.crash()
					}
					time.Sleep(time.Second)
					requireListed(t, append(fleet[tc.dead:], o), tc.size-tc.dead, "after a second")
				})
			})
		}
	}
}

// Who has lost the first answer of each of the others has heard them all the same.
func TestAFirstAnswerThatIsLostHidesNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		n.losing = true
		fleet := peeredFleet(t, f, n, 8)
		time.Sleep(10 * time.Second)
		for _, b := range fleet[1:] {
			b.crash()
		}
		time.Sleep(3 * time.Second)
		requireListed(t, fleet[:1], 1, "long before their leases end")
	})
}

func TestMostOfAFleetDiesAndTheServerTells(t *testing.T) {
	for _, tc := range []struct{ size, dead int }{{3, 2}, {6, 5}, {12, 11}, {40, 38}} {
		synctest.Test(t, func(t *testing.T) {
			f, n := newFakeBucket(), newFakeNet()
			fleet := peeredFleet(t, f, n, tc.size, WithProbeInterval(time.Hour))
			o := f.peered(t, n, "S1", "o", WithObserver(), WithProbeInterval(time.Hour))
			for _, b := range fleet[:tc.dead] {
				b.crash()
				n.died(hint{node: b.Name(), server: "S1", closed: true})
			}
			time.Sleep(backAgain + time.Millisecond)
			requireListed(t, append(fleet[tc.dead:], o), tc.size-tc.dead, "as soon as they cannot be back")
		})
	}
}

// The server of a process may be cut off from the fleet, and the process with it. Then no leader answers it.
func TestMoreThanHalfAreGoneOnlyWhereTheLeaderAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 12)
		settle()
		alone := fleet[0]
		alone.link.setCut(true)
		for _, b := range fleet[1:] {
			b.set(func(p *fakePeers) { p.at = "" })
			n.died(hint{node: b.Name(), server: "S1", closed: true})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.GreaterOrEqual(t, alone.Snapshot().Members().Len(), 6)
	})
}

// The processes of one host fall silent together: its power is gone, or its network.
func TestAHostThatFallsSilentIsGoneInTheTimeOfOne(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			f, n := newFakeBucket(), newFakeNet()
			fleet := peeredFleet(t, f, n, 12)
			silent, others := fleet[:5], fleet[5:]
			if seed > 0 {
				fleet = shuffled(fleet, seed)
				silent, others = fleet[:5], fleet[5:]
			}
			time.Sleep(5*time.Second + time.Duration(seed)*57*time.Millisecond)
			for _, b := range silent {
				b.freeze()
			}
			time.Sleep(4*time.Second - 1)
			requireListed(t, others, 7, "before four seconds are over")
			for _, b := range silent {
				b.thaw()
			}
			time.Sleep(100 * time.Millisecond)
			requireListed(t, others, 12, "they heard that they are suspected, and said that they are there")
		})
	}
}

// A proxy in between breaks all connections at once.
func TestAResetOfAllConnectionsHidesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 12)
		o := f.peered(t, n, "S1", "o", WithObserver()) // whose connection goes another way
		time.Sleep(5 * time.Second)
		logs := watchLog(t.Context(), o.Scope)
		logs.take()
		for _, b := range fleet {
			b.move("")
			n.died(hint{node: b.Name(), server: "S1", closed: true})
		}
		time.Sleep(backAgain - 5*time.Millisecond)
		for _, b := range fleet {
			b.move("S1")
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Empty(t, logs.take())
	})
}

// Whose connection is back later than that is listed again at once.
func TestWhoIsConnectedAnewIsListedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 6)
		passive := f.peered(t, n, "S1", "p", WithProbeInterval(0))
		settle()
		for _, b := range []*peeredBus{fleet[2], passive} {
			for range 10 {
				b.move("")
				n.died(hint{node: b.Name(), server: "S1", closed: true})
				time.Sleep(backAgain + 10*time.Millisecond)
				synctest.Wait()
				others := without(fleet, b)
				require.False(t, listedBy(others[0], b.Name()))
				b.move("S1")
				synctest.Wait()
				for _, other := range others {
					if other.Scope.member.Load().trust.calm(time.Now()) == forEver {
						require.True(t, listedBy(other, b.Name()), "%s lists %s", other.Name(), b.Name())
					}
				}
				time.Sleep(time.Second)
			}
		}
	})
}

// All clients of a server that has gone are connected anew at about the same time, and nobody has hidden them.
func TestOnlyWhoseServerIsStillThereSaysThatItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 6)
		var said atomic.Int32
		o := f.peered(t, n, "S9", "o", WithObserver(), WithProbeInterval(0))
		_, err := o.peers.hints("default", func(h hint) {
			if h.back {
				said.Add(1)
			}
		})
		require.NoError(t, err)
		settle()
		for _, b := range fleet {
			b.move("")
		}
		for _, b := range fleet {
			b.move("S2") // S1 has gone: nobody is a witness for it
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.Zero(t, said.Load())
		fleet[0].move("S3") // and others stay at S2
		time.Sleep(time.Second)
		synctest.Wait()
		require.EqualValues(t, 1, said.Load())
	})
}

// suspicions counts them.
type suspicions struct{ atomic.Int32 }

func (s *suspicions) OnSuspected(SuspectedInfo) { s.Add(1) }

// A node says that it is there while somebody is about to hide it.
func TestWhoSaysThatItIsThereIsAskedBeforeItIsHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		hook := &suspicions{}
		fleet := []*peeredBus{f.peered(t, n, "S1", "n00", WithHooks(hook)), f.peered(t, n, "S1", "n01")}
		settle()
		p := fleet[0].Scope.member.Load().prober
		node := fleet[0].Snapshot().named.get("n01")
		began := p.now(node)
		fleet[1].Scope.member.Load().speak()
		p.blame(t.Context(), hint{node: "n01", incarnation: node.id.incarnation, server: "S1"}, false, began)
		synctest.Wait()
		require.Zero(t, hook.Load())
		began = p.now(node)
		p.blame(t.Context(), hint{node: "n01", incarnation: node.id.incarnation, server: "S1"}, false, began)
		synctest.Wait()
		require.EqualValues(t, 1, hook.Load(), "it did not say so again")
	})
}

// Anybody may say that another one is there. It is asked, and no more.
func TestToSayThatSomebodyIsThereKeepsNobodyListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		fleet := peeredFleet(t, f, n, 4)
		settle()
		fleet[1].crash()
		for range 100 {
			require.NoError(t, fleet[2].peers.hint("default", hint{node: "n01", server: "S1", back: true}))
			time.Sleep(10 * time.Millisecond)
		}
		requireListed(t, []*peeredBus{fleet[0], fleet[2], fleet[3]}, 3, "whatever is said")
		before := n.asked("n01")
		for range 1000 {
			require.NoError(t, fleet[2].peers.hint("default", hint{node: "n01", server: "S1", back: true}))
		}
		time.Sleep(100 * time.Millisecond)
		require.LessOrEqual(t, n.asked("n01")-before, 3*(checksInBurst+2*revisitsAtOnce))
	})
}
