package rolebus

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var seedFlag = flag.Uint64("seed", 0, "repeats the random tests with this seed")

func seeded(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("to repeat: -seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

func stateOf(node string, incarnation, version, generation uint64, roles ...Role) change {
	return change{
		kind: kindState, node: node, id: life{incarnation, version}, generation: generation, ttl: cacheTTL, roles: roleSet(roles),
	}
}

func deltaOf(node string, incarnation, base, version, generation uint64, added, removed []Role) change {
	return change{
		kind: kindDelta, node: node, id: life{incarnation, version}, base: base, generation: generation,
		added: roleSet(added), removed: roleSet(removed),
	}
}

func noticeOf(node string, incarnation, version, generation uint64) change {
	return change{kind: kindNotice, node: node, id: life{incarnation, version}, generation: generation}
}

func leftOf(node string, incarnation, version, generation uint64) change {
	return change{kind: kindLeft, node: node, id: life{incarnation, version}, generation: generation}
}

func expiredOf(node string, incarnation, version, generation uint64) change {
	return change{kind: kindExpired, node: node, id: life{incarnation, version}, generation: generation}
}

var cacheEpoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	cacheTTL   = 15 * time.Second
	cacheGrace = 20 * time.Second // of cacheTTL
)

// calmUnless is for how long the bus is as it should be.
func calmUnless(deaf bool) time.Duration {
	if deaf {
		return cacheGrace - 1
	}
	return forEver
}

// heard is what a scope's loop hears, and what comes of it. "a 1.2 @7 x,y" is node a in incarnation 1 and version 2,
// with its record at generation 7 and roles x and y; a question mark means that it is in doubt.
type heard struct {
	at      time.Duration // since the beginning
	changes []change
	whole   bool
	early   uint64        // whole: how many snapshots ago the reading began
	deaf    bool          // expired is not believed
	fresh   time.Duration // the server's clock has been known for that much less than for ever
	found   []verdict
	want    []string
	fetch   map[string]life
	reread  bool // everything must be read
	same    bool // nothing follows: not even a new snapshot
}

func (h heard) apply(t *testing.T, snap *Snapshot, own uint64) (*Snapshot, map[string]life) {
	t.Helper()
	before := picture(snap)
	next, gap := snap.apply(news{
		changes: h.changes, verdicts: h.found, whole: h.whole, began: snap.serial - h.early, own: own,
		now: cacheEpoch.Add(h.at), due: cacheEpoch.Add(h.at), calm: calmUnless(h.deaf), followed: forEver - h.fresh,
	})
	require.Equal(t, before, picture(snap), "a snapshot never changes")
	requireSound(t, next)
	require.Equal(t, h.reread, gap.whole, "whether everything must be read")
	return next, gap.nodes
}

func describe(snap *Snapshot) []string {
	var lines []string
	for _, n := range snap.members.all(nil) {
		line := fmt.Sprintf("%s %d.%d @%d %s", n.name, n.id.incarnation, n.id.version, n.generation, commas(n.roles))
		if snap.doubts.find(n.name) != nil {
			line += "?"
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

func commas(roles []Role) string {
	var out []string
	for _, role := range roles {
		out = append(out, string(role))
	}
	return strings.Join(out, ",")
}

func TestApply(t *testing.T) {
	type fetches = map[string]life
	const hour = time.Hour
	for _, tc := range []struct {
		name  string
		self  string
		own   uint64
		steps []heard
	}{
		{name: "a state is taken whole", steps: []heard{
			{changes: []change{stateOf("b", 1, 1, 1, "x")}, want: []string{"b 1.1 @1 x"}},
			{changes: []change{stateOf("a", 1, 1, 2), stateOf("c", 1, 1, 3, "y", "x")}, want: []string{"a 1.1 @2", "b 1.1 @1 x", "c 1.1 @3 x,y"}},
			{changes: []change{stateOf("b", 1, 5, 9, "z")}, want: []string{"a 1.1 @2", "b 1.5 @9 z", "c 1.1 @3 x,y"}},
			{changes: []change{stateOf("c", 2, 1, 10, "w")}, want: []string{"a 1.1 @2", "b 1.5 @9 z", "c 2.1 @10 w"}},
		}},
		{name: "what was heard before changes nothing", steps: []heard{
			{changes: []change{stateOf("a", 2, 3, 7, "x")}, want: []string{"a 2.3 @7 x"}},
			{changes: []change{stateOf("a", 2, 3, 7, "x")}, want: []string{"a 2.3 @7 x"}, same: true},
			{changes: []change{deltaOf("a", 2, 2, 3, 7, []Role{"q"}, nil)}, want: []string{"a 2.3 @7 x"}, same: true},
			{changes: []change{noticeOf("a", 2, 3, 7)}, want: []string{"a 2.3 @7 x"}, same: true},
			{whole: true, changes: []change{stateOf("a", 2, 3, 7, "x")}, want: []string{"a 2.3 @7 x"}, same: true},
			{want: []string{"a 2.3 @7 x"}, same: true},
		}},
		{name: "what is older changes nothing", steps: []heard{
			{changes: []change{stateOf("a", 2, 3, 7, "x")}, want: []string{"a 2.3 @7 x"}},
			{changes: []change{stateOf("a", 2, 2, 6, "y")}, want: []string{"a 2.3 @7 x"}, same: true},
			{changes: []change{stateOf("a", 1, 9, 5, "y")}, want: []string{"a 2.3 @7 x"}, same: true},
			{changes: []change{deltaOf("a", 2, 1, 2, 6, []Role{"q"}, nil)}, want: []string{"a 2.3 @7 x"}, same: true},
			{changes: []change{noticeOf("a", 1, 9, 5)}, want: []string{"a 2.3 @7 x"}, same: true},
			{changes: []change{stateOf("a", 2, 2, 7, "y")}, want: []string{"a 2.3 @7 x"}, same: true},
		}},
		{name: "an older state at a newer generation casts a doubt", steps: []heard{
			{changes: []change{stateOf("a", 2, 3, 7, "x")}, want: []string{"a 2.3 @7 x"}},
			{changes: []change{stateOf("a", 2, 2, 8, "y")}, want: []string{"a 2.3 @7 x?"}},
			{changes: []change{stateOf("a", 2, 4, 9, "y")}, want: []string{"a 2.4 @9 y"}},
		}},
		{name: "a delta is applied on its base", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1, "x", "y")}, want: []string{"a 1.1 @1 x,y"}},
			{changes: []change{deltaOf("a", 1, 1, 2, 2, []Role{"z", "y"}, []Role{"x", "w"})}, want: []string{"a 1.2 @2 y,z"}},
			{changes: []change{deltaOf("a", 1, 2, 1003, 3, nil, []Role{"y", "z"})}, want: []string{"a 1.1003 @3"}},
			{changes: []change{deltaOf("a", 1, 1003, 1004, 4, []Role{"x"}, nil), deltaOf("a", 1, 1004, 1005, 5, []Role{"y"}, nil)}, want: []string{"a 1.1005 @5 x,y"}},
		}},
		{name: "a delta on something else is fetched", steps: []heard{
			{changes: []change{deltaOf("a", 1, 1, 2, 2, []Role{"x"}, nil)}, fetch: fetches{"a": {1, 2}}, same: true},
			{changes: []change{stateOf("a", 1, 1, 1, "y")}, want: []string{"a 1.1 @1 y"}},
			{changes: []change{deltaOf("a", 1, 2, 3, 3, []Role{"x"}, nil)}, want: []string{"a 1.1 @1 y"}, fetch: fetches{"a": {1, 3}}, same: true},
			{changes: []change{deltaOf("a", 2, 1, 2, 5, []Role{"x"}, nil)}, want: []string{"a 1.1 @1 y"}, fetch: fetches{"a": {2, 2}}, same: true},
			{changes: []change{stateOf("a", 2, 2, 5, "x", "z")}, want: []string{"a 2.2 @5 x,z"}},
		}},
		{name: "a notice is fetched", steps: []heard{
			{changes: []change{noticeOf("a", 1, 1, 1), noticeOf("b", 3, 4, 2)}, fetch: fetches{"a": {1, 1}, "b": {3, 4}}, same: true},
		}},
		{name: "what is fetched is the newest of all", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1)}, want: []string{"a 1.1 @1"}},
			{changes: []change{deltaOf("a", 1, 4, 5, 5, nil, nil), deltaOf("a", 1, 2, 3, 3, nil, nil)}, want: []string{"a 1.1 @1"}, fetch: fetches{"a": {1, 5}}, same: true},
		}},
		{name: "a tombstone beats the state that it names, and earlier ones", steps: []heard{
			{changes: []change{stateOf("a", 1, 4, 4, "x"), stateOf("b", 1, 4, 5, "x"), stateOf("c", 1, 4, 6)}, want: []string{"a 1.4 @4 x", "b 1.4 @5 x", "c 1.4 @6"}},
			{changes: []change{leftOf("a", 1, 4, 7)}, want: []string{"b 1.4 @5 x", "c 1.4 @6"}},
			{changes: []change{expiredOf("b", 1, 1004, 8)}, want: []string{"c 1.4 @6"}},
			{changes: []change{stateOf("a", 1, 4, 4, "x"), stateOf("a", 1, 3, 3, "x"), deltaOf("a", 1, 3, 4, 4, nil, nil), noticeOf("b", 1, 1004, 9)}, want: []string{"c 1.4 @6"}, same: true},
			{whole: true, changes: []change{stateOf("a", 1, 4, 4, "x"), stateOf("c", 1, 4, 6)}, want: []string{"c 1.4 @6"}, same: true},
			{changes: []change{stateOf("b", 1, 1005, 10, "y")}, want: []string{"b 1.1005 @10 y", "c 1.4 @6"}},
			{changes: []change{stateOf("a", 2, 1, 11, "y")}, want: []string{"a 2.1 @11 y", "b 1.1005 @10 y", "c 1.4 @6"}},
		}},
		{name: "a tombstone comes before what it buries", steps: []heard{
			{changes: []change{leftOf("a", 2, 2, 9)}},
			{changes: []change{stateOf("a", 2, 2, 8, "x"), stateOf("a", 1, 7, 3, "x")}, same: true},
			{changes: []change{deltaOf("a", 2, 2, 3, 9, nil, nil)}, fetch: fetches{"a": {2, 3}}, same: true},
			{changes: []change{leftOf("a", 2, 1, 7), expiredOf("a", 1, 9, 4)}, same: true},
			{changes: []change{stateOf("a", 2, 2, 8, "x")}, same: true},
		}},
		{name: "an earlier life's tombstone buries no later one", steps: []heard{
			{changes: []change{stateOf("a", 2, 1, 7, "x")}, want: []string{"a 2.1 @7 x"}},
			{changes: []change{expiredOf("a", 1, 1004, 5)}, want: []string{"a 2.1 @7 x"}, same: true},
			{changes: []change{leftOf("a", 1, maxNumber, 6)}, want: []string{"a 2.1 @7 x"}, same: true},
			{changes: []change{expiredOf("a", 1, 1004, 8)}, want: []string{"a 2.1 @7 x?"}}, // over the record of this one
			{changes: []change{stateOf("a", 2, 1002, 9, "x")}, want: []string{"a 2.1002 @9 x"}},
		}},
		{name: "a life comes and goes between two snapshots", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1, "x"), deltaOf("a", 1, 1, 2, 2, []Role{"y"}, nil), leftOf("a", 1, 2, 3)}},
			{changes: []change{stateOf("a", 2, 1, 4, "x"), leftOf("a", 2, 1, 5), stateOf("a", 3, 1, 6, "z")}, want: []string{"a 3.1 @6 z"}},
		}},

		{name: "an expiry that is not believed casts a doubt", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1, "x")}, want: []string{"a 1.1 @1 x"}},
			{changes: []change{expiredOf("a", 1, 1001, 2)}, deaf: true, want: []string{"a 1.1 @1 x?"}},
			{changes: []change{expiredOf("a", 1, 1001, 2)}, deaf: true, want: []string{"a 1.1 @1 x?"}, same: true},
			{at: cacheGrace, whole: true, deaf: true, want: []string{"a 1.1 @1 x?"}, same: true},
			{at: hour, whole: true, changes: []change{expiredOf("a", 1, 1001, 2)}, deaf: true, want: []string{"a 1.1 @1 x?"}, same: true},
			{at: hour, whole: true, changes: []change{expiredOf("a", 1, 1001, 2)}},
		}},
		{name: "a goodbye is believed always", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1, "x")}, want: []string{"a 1.1 @1 x"}},
			{changes: []change{leftOf("a", 1, 1001, 2)}, deaf: true},
		}},
		{name: "an expiry of one that is not known needs no belief", steps: []heard{
			{changes: []change{expiredOf("a", 1, 1001, 2)}, deaf: true},
			{changes: []change{stateOf("a", 1, 1, 1, "x")}, same: true},
		}},
		{name: "a doubt is over when the owner writes again", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1, "x"), stateOf("b", 1, 1, 2, "x")}, want: []string{"a 1.1 @1 x", "b 1.1 @2 x"}},
			{changes: []change{expiredOf("a", 1, 1001, 3), expiredOf("b", 1, 1001, 4)}, deaf: true, want: []string{"a 1.1 @1 x?", "b 1.1 @2 x?"}},
			{changes: []change{stateOf("a", 1, 1002, 5, "x"), deltaOf("b", 1, 1, 2, 3, nil, nil)}, want: []string{"a 1.1002 @5 x", "b 1.2 @3 x"}},
			{at: hour, whole: true, changes: []change{stateOf("a", 1, 1002, 5, "x"), stateOf("b", 1, 2, 3, "x")}, want: []string{"a 1.1002 @5 x", "b 1.2 @3 x"}, same: true},
		}},
		{name: "a doubt that runs out covers the tombstone that cast it", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1, "x")}, want: []string{"a 1.1 @1 x"}},
			{changes: []change{expiredOf("a", 1, 1001, 2)}, deaf: true, want: []string{"a 1.1 @1 x?"}},
			{at: cacheGrace, whole: true},
			{changes: []change{stateOf("a", 1, 1001, 2, "x")}, same: true},
			{changes: []change{stateOf("a", 1, 1002, 3, "x")}, want: []string{"a 1.1002 @3 x"}},
		}},

		{name: "a whole reading doubts what it lacks", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1, "x"), stateOf("b", 1, 1, 2)}, want: []string{"a 1.1 @1 x", "b 1.1 @2"}},
			{whole: true, changes: []change{stateOf("b", 1, 1, 2)}, want: []string{"a 1.1 @1 x?", "b 1.1 @2"}},
			{changes: []change{stateOf("a", 1, 1, 1, "x")}, want: []string{"a 1.1 @1 x", "b 1.1 @2"}},
		}},
		{name: "a whole reading doubts what it has only in an older state", steps: []heard{
			{changes: []change{stateOf("a", 1, 5, 50, "x")}, want: []string{"a 1.5 @50 x"}},
			{whole: true, changes: []change{stateOf("a", 1, 4, 3, "y")}, want: []string{"a 1.5 @50 x?"}},
		}},
		{name: "a doubt runs out by a whole reading after its time, and by nothing else", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1, "x"), stateOf("b", 1, 1, 2)}, want: []string{"a 1.1 @1 x", "b 1.1 @2"}},
			{whole: true, changes: []change{stateOf("b", 1, 1, 2)}, want: []string{"a 1.1 @1 x?", "b 1.1 @2"}},
			{at: cacheGrace - 1, whole: true, changes: []change{stateOf("b", 1, 1, 2)}, want: []string{"a 1.1 @1 x?", "b 1.1 @2"}, same: true},
			{at: hour, changes: []change{stateOf("b", 1, 1, 2)}, want: []string{"a 1.1 @1 x?", "b 1.1 @2"}, same: true},
			{at: hour, whole: true, deaf: true, changes: []change{stateOf("b", 1, 1, 2)}, want: []string{"a 1.1 @1 x?", "b 1.1 @2"}, same: true},
			{at: cacheGrace, whole: true, changes: []change{stateOf("b", 1, 1, 2)}, want: []string{"b 1.1 @2"}},
			{changes: []change{stateOf("a", 1, 1, 1, "x")}, want: []string{"b 1.1 @2"}, same: true},
			{changes: []change{stateOf("a", 1, 2, 9, "x")}, want: []string{"a 1.2 @9 x", "b 1.1 @2"}},
		}},
		{name: "the time of a doubt begins once", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1, "x")}, want: []string{"a 1.1 @1 x"}},
			{whole: true, want: []string{"a 1.1 @1 x?"}},
			{at: cacheGrace / 2, whole: true, want: []string{"a 1.1 @1 x?"}, same: true},
			{at: cacheGrace, whole: true},
		}},
		{name: "a whole reading brings what is newer", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1, "x")}, want: []string{"a 1.1 @1 x"}},
			{whole: true, changes: []change{stateOf("a", 1, 2, 2, "y"), stateOf("b", 1, 1, 3)}, want: []string{"a 1.2 @2 y", "b 1.1 @3"}},
		}},
		{name: "a whole reading confirms what it has", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1, "x")}, want: []string{"a 1.1 @1 x"}},
			{whole: true, want: []string{"a 1.1 @1 x?"}},
			{at: hour, whole: true, changes: []change{stateOf("a", 1, 1, 1, "x")}, want: []string{"a 1.1 @1 x"}},
		}},
		{name: "a record that is restored may have another generation", steps: []heard{
			{changes: []change{stateOf("a", 1, 2, 70, "x")}, want: []string{"a 1.2 @70 x"}},
			{whole: true, changes: []change{stateOf("a", 1, 2, 5, "x")}, want: []string{"a 1.2 @5 x"}},
			{changes: []change{stateOf("a", 1, 2, 90, "x")}, want: []string{"a 1.2 @90 x"}},
		}},
		{name: "what was heard after the reading began is not doubted", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1, "x")}, want: []string{"a 1.1 @1 x"}},
			{changes: []change{stateOf("b", 1, 1, 2, "x"), deltaOf("a", 1, 1, 2, 3, nil, nil)}, want: []string{"a 1.2 @3 x", "b 1.1 @2 x"}},
			{whole: true, early: 1, changes: []change{stateOf("a", 1, 1, 1, "x")}, want: []string{"a 1.2 @3 x", "b 1.1 @2 x"}, same: true},
			{whole: true, early: 2, want: []string{"a 1.2 @3 x", "b 1.1 @2 x"}, same: true},
			{whole: true, changes: []change{stateOf("a", 1, 1, 1, "x")}, want: []string{"a 1.2 @3 x?", "b 1.1 @2 x?"}},
		}},
		{name: "a reading that is not whole doubts nobody", steps: []heard{
			{changes: []change{stateOf("a", 1, 1, 1, "x"), stateOf("b", 1, 1, 2)}, want: []string{"a 1.1 @1 x", "b 1.1 @2"}},
			{changes: []change{stateOf("b", 1, 2, 3)}, want: []string{"a 1.1 @1 x", "b 1.2 @3"}},
		}},

		{name: "a process knows better than a tombstone of its own life", self: "me", own: 5, steps: []heard{
			{changes: []change{stateOf("me", 5, 1, 1, "x"), stateOf("you", 5, 1, 2, "x")}, want: []string{"me 5.1 @1 x", "you 5.1 @2 x"}},
			{changes: []change{expiredOf("me", 5, 1001, 3), expiredOf("you", 5, 1001, 4)}, want: []string{"me 5.1 @1 x"}},
			{changes: []change{expiredOf("me", 5, 1001, 3), leftOf("me", 5, 1001, 5), expiredOf("me", 4, 9, 6)}, want: []string{"me 5.1 @1 x"}, same: true},
			{changes: []change{expiredOf("me", 5, 1001, 3)}, deaf: true, want: []string{"me 5.1 @1 x"}, same: true},
			{changes: []change{stateOf("me", 5, 1, 1, "x"), stateOf("me", 4, 1, 70, "x")}, want: []string{"me 5.1 @1 x"}, same: true},
			{whole: true, want: []string{"me 5.1 @1 x"}, same: true},
			{at: hour, whole: true, changes: []change{expiredOf("me", 5, 1001, 3)}, want: []string{"me 5.1 @1 x"}, same: true},
			{changes: []change{stateOf("me", 5, 1002, 9, "x")}, want: []string{"me 5.1002 @9 x"}},
		}},
		{name: "a newer life of the own name is as everybody else's", self: "me", own: 5, steps: []heard{
			{changes: []change{stateOf("me", 5, 1, 1, "x")}, want: []string{"me 5.1 @1 x"}},
			{changes: []change{stateOf("me", 6, 1, 2, "y")}, want: []string{"me 6.1 @2 y"}},
			{changes: []change{leftOf("me", 6, 1, 3)}},
		}},
		{name: "before its first life a process believes its own tombstones", self: "me", own: 0, steps: []heard{
			{whole: true, changes: []change{stateOf("me", 5, 1, 1, "x")}, want: []string{"me 5.1 @1 x"}},
			{changes: []change{expiredOf("me", 5, 1001, 2)}},
			{changes: []change{stateOf("me", 5, 1, 1, "x")}, same: true},
			{changes: []change{stateOf("me", 6, 1, 3, "y")}, want: []string{"me 6.1 @3 y"}},
		}},

		{name: "ends are remembered for their time", steps: []heard{
			{changes: []change{leftOf("a", 1, 1, 1)}},
			{at: endMemory, whole: true, same: true},
			{at: endMemory, changes: []change{stateOf("a", 1, 1, 1)}, same: true},
			{at: endMemory + 1, changes: []change{stateOf("a", 1, 1, 1)}, same: true},
			{at: endMemory + 1, whole: true},
			{at: endMemory + 1, changes: []change{stateOf("a", 1, 1, 1)}, want: []string{"a 1.1 @1"}},
		}},
		{name: "an end is not forgotten with the one before it", steps: []heard{
			{changes: []change{leftOf("a", 1, 1, 1)}},
			{at: hour, changes: []change{stateOf("a", 2, 1, 2, "x")}, want: []string{"a 2.1 @2 x"}},
			{at: hour + 1, whole: true, changes: []change{leftOf("a", 2, 1, 3)}},
			{at: hour + 2, changes: []change{stateOf("a", 2, 1, 2, "x")}, same: true},
		}},
		{name: "an end by a doubt is not forgotten with the one before it", steps: []heard{
			{changes: []change{leftOf("a", 1, 1, 1)}},
			{at: hour - cacheGrace, changes: []change{stateOf("a", 2, 1, 2, "x")}, want: []string{"a 2.1 @2 x"}},
			{at: hour - cacheGrace, whole: true, want: []string{"a 2.1 @2 x?"}},
			{at: hour + 1, whole: true},
			{at: hour + 2, changes: []change{stateOf("a", 2, 1, 2, "x")}, same: true},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			snap := newSnapshot("s", tc.self)
			for i, step := range tc.steps {
				next, fetch := step.apply(t, snap, tc.own)
				require.Equal(t, step.want, describe(next), "step %d", i+1)
				require.Equal(t, step.fetch, fetch, "step %d", i+1)
				require.Equal(t, step.same, next == snap, "step %d", i+1)
				if next != snap {
					require.Equal(t, snap.serial+1, next.serial, "step %d", i+1)
				}
				snap = next
			}
		})
	}
}

