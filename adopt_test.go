package rolebus

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// adoptedFrom returns a snapshot of the nodes a and c and of the end of b, as known from one bucket, and what of it is left in
// another one.
func adoptedFrom(t *testing.T) *Snapshot {
	t.Helper()
	snap := newSnapshot("s", "me").adopt("one", cacheEpoch)
	snap, _ = heard{changes: []change{
		stateOf("a", 5, 1, 1, "x"), stateOf("b", 5, 1, 2), stateOf("c", 5, 1, 3), stateOf("me", 5, 1, 4),
	}}.apply(t, snap, 5)
	snap, _ = heard{changes: []change{leftOf("b", 5, 2, 5)}}.apply(t, snap, 5)
	snap = snap.adopt("two", cacheEpoch)
	requireSound(t, snap)
	require.Equal(t, []string{"a 5.1 @1 x?", "c 5.1 @3 ?", "me 5.1 @4"}, describe(snap))
	require.Equal(t, cacheEpoch.Add(cacheGrace), snap.due)
	return snap
}

func TestNodesOfAnotherFleetGiveWay(t *testing.T) {
	snap := adoptedFrom(t)
	there := []change{stateOf("a", 3, 2, 1, "y"), stateOf("b", 3, 1, 2), stateOf("me", 5, 2, 3)}
	// Who had a node of its name go in the other fleet is listed at once; who has one there that may be of this fleet, after all,
	// when that has not written its record again for long enough.
	snap, _ = heard{at: time.Second, whole: true, changes: there}.apply(t, snap, 5)
	require.Equal(t, []string{"a 5.1 @1 x?", "b 3.1 @2", "c 5.1 @3 ?", "me 5.2 @3"}, describe(snap))
	snap, _ = heard{at: cacheGrace, whole: true, deaf: true, changes: there}.apply(t, snap, 5)
	require.Equal(t, []string{"a 5.1 @1 x?", "b 3.1 @2", "c 5.1 @3 ?", "me 5.2 @3"}, describe(snap), "the bus is in trouble")
	snap, _ = heard{at: cacheGrace, whole: true, changes: there}.apply(t, snap, 5)
	require.Equal(t, []string{"a 3.2 @1 y", "b 3.1 @2", "me 5.2 @3"}, describe(snap))
	require.Zero(t, snap.due)
	// Nothing is left of c, either.
	snap, _ = heard{at: cacheGrace, changes: []change{stateOf("c", 2, 1, 4)}}.apply(t, snap, 5)
	require.Equal(t, []string{"a 3.2 @1 y", "b 3.1 @2", "c 2.1 @4", "me 5.2 @3"}, describe(snap))
}

func TestNodesOfABucketMadeAnewStay(t *testing.T) {
	snap := adoptedFrom(t)
	snap, _ = heard{at: time.Second, changes: []change{stateOf("a", 5, 2, 1, "x"), stateOf("c", 6, 1, 2)}}.apply(t, snap, 5)
	require.Equal(t, []string{"a 5.2 @1 x", "c 6.1 @2", "me 5.1 @4"}, describe(snap))
	require.Zero(t, snap.due)
	// An older state of before, however it came into the bucket, is none of theirs.
	snap, _ = heard{at: 2 * time.Second, changes: []change{stateOf("a", 5, 1, 3, "y")}}.apply(t, snap, 5)
	require.Equal(t, []string{"a 5.2 @1 x?", "c 6.1 @2", "me 5.1 @4"}, describe(snap))
	// And who has ended there has ended.
	snap, _ = heard{at: time.Second, changes: []change{leftOf("c", 6, 2, 4)}}.apply(t, snap, 5)
	snap, _ = heard{at: time.Second, changes: []change{stateOf("c", 6, 1, 5)}}.apply(t, snap, 5)
	require.Equal(t, []string{"a 5.2 @1 x?", "me 5.1 @4"}, describe(snap))
}

func TestADoubtOfBeforeRunsOutWhenItWouldHave(t *testing.T) {
	snap := newSnapshot("s", "").adopt("one", cacheEpoch)
	snap, _ = heard{changes: []change{stateOf("a", 5, 1, 1)}}.apply(t, snap, 0)
	snap, _ = heard{deaf: true, changes: []change{expiredOf("a", 5, 9, 2)}}.apply(t, snap, 0)
	snap = snap.adopt("two", cacheEpoch.Add(time.Minute))
	require.Equal(t, cacheEpoch.Add(cacheGrace), snap.due)
	require.Same(t, snap, snap.adopt("two", cacheEpoch))
	require.Same(t, snap, snap.adopt("", cacheEpoch))
}
