package rolebus

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A list, short or long, is what sorting would make of its nodes, whoever asks for it, when, and in which order.
func TestListIsASortedSlice(t *testing.T) {
	rng := seeded(t)
	for range 10 {
		type version struct {
			list list
			want map[string]*Node
		}
		now := version{want: map[string]*Node{}}
		var versions []version
		size := pick(rng, 10, shortList, 2*shortList, 2000)
		for range 300 {
			next := version{want: maps.Clone(now.want)}
			names := map[string]bool{}
			for range 1 + rng.IntN(pick(rng, 1, 3, size/4+1)) {
				names[fmt.Sprint(rng.IntN(size))] = true
			}
			before, after, by := table[*Node]{}, table[*Node]{}, &edition{}
			for name := range names {
				if was := now.want[name]; was != nil {
					before.put(by, name, was)
				}
				delete(next.want, name)
				if rng.IntN(3) > 0 {
					is := &Node{name: name}
					after.put(by, name, is)
					next.want[name] = is
				}
			}
			next.list = now.list.with(stepsOf(slices.Collect(maps.Keys(names)), &before, &after), sieve{everybody: true}, nil)
			require.Equal(t, len(next.want), next.list.len())
			if rng.IntN(4) == 0 {
				next.list.all(nil)
			}
			now = next
			versions = append(versions, now)
		}
		rng.Shuffle(len(versions), func(i, j int) { versions[i], versions[j] = versions[j], versions[i] })
		for _, v := range versions {
			got := v.list.all(nil)
			require.True(t, slices.IsSortedFunc(got, func(a, b *Node) int { return byName(a, b.name) }))
			require.Len(t, got, len(v.want))
			require.Equal(t, len(got), cap(got), "appending must copy")
			for _, n := range got {
				if v.want[n.name] != n {
					t.Fatalf("%v is not what it was made", n)
				}
			}
			if len(got) > 0 {
				again := v.list.all(nil)
				require.Same(t, &got[0], &again[0], "made once")
			}
		}
	}
}

// Many may ask for a long list at the same time, in all its versions.
func TestALongListIsMadeByWhoeverAsks(t *testing.T) {
	var nodes []step
	for i := range 2 * shortList {
		nodes = append(nodes, step{is: &Node{name: fmt.Sprintf("n%04d", i)}})
	}
	all := sieve{everybody: true}
	var empty list
	lists := []list{empty.with(nodes, all, nil)}
	for i := range 50 {
		last := lists[len(lists)-1]
		lists = append(lists, last.with([]step{{was: nodes[i].is}}, all, nil))
	}
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for i, l := range lists {
				if got := l.all(nil); len(got) != 2*shortList-i || got[0] != nodes[i].is {
					t.Errorf("list %d has %d nodes from %v on", i, len(got), got[0])
				}
			}
		})
		asking.Go(func() {
			for i, l := range slices.Backward(lists) {
				if got := l.all(nil); len(got) != 2*shortList-i {
					t.Errorf("list %d has %d nodes", i, len(got))
				}
			}
		})
	}
	asking.Wait()
}

// A long list that nobody asks for does not keep all that was ever changed.
func TestALongListForgetsWhatWasChanged(t *testing.T) {
	var steps []step
	for i := range 10 * shortList {
		steps = append(steps, step{is: &Node{name: fmt.Sprintf("n%04d", i)}})
	}
	all := sieve{everybody: true}
	var l list
	l = l.with(steps, all, nil)
	for round := range 10 * len(steps) {
		s := &steps[round%len(steps)]
		*s = step{was: s.is, is: &Node{name: s.is.name}}
		l = l.with([]step{*s}, all, nil)
		kept := 0
		for at := l.long; at != nil; at = at.prev.Load() {
			kept += len(at.steps)
		}
		if kept > len(steps)/maxSteps {
			t.Fatalf("%d steps are kept", kept)
		}
	}
	for i, n := range l.all(nil) {
		require.Same(t, steps[i].is, n)
	}
}

// However seldom a list is asked for, it keeps nodes of long ago only if somebody asked for it then. The pattern that was worst:
// everybody is asked for all the time, and of each role the list changes once, after the one of the role before.
func TestUnrequestedListsKeepNoOldOnesAlive(t *testing.T) {
	const nodes, roles, turns = 8_000, 40, 40
	state := func(i, version int, more ...Role) change {
		name := fmt.Sprintf("node-%05d", i)
		own := append([]Role{Role(fmt.Sprintf("role-%02d", i%roles))}, more...)
		return change{kind: kindState, node: name, id: life{1, uint64(version)}, generation: uint64(version), ttl: time.Minute, roles: roleSet(own)}
	}
	var all []change
	for i := range nodes {
		all = append(all, state(i, 1))
	}
	fresh := func() *Snapshot {
		snap, _ := newSnapshot("s", "").apply(news{changes: all, now: cacheEpoch})
		return snap
	}
	one, size := heapOf(fresh)
	require.Equal(t, nodes, one.AllNodes().Len())

	snap, grown := heapOf(func() *Snapshot {
		snap, version := fresh(), 1
		for range turns {
			for role := range roles {
				version++
				var changes []change
				for i := role; i < nodes; i += roles { // all of one role
					changes = append(changes, state(i, version))
				}
				snap, _ = snap.apply(news{changes: changes, now: cacheEpoch})
				snap.AllNodes() // so that the list of everybody is made, as it is now
			}
		}
		return snap
	})
	require.Less(t, grown, 2*size, "a snapshot made at once takes %d bytes", size)
	for role := range roles {
		require.Equal(t, nodes/roles, snap.Nodes(Role(fmt.Sprintf("role-%02d", role))).Len())
	}
}

// heapOf returns what a function makes, and what that takes.
func heapOf[T any](make func() T) (made T, size uint64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	made = make()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return made, after.HeapAlloc - min(before.HeapAlloc, after.HeapAlloc)
}