func TestEndsAreForgotten(t *testing.T) {
	snap, _ := heard{changes: []change{leftOf("a", 1, 1, 1), expiredOf("b", 1, 1, 2)}}.apply(t, newSnapshot("s", ""), 0)
	snap, _ = heard{at: time.Second, changes: []change{leftOf("c", 1, 1, 3)}}.apply(t, snap, 0)
	require.Equal(t, 3, snap.ends.len())
	snap, _ = heard{at: endMemory + 1, whole: true}.apply(t, snap, 0)
	require.Equal(t, []string{"c"}, slices.Collect(maps.Keys(maps.Collect(snap.ends.all()))))
	snap, _ = heard{at: endMemory + time.Second + 1, whole: true}.apply(t, snap, 0)
	require.Zero(t, snap.ends.len())
}

func TestSwitchThatFiresLateTellsOfAnOutage(t *testing.T) {
	snap, _ := heard{changes: []change{stateOf("a", 1, 1, 1), stateOf("b", 1, 1, 2)}}.apply(t, newSnapshot("s", ""), 0)
	snap, _ = heard{deaf: true, changes: []change{expiredOf("b", 1, 1001, 3)}}.apply(t, snap, 0)
	late := func(c change, by time.Duration) change {
		c.late = by
		return c
	}
	for _, tc := range []struct {
		why  string
		c    change
		want bool
	}{
		{"late", late(expiredOf("a", 1, 1001, 4), maxLate+1), true},
		{"in time", late(expiredOf("a", 1, 1001, 4), maxLate), false},
		{"before its time", late(expiredOf("a", 1, 1001, 4), -time.Hour), false},
		{"a node that nobody knows", late(expiredOf("c", 1, 1001, 4), maxLate+1), false},
		{"a node that is in doubt already", late(expiredOf("b", 1, 1001, 4), maxLate+1), false},
		{"a goodbye", leftOf("a", 1, 1001, 4), false},
		{"a state", stateOf("a", 1, 2, 4), false},
	} {
		require.Equal(t, tc.want, snap.outage([]change{stateOf("z", 1, 1, 9), tc.c}), tc.why)
	}
	require.False(t, snap.outage(nil))
}

