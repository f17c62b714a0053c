package rolebus

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A table is what a map would be that was copied before each draft, and no table ever changes that a draft began with.
func TestTableIsAMapThatIsNotCopied(t *testing.T) {
	rng := seeded(t)
	for range 5 {
		type version struct {
			table table[int]
			want  map[string]int
		}
		now := version{want: map[string]int{}}
		versions := []version{now}
		growing := rng.IntN(3000)
		for draft := range 60 {
			next, by := version{now.table, maps.Clone(now.want)}, &edition{}
			for range 1 + rng.IntN(200) {
				key := fmt.Sprint(rng.IntN(growing + 1))
				if draft < 40 && rng.IntN(4) > 0 {
					value := rng.Int()
					next.table.put(by, key, value)
					next.want[key] = value
				} else {
					next.table.drop(by, key)
					delete(next.want, key)
				}
			}
			differ := slices.Collect(changed(&now.table, &next.table))
			for key := range keysOf(now.want, next.want) {
				before, had := now.want[key]
				after, has := next.want[key]
				if (had != has || before != after) && !slices.Contains(differ, key) {
					t.Fatalf("%q changed unseen", key)
				}
			}
			now = next
			versions = append(versions, now)
		}
		for _, v := range versions {
			require.True(t, maps.Equal(v.want, maps.Collect(v.table.all())))
			require.Equal(t, len(v.want), v.table.len())
			for i := range growing + 1 {
				key := fmt.Sprint(i)
				want, ok := v.want[key]
				if got, found := v.table.get(key), v.table.find(key) != nil; got != want || found != ok {
					t.Fatalf("%q: got %d, %v, want %d, %v", key, got, found, want, ok)
				}
			}
		}
	}
}

func keysOf(tables ...map[string]int) map[string]bool {
	keys := map[string]bool{}
	for _, t := range tables {
		for key := range t {
			keys[key] = true
		}
	}
	return keys
}

// What a draft changes once is all that the next table does not share, so that little is copied, and little looked at.
func TestTablesShareWhatDidNotChange(t *testing.T) {
	const count = 10_000
	var before table[int]
	by := &edition{}
	for i := range count {
		before.put(by, fmt.Sprint(i), i)
	}
	require.LessOrEqual(t, count, len(before.groups)*fan)
	after := before
	after.put(&edition{}, "7", 8)
	own := 0
	for i, g := range after.groups {
		for j, l := range g.leaves {
			if before.groups[i].leaves[j] != l {
				own++
			}
		}
	}
	require.Equal(t, 1, own)
	differ := slices.Collect(changed(&before, &after))
	slices.Sort(differ)
	require.LessOrEqual(t, len(differ), 10, "the chain of the key at the most")
	require.Contains(t, differ, "7")
}

func TestAnEmptiedTableIsSmallAgain(t *testing.T) {
	var all table[int]
	for i := range 10_000 {
		all.put(&edition{}, fmt.Sprint(i), i)
	}
	for _, i := range rand.Perm(10_000) {
		all.drop(&edition{}, fmt.Sprint(i))
	}
	require.Zero(t, all.len())
	require.Len(t, all.groups, 1)
	require.Empty(t, maps.Collect(all.all()))
}

// Names and roles are alike as a rule: their hashes must not be.
func TestHashesSpread(t *testing.T) {
	const count = 1 << 14
	for name, key := range map[string]func(i int) string{
		"numbers":     strconv.Itoa,
		"names":       func(i int) string { return fmt.Sprintf("node-%06d", i) },
		"ends alike":  func(i int) string { return fmt.Sprintf("%d-role", i) },
		"short":       func(i int) string { return string([]byte{'a' + byte(i%16), byte(i >> 4), byte(i >> 12)}) },
		"bytes":       func(i int) string { return string([]byte{byte(i), byte(i >> 8)}) },
		"long":        func(i int) string { return fmt.Sprintf("a-very-long-name-of-a-node-%06d", i) },
		"zeros":       func(i int) string { return strings.Repeat("\x00", i%40) + strconv.Itoa(i) },
		"eight bytes": func(i int) string { return fmt.Sprintf("%08d", i) },
	} {
		t.Run(name, func(t *testing.T) {
			whole, low, high := map[uint64]bool{}, map[uint64]bool{}, map[uint64]bool{}
			for i := range count {
				hash := hashOf(key(i))
				whole[hash], low[hash%count], high[hash>>50] = true, true, true
			}
			// So many of as many slots are taken by chance: 1 - 1/e.
			require.Len(t, whole, count)
			require.InDelta(t, 0.632, float64(len(low))/count, 0.03)
			require.InDelta(t, 0.632, float64(len(high))/count, 0.03)
		})
	}
	require.Equal(t, hashOf("a"), hashOf("xa"[1:]), "whatever it is part of")
}
