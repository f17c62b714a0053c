package rolebus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever is skipped: who left as unreachable is told once more, either as joined or as buried, and nobody else is buried.
func TestWhoLeftAsUnreachableIsBackOrBuried(t *testing.T) {
	rng := seeded(t)
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			s, _ := loneScope(t)
			nodes := []string{"a", "b", "c", "d"}
			lives, generation := map[string]uint64{}, uint64(0)
			step := func(h heard) {
				next, _ := h.apply(t, s.Snapshot(), 0)
				s.publish(next)
			}
			start := func(node string) {
				lives[node]++
				generation++
				step(heard{changes: []change{stateOf(node, lives[node], 1, generation, "x")}})
			}
			bury := func(node string) {
				generation++
				step(heard{changes: []change{pick(rng, leftOf, expiredOf)(node, lives[node], 2, generation)}})
			}
			for _, node := range nodes {
				start(node)
			}
			step(heard{found: silent("a", 1)}) // before the watch: it will not hear of it, unless it comes back

			ctx, cancel := context.WithCancel(t.Context())
			now, ended := map[string]Event{}, make(chan struct{})
			go func() {
				defer close(ended)
				for ev := range s.Watch(ctx) {
					name := ev.Node.Name()
					last := now[name]
					missed := last.Kind == NodeLeft && last.Reason == ReasonUnreachable
					switch ev.Kind {
					case NodeJoined:
						if last.Kind == NodeJoined {
							t.Errorf("%s joined twice", name)
						}
						now[name] = ev
					case NodeLeft:
						if last.Kind != NodeJoined {
							t.Errorf("%s left, and was not there", name)
						}
						now[name] = ev
					case NodeBuried:
						if !missed || ev.Reason == ReasonUnreachable || ev.Reason == 0 {
							t.Errorf("%s buried as %v after %v as %v", name, ev.Reason, last.Kind, last.Reason)
						}
						now[name] = ev
					}
				}
			}()
			synctest.Wait()
			for range 60 {
				node := pick(rng, nodes...)
				switch rng.IntN(6) {
				case 0:
					start(node)
				case 1:
					bury(node)
				case 2, 3:
					step(heard{found: silent(node, lives[node])})
				case 4:
					step(heard{found: []verdict{{node: node, incarnation: lives[node], reachable: true}}})
				case 5:
					synctest.Wait() // until the watch has seen it
				}
			}
			for _, node := range nodes {
				bury(node)
			}
			synctest.Wait()
			for name, ev := range now {
				require.NotEqual(t, NodeJoined, ev.Kind, name)
				require.NotEqual(t, ReasonUnreachable, ev.Reason, "%s was neither joined again nor buried", name)
			}
			cancel()
			<-ended
		})
	}
}

func TestAWatchThatBeganWithASuspectTellsNothingOfItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := loneScope(t)
		heard{changes: []change{stateOf("a", 1, 1, 1), stateOf("b", 1, 1, 2)}}.publish(t, s)
		older := watchLog(t.Context(), s)
		require.Equal(t, []string{"NodeJoined a", "NodeJoined b"}, older.take())
		heard{found: silent("a", 1)}.publish(t, s)
		require.Equal(t, []string{"NodeLeft a unreachable"}, older.take())
		younger := watchLog(t.Context(), s)
		require.Equal(t, []string{"NodeJoined b"}, younger.take())
		heard{changes: []change{expiredOf("a", 1, 1001, 3)}}.publish(t, s)
		require.Equal(t, []string{"NodeBuried a expired"}, older.take())
		require.Empty(t, younger.take())
	})
}

// Stop at once, hand on when it is certain: what is killed is heard of twice, and what only hangs is back.
func TestAHandlerHearsOfALossAndThenWhetherItIsCertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, n := newFakeBucket(), newFakeNet()
		heard := make(chan Event, 100)
		note := func(ev Event) { heard <- ev }
		f.peered(t, n, "S1", "n00", WithHandler(Handler{OnNodeLeft: note, OnNodeBuried: note}))
		hangs, dead := f.peered(t, n, "S1", "n01"), f.peered(t, n, "S1", "n02")
		f.peered(t, n, "S1", "n03")
		f.peered(t, n, "S1", "n04")
		settle()
		left := func(b *peeredBus) {
			t.Helper()
			time.Sleep(4 * time.Second)
			synctest.Wait()
			require.Len(t, heard, 1)
			ev := <-heard
			require.Equal(t, NodeLeft, ev.Kind)
			require.Equal(t, ReasonUnreachable, ev.Reason)
			require.Equal(t, b.Name(), ev.Node.Name())
			require.Nil(t, ev.Snapshot().Node(b.Name()))
			require.NotNil(t, ev.Snapshot().Suspects().Find(b.Name()))
		}
		hangs.freeze()
		left(hangs)
		hangs.thaw()
		time.Sleep(2 * fakeTTL)
		synctest.Wait()
		require.Empty(t, heard, "it is back")
		dead.crash()
		left(dead)
		time.Sleep(fakeTTL)
		synctest.Wait()
		require.Len(t, heard, 1)
		ev := <-heard
		require.Equal(t, NodeBuried, ev.Kind)
		require.Equal(t, "n02", ev.Node.Name())
		require.Equal(t, ReasonExpired, ev.Reason)
		require.NotZero(t, ev.Generation, "that of the tombstone")
	})
}