func TestDueIsTheFirstDoubtThatRunsOut(t *testing.T) {
	snap := newSnapshot("s", "")
	require.Zero(t, snap.due)
	snap, _ = heard{changes: []change{stateOf("a", 1, 1, 1), stateOf("b", 1, 1, 2)}}.apply(t, snap, 0)
	require.Zero(t, snap.due)
	snap, _ = heard{at: 2 * time.Second, deaf: true, changes: []change{expiredOf("a", 1, 1, 3)}}.apply(t, snap, 0)
	snap, _ = heard{at: time.Second, deaf: true, changes: []change{expiredOf("b", 1, 1, 4)}}.apply(t, snap, 0)
	require.Equal(t, cacheEpoch.Add(time.Second+cacheGrace), snap.due)
	snap, _ = heard{changes: []change{stateOf("b", 1, 2, 5)}}.apply(t, snap, 0)
	require.Equal(t, cacheEpoch.Add(2*time.Second+cacheGrace), snap.due)
}

func TestStaleTellsSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fresh, _ := heard{changes: []change{stateOf("a", 1, 1, 1, "x")}}.apply(t, newSnapshot("s", ""), 0)
		require.Zero(t, fresh.Stale())
		stale := fresh.withStale(time.Now())
		time.Sleep(3 * time.Second)
		require.Equal(t, 3*time.Second, stale.Stale())
		require.Zero(t, fresh.Stale(), "a snapshot never changes")
		require.Equal(t, fresh.serial+1, stale.serial)
		require.Equal(t, describe(fresh), describe(stale))
		later, _ := heard{changes: []change{stateOf("a", 1, 2, 2, "x")}}.apply(t, stale, 0)
		require.Equal(t, 3*time.Second, later.Stale(), "news alone do not end it")
		require.Zero(t, later.withStale(time.Time{}).Stale())
	})
}

func TestSnapshotAnswers(t *testing.T) {
	meta := stateOf("b", 3, 1, 9, "x", "y")
	meta.meta = map[string]string{"zone": "eu"}
	snap, _ := heard{changes: []change{stateOf("c", 1, 1, 1, "x"), meta, stateOf("idle", 1, 1, 3)}}.apply(t, newSnapshot("s", "b"), 3)
	b, c := snap.named.get("b"), snap.named.get("c")

	require.Equal(t, []*Node{b, c}, snap.Nodes("x").Slice())
	require.Equal(t, []*Node{b}, snap.Nodes("y").Slice())
	require.Empty(t, snap.Nodes("z").Slice())
	require.Equal(t, []*Node{b, c}, snap.AllNodes().Slice(), "a node without roles is not listed")
	require.Equal(t, []Role{"x", "y"}, snap.Roles("b").Slice())
	require.Empty(t, snap.Roles("idle").Slice())
	require.Empty(t, snap.Roles("nobody").Slice())
	require.Equal(t, []*Node{b, c, snap.named.get("idle")}, snap.Members().Slice(), "everybody")
	require.Same(t, b, snap.Node("b"))
	require.Equal(t, "idle", snap.Node("idle").Name())
	require.Nil(t, snap.Node("nobody"))
	require.Equal(t, []Role{"x", "y"}, snap.AllRoles().Slice())
	require.Equal(t, []Role{"x", "y"}, snap.MyRoles().Slice())
	require.EqualValues(t, 9, snap.Generation())

	require.Equal(t, "b", b.Name())
	require.Equal(t, "b", b.String())
	require.EqualValues(t, 3, b.Incarnation())
	require.EqualValues(t, 9, b.Generation())
	require.Equal(t, "eu", b.Meta("zone"))
	require.Empty(t, b.Meta("rack"))
	require.Empty(t, c.Meta("zone"))
	require.True(t, b.Has("y"))
	require.False(t, c.Has("y"))
	require.Equal(t, []Role{"x", "y"}, b.Roles().Slice())

	moved, _ := heard{changes: []change{deltaOf("b", 3, 1, 2, 10, []Role{"z"}, nil)}}.apply(t, snap, 3)
	require.Equal(t, "eu", moved.named.get("b").Meta("zone"), "a delta keeps the metadata")

	observer, _ := heard{changes: []change{meta}}.apply(t, newSnapshot("s", ""), 0)
	require.Empty(t, observer.MyRoles().Slice())
	require.Zero(t, observer.Generation())
}

func TestReadsDoNotAllocate(t *testing.T) {
	s := newScope(&Bus{opts: &options{node: "a"}}, "s")
	snap, _ := heard{changes: []change{stateOf("a", 1, 1, 7, "x", "y"), stateOf("b", 1, 1, 2, "x")}}.apply(t, s.Snapshot(), 1)
	s.publish(snap)
	var (
		nodes      Nodes
		roles      Roles
		node       *Node
		generation uint64
		got        *Snapshot
	)
	for name, read := range map[string]func(){
		"Snapshot.Nodes":      func() { nodes = snap.Nodes("x") },
		"Snapshot.AllNodes":   func() { nodes = snap.AllNodes() },
		"Snapshot.Roles":      func() { roles = snap.Roles("b") },
		"Snapshot.MyRoles":    func() { roles = snap.MyRoles() },
		"Snapshot.AllRoles":   func() { roles = snap.AllRoles() },
		"Snapshot.Members":    func() { nodes = snap.Members() },
		"Snapshot.Node":       func() { node = snap.Node("b") },
		"Snapshot.Generation": func() { generation = snap.Generation() },
		"Scope.Nodes":         func() { nodes = s.Nodes("x") },
		"Scope.AllNodes":      func() { nodes = s.AllNodes() },
		"Scope.Roles":         func() { roles = s.Roles("b") },
		"Scope.MyRoles":       func() { roles = s.MyRoles() },
		"Scope.Generation":    func() { generation = s.Generation() },
		"Scope.Snapshot":      func() { got = s.Snapshot() },
	} {
		require.Zero(t, testing.AllocsPerRun(100, read), name)
	}
	require.Equal(t, 2, nodes.Len())
	require.NotZero(t, roles.Len())
	require.NotNil(t, node)
	require.EqualValues(t, 7, generation)
	require.Same(t, snap, got)
}

// The roles that somebody has are put together once for all the snapshots between which none appears or disappears.
func TestAllRolesAreKeptWhileTheirNamesAre(t *testing.T) {
	snap := snapshotOf(t, stateOf("a", 1, 1, 1, "x", "y"), stateOf("b", 1, 1, 2, "x"))
	require.Equal(t, []Role{"x", "y"}, snap.AllRoles().Slice())
	first := &snap.AllRoles().list[0]
	same, _ := heard{changes: []change{stateOf("c", 1, 1, 3, "x"), stateOf("b", 1, 2, 4, "y"), stateOf("idle", 1, 1, 5)}}.apply(t, snap, 0)
	require.Same(t, first, &same.AllRoles().list[0], "the names are the same")
	more, _ := heard{changes: []change{deltaOf("c", 1, 1, 2, 6, []Role{"w"}, nil)}}.apply(t, same, 0)
	require.Equal(t, []Role{"w", "x", "y"}, more.AllRoles().Slice())
	other, _ := heard{changes: []change{deltaOf("c", 1, 2, 3, 7, []Role{"v"}, []Role{"w"})}}.apply(t, more, 0)
	require.Equal(t, []Role{"v", "x", "y"}, other.AllRoles().Slice(), "as many, and others")
	less, _ := heard{changes: []change{leftOf("c", 1, 3, 8)}}.apply(t, other, 0)
	require.Equal(t, []Role{"x", "y"}, less.AllRoles().Slice(), "a and b have y, a has x")
	none, _ := heard{changes: []change{leftOf("a", 1, 1, 9), leftOf("b", 1, 2, 10)}}.apply(t, less, 0)
	require.Zero(t, none.AllRoles().Len())
	require.Zero(t, newSnapshot("s", "").AllRoles().Len())
}

// requireSound checks what every snapshot must be.
func requireSound(t *testing.T, snap *Snapshot) {
	t.Helper()
	byName := func(list []*Node) bool {
		return slices.IsSortedFunc(list, func(a, b *Node) int { return strings.Compare(a.name, b.name) })
	}
	var (
		named   = map[string]*Node{}
		nodes   []*Node
		holders = map[Role][]*Node{}
	)
	require.True(t, byName(snap.members.all(nil)))
	for _, n := range snap.members.all(nil) {
		require.NotContains(t, named, n.name)
		named[n.name] = n
		if len(n.roles) > 0 {
			nodes = append(nodes, n)
		}
		for _, role := range n.roles {
			holders[role] = append(holders[role], n)
		}
		require.Equal(t, roleSet(n.roles), n.roles, "sorted, each once")
		require.Equal(t, len(n.roles), cap(n.roles))
		require.True(t, snap.ends.get(n.name).id.before(n.id), "%s is over", n.name)
		require.LessOrEqual(t, n.heard, snap.serial)
	}
	same := func(want, got []*Node) {
		t.Helper()
		require.True(t, slices.Equal(want, got), "want %v, got %v", want, got) // the very same nodes
		require.Equal(t, len(got), cap(got), "appending to a shared slice must copy")
	}
	same(snap.members.all(nil), snap.members.all(nil))
	same(nodes, snap.nodes.all(&snap.members))
	require.Len(t, named, snap.members.len())
	require.Len(t, nodes, snap.nodes.len())
	require.True(t, maps.Equal(named, maps.Collect(snap.named.all())))
	require.Equal(t, len(holders), snap.holders.len())
	require.True(t, slices.Equal(slices.Sorted(maps.Keys(holders)), snap.AllRoles().list), "want %v, got %v", holders, snap.AllRoles())
	for role, held := range holders {
		same(held, snap.Nodes(role).list)
		require.Equal(t, len(held), snap.count(role))
	}
	require.True(t, byName(snap.suspects))
	for _, n := range snap.suspects {
		require.NotContains(t, named, n.name, "a suspect is not listed")
	}
	for name := range snap.doubts.all() {
		require.Contains(t, named, name, "only who is listed can be in doubt")
		require.NotEqual(t, snap.self, name)
	}
	select {
	case <-snap.superseded:
		t.Fatal("superseded, though nothing follows")
	default:
	}
}

// picture is a deep copy of everything in a snapshot, to see that it never changes.
func picture(snap *Snapshot) any {
	list := func(nodes []*Node) (out []any) {
		for _, n := range nodes {
			copied := *n
			copied.roles, copied.meta = slices.Clone(n.roles), maps.Clone(n.meta)
			out = append(out, reflect.ValueOf(n).Pointer(), copied)
		}
		return out
	}
	holders := map[Role][]any{}
	for role, held := range snap.holders.all() {
		holders[Role(role)] = list(held.all(&snap.members))
	}
	return []any{
		list(snap.members.all(nil)), list(snap.nodes.all(&snap.members)), holders, maps.Collect(snap.named.all()), maps.Collect(snap.ends.all()),
		maps.Collect(snap.doubts.all()), snap.serial, snap.stale, snap.scope, snap.self, snap.joined, snap.superseded,
	}
}

// Whatever happens to the nodes and to the bucket, and however little of it reaches an observer, in whatever order and
// how often: no observer ever goes back, and when the faults stop, all see what is so.
func TestObserversConvergeAndNeverGoBack(t *testing.T) {
	rng := seeded(t)
	for range 60 {
		w := newWorld(rng, "n0", "n1", "n2", "n3")
		observers := []*observer{{snap: newSnapshot("s", "n0")}, {snap: newSnapshot("s", "")}, {snap: newSnapshot("s", "")}}
		for range 200 {
			w.step()
			pick(rng, observers...).step(t, w)
		}
		w.settle()
		for _, o := range observers {
			o.deaf = false
			o.readWhole(t, w)
			w.now = w.now.Add(cacheGrace)
			o.readWhole(t, w)
			require.Equal(t, w.truth(), o.picture())
			require.Zero(t, o.snap.doubts.len())

			// All of it once more, long after: stale news change nothing.
			rng.Shuffle(len(w.announced), func(i, j int) { w.announced[i], w.announced[j] = w.announced[j], w.announced[i] })
			o.hear(t, w, reading{changes: w.announced})
			require.Equal(t, lives(w.truth()), lives(o.picture()))
			o.readWhole(t, w)
			require.Equal(t, w.truth(), o.picture())
		}
	}
}

// A tombstone that was announced stands for ever in whoever heard it, also if the bucket forgets it before the owner
// looks: then the record is as the owner wrote it, and only the owner can say that it lives.
func TestNodeIsSeenAgainThoughTheBucketForgotItsTombstone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		f.bus(t, "a", WithRoles("x"))
		b := f.bus(t, "b")
		synctest.Wait()

		f.mu.Lock()
		key := [2]string{"default", "a"}
		record, sequence, lease := f.records[key], f.seq, f.leases[key].c
		f.store("default", lease, wire.lease("default", "a"))
		f.records[key], f.seq = record, sequence
		f.mu.Unlock()

		time.Sleep(2 * fakeTTL)
		require.Equal(t, []string{"a"}, names(b.Nodes("x").Slice()))
	})
}

// world is a fleet, and the bucket that it writes to by the rules of the keeper.
type world struct {
	rng       *rand.Rand
	now       time.Time
	sequence  uint64
	births    uint64 // the clock that incarnations come from
	owners    []*owner
	records   map[string]change // what a reading of the bucket finds, by node
	backup    map[string]change
	announced []change
}

// owner is a process; when it is dead, the last one by its name.
type owner struct {
	node  string
	alive bool
	id    life
	bound uint64 // the highest version that its leases may bury
	past  life   // what a lease of the life before may bury
	again bool   // the bucket went back: it must write its record again
	roles []Role
	meta  map[string]string
}

// leaseReach is leaseAhead, but small, so that it is often passed.
const leaseReach = 3

func newWorld(rng *rand.Rand, nodes ...string) *world {
	w := &world{rng: rng, now: cacheEpoch, records: map[string]change{}, backup: map[string]change{}}
	for _, node := range nodes {
		w.owners = append(w.owners, &owner{node: node})
	}
	w.join(w.owners[0])
	return w
}

func (w *world) roles() []Role {
	roles := []Role{}
	for _, role := range []Role{"u", "v", "w", "x"} {
		if w.rng.IntN(2) == 0 {
			roles = append(roles, role)
		}
	}
	return roleSet(roles)
}

// write stores a change and announces it, as the record and as the headers tell it.
func (w *world) write(o *owner, record, announced change) {
	w.sequence++
	record.node, record.generation = o.node, w.sequence
	announced.node, announced.generation = o.node, w.sequence
	w.records[o.node] = record
	w.announced = append(w.announced, announced)
}

func (w *world) rewrite(o *owner) {
	o.again = false
	o.id.version = max(o.id.version, o.bound) + 1
	o.bound = o.id.version + leaseReach
	c := change{kind: kindState, id: o.id, roles: o.roles, meta: o.meta}
	w.write(o, c, c)
}

func (w *world) join(o *owner) {
	w.births += 1 + w.rng.Uint64N(3)
	o.past = life{o.id.incarnation, o.bound}
	o.alive, o.id, o.bound, o.roles = true, life{incarnation: w.births}, 0, w.roles()
	o.meta = map[string]string{"life": fmt.Sprint(w.births)}
	w.rewrite(o)
}

func (w *world) change(o *owner) {
	roles := w.roles()
	added, removed := missing(roles, o.roles), missing(o.roles, roles)
	if len(added)+len(removed) == 0 {
		return
	}
	w.beat(o) // its record may not be what it was
	base := o.id.version
	o.id.version, o.roles = base+1, roles
	o.bound = max(o.bound, o.id.version)
	announced := change{kind: kindDelta, id: o.id, base: base, added: added, removed: removed}
	if w.rng.IntN(4) == 0 {
		announced = change{kind: kindNotice, id: o.id}
	}
	w.write(o, change{kind: kindState, id: o.id, roles: roles, meta: o.meta}, announced)
}

// beat is a heartbeat of a live node, which finds out by it if its record is not what it was.
func (w *world) beat(o *owner) {
	if r := w.records[o.node]; o.again || r.kind != kindState || r.id != o.id {
		w.rewrite(o)
	}
	o.bound = max(o.bound, o.id.version+leaseReach)
}

func (w *world) bury(o *owner, kind kind, id life) {
	c := change{kind: kind, id: id}
	w.write(o, c, c)
}

func (w *world) step() {
	o := pick(w.rng, w.owners...)
	end := life{o.id.incarnation, max(o.id.version, o.bound)}
	mortal := o != w.owners[0]
	switch n := w.rng.IntN(40); {
	case n < 15 && o.alive:
		w.change(o)
	case n < 18 && o.alive: // frozen for longer than its TTL
		w.bury(o, kindExpired, end)
	case n < 20 && o.alive && mortal: // crashed
		w.bury(o, kindExpired, end)
		o.alive = false
	case n < 22 && o.alive && mortal: // crashed, and started anew before its lease ran out
		w.join(o)
	case n < 24 && o.alive && mortal:
		w.bury(o, kindLeft, end)
		o.alive = false
	case n < 30 && !o.alive:
		w.join(o)
	case n == 30 && o.alive && o.past.version > 0: // the lease of the life before comes late
		w.bury(o, kindExpired, o.past)
	case n == 31: // tombstones run out
		maps.DeleteFunc(w.records, func(_ string, c change) bool { return c.kind.isTombstone() })
	case n == 32: // purged
		delete(w.records, o.node)
	case n == 33:
		w.backup = maps.Clone(w.records)
	case n == 34: // rolled back; whether the count goes back, too, depends on how
		w.records = maps.Clone(w.backup)
		for _, o := range w.owners {
			o.again = true
		}
		if w.rng.IntN(2) == 0 {
			w.sequence = 0
			for _, c := range w.records {
				w.sequence = max(w.sequence, c.generation)
			}
		}
	case n == 35: // made anew
		clear(w.records)
		w.sequence = 0
	default:
		w.tick()
	}
}

// tick lets a heartbeat's time pass.
func (w *world) tick() {
	for _, o := range w.owners {
		if o.alive {
			w.beat(o)
		}
	}
	w.now = w.now.Add(cacheGrace / 4)
}

// settle lets all of the fleet's faults end: live nodes beat, and the leases of dead ones run out.
func (w *world) settle() {
	for _, o := range w.owners {
		if r := w.records[o.node]; !o.alive && r.kind == kindState {
			w.bury(o, kindExpired, life{r.id.incarnation, r.id.version + leaseReach})
		}
	}
	w.tick()
}

// read returns the records in the order of their generations, as a reading of the bucket does.
func (w *world) read() []change {
	return slices.SortedFunc(maps.Values(w.records), func(a, b change) int { return int(a.generation) - int(b.generation) })
}

// truth is what every snapshot must show: the bucket's states, which are those of the live nodes.
func (w *world) truth() []Node {
	var nodes []Node
	for _, o := range w.owners {
		if o.alive {
			generation := w.records[o.node].generation
			nodes = append(nodes, Node{name: o.node, hash: hashText(o.node), id: o.id, generation: generation, roles: o.roles, meta: o.meta})
		}
	}
	return nodes
}

// observer is a scope's loop and its catcher, without time of their own.
type observer struct {
	snap    *Snapshot
	deaf    bool
	heard   int      // how many announcements were sent to it
	queue   []change // on their way
	asked   map[string]life
	reading *reading // read, and not applied yet
	covered map[string]life
}

func (o *observer) step(t *testing.T, w *world) {
	for _, c := range w.announced[o.heard:] {
		for range pick(w.rng, 0, 1, 1, 1, 1, 2) {
			o.queue = append(o.queue, c)
		}
	}
	o.heard = len(w.announced)
	o.deaf = w.rng.IntN(3) == 0
	switch w.rng.IntN(8) {
	default: // in any order, in batches of any size
		w.rng.Shuffle(len(o.queue), func(i, j int) { o.queue[i], o.queue[j] = o.queue[j], o.queue[i] })
		n := w.rng.IntN(len(o.queue) + 1)
		o.hear(t, w, reading{changes: o.queue[:n]})
		o.queue = slices.Clone(o.queue[n:])
	case 0, 1: // what was asked for
		for node, want := range o.asked {
			if c, ok := w.records[node]; ok && !c.id.before(want) {
				o.hear(t, w, reading{changes: []change{c}})
			}
		}
		o.asked = nil
	case 2: // what is newer than some generation
		from := w.rng.Uint64N(w.sequence + 2)
		o.hear(t, w, reading{changes: slices.DeleteFunc(w.read(), func(c change) bool { return c.generation < from })})
	case 3:
		if o.reading == nil {
			o.reading = &reading{changes: w.read(), whole: true, began: o.snap.serial}
		}
	case 4:
		if o.reading != nil {
			o.hear(t, w, *o.reading)
			o.reading = nil
		}
	}
}

func (o *observer) readWhole(t *testing.T, w *world) {
	o.hear(t, w, reading{changes: w.read(), whole: true, began: o.snap.serial})
}

// hear applies what came, and checks that nothing goes back.
func (o *observer) hear(t *testing.T, w *world, r reading) {
	old, before := o.snap, picture(o.snap)
	own := w.owners[0].id.incarnation
	next, gap := old.apply(news{
		changes: r.changes, whole: r.whole, began: r.began, own: own,
		now: w.now, due: w.now, calm: calmUnless(o.deaf),
	})
	require.Equal(t, before, picture(old), "a snapshot never changes")
	requireSound(t, next)
	o.snap, o.asked = next, gap.nodes

	for _, n := range old.members.all(nil) {
		now := next.named.get(n.name)
		if now == nil {
			require.NotEqual(t, next.self, n.name, "no process loses itself")
			o.cover(n.name, n.id) // gone is gone
			continue
		}
		require.False(t, now.id.before(n.id), "%s went back from %v to %v", n.name, n.id, now.id)
	}
	for _, c := range r.changes {
		if c.kind == kindLeft || c.kind == kindExpired && (!o.deaf || old.named.get(c.node) == nil && next.named.get(c.node) == nil) {
			if c.node != next.self {
				o.cover(c.node, c.id)
			}
		}
	}
	for _, n := range next.members.all(nil) {
		require.True(t, o.covered[n.name].before(n.id), "%s is shown in %v, and is gone as of %v", n.name, n.id, o.covered[n.name])
	}
}

func (o *observer) cover(node string, id life) {
	if o.covered == nil {
		o.covered = map[string]life{}
	}
	if o.covered[node].before(id) {
		o.covered[node] = id
	}
}

func (o *observer) picture() []Node {
	var nodes []Node
	for _, n := range o.snap.members.all(nil) {
		copied := *n
		copied.heard = 0
		nodes = append(nodes, copied)
	}
	return nodes
}

func lives(nodes []Node) map[string]life {
	out := map[string]life{}
	for _, n := range nodes {
		out[n.name] = n.id
	}
	return out
}
