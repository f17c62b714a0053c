package exclusive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func crewOf(n int) crew {
	var c crew
	for i := range n {
		c.names = append(c.names, "worker-"+strconv.Itoa(i))
	}
	slices.Sort(c.names)
	return c
}

// without returns the crew without one of its members, and with that holders as the rest knows them.
func (c crew) without(i int) crew {
	next := crew{names: slices.Delete(slices.Clone(c.names), i, i+1)}
	if c.weights != nil {
		next.weights = slices.Delete(slices.Clone(c.weights), i, i+1)
	}
	return next
}

// known returns owners by one crew as the places of another one; nobody who is not of it.
func (c crew) known(owners []int, by crew) []int {
	held := make([]int, len(owners))
	for p, i := range owners {
		held[p] = nobody
		if i != nobody {
			held[p] = slices.Index(c.names, by.names[i])
		}
	}
	return held
}

// leastMoves is how many of those that are held must move for a crew to be balanced, by arithmetic alone.
func (c crew) leastMoves(held []int) int {
	r, loads, moves := newRoom(c, len(held)), make([]int, len(c.names)), 0
	for _, i := range held {
		if i != nobody {
			loads[i]++
		}
	}
	for i, load := range loads {
		spare := max(0, load-r.least[i])
		if spare > 0 && r.more[i] && r.over > 0 {
			r.over--
			spare--
		}
		moves += spare
	}
	return moves
}

// moved is how many of those that are held by somebody are another's.
func moved(held, owners []int) (moves int) {
	for p, i := range held {
		if i != nobody && owners[p] != i {
			moves++
		}
	}
	return moves
}

// requireBalanced checks that each member has what its weight says, to within less than one, and that nothing is left over.
func requireBalanced(t require.TestingT, c crew, owners []int) {
	loads, total := make([]int, len(c.names)), 0
	for i := range c.names {
		total += c.weight(i)
	}
	for _, i := range owners {
		require.True(t, i >= 0 || total == 0)
		if i >= 0 {
			loads[i]++
		}
	}
	for i, load := range loads {
		off := load*total - len(owners)*c.weight(i)
		require.Less(t, max(off, -off), max(total, 1), "%s has %d of %d", c.names[i], load, len(owners))
	}
}

// plainly is what assign computes, as the rule says it: all pairs, the best first.
func (c crew) plainly(role string, n int, held []int) []int {
	a := &assignment{crew: c, owner: make([]int, n), places: make([]uint64, n), room: newRoom(c, n)}
	for _, name := range c.names {
		a.hashes = append(a.hashes, hashText(name))
	}
	for p := range n {
		a.owner[p] = nobody
		a.places[p] = scatter(hashText(partitionName(role, n, p)))
	}
	a.keep(held)
	for p := range n {
		for i := range c.names {
			if a.owner[p] == nobody {
				a.pairs = append(a.pairs, a.pair(p, i))
			}
		}
	}
	a.settle()
	return a.owner
}

// anyCrew is a random crew, and who holds what.
func anyCrew(rng *rand.Rand, members, partitions int) (c crew, held []int) {
	c = crewOf(1 + rng.IntN(members))
	if rng.IntN(2) == 0 {
		for range c.names {
			c.weights = append(c.weights, rng.IntN(5))
		}
	}
	for range 1 + rng.IntN(partitions) {
		held = append(held, rng.IntN(len(c.names)+1)-1)
	}
	return c, held
}

func TestAssignIsBalancedAndByTheRule(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		c, held := anyCrew(rng, 60, 300)
		for _, held := range [][]int{nil, held} {
			held := pad(held, 7)
			owners := c.assign("r", len(held), held)
			requireBalanced(t, c, owners)
			require.Equal(t, c.plainly("r", len(owners), held), owners)
		}
	}
}

// pad adds partitions that nobody holds.
func pad(held []int, by int) []int {
	held = slices.Clone(held)
	for range by {
		held = append(held, nobody)
	}
	return held
}

// What is held moves as little as can be, and while one after another moves the rest of the plan stays as it is: all members come to
// the same, though each sees the others' moves at other times.
func TestAssignKeepsWhatIsHeld(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 400 {
		c, held := anyCrew(rng, 20, 100)
		if slices.Max(append([]int{0}, c.weights...)) == 0 && c.weights != nil {
			continue
		}
		owners := c.assign("r", len(held), held)
		require.Equal(t, c.leastMoves(held), moved(held, owners))
		for range 20 {
			p := rng.IntN(len(held))
			switch {
			case held[p] == owners[p]:
			case held[p] != nobody && rng.IntN(2) == 0:
				held[p] = nobody
			default:
				held[p] = owners[p]
			}
			require.Equal(t, owners, c.assign("r", len(held), held))
		}
	}
}

// Of all ways to be balanced none moves less: each is tried.
func TestAssignMovesTheLeastOfAllWays(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		c, held := anyCrew(rng, 3, 6)
		total := 0
		for i := range c.names {
			total += c.weight(i)
		}
		if total == 0 {
			continue
		}
		best, ways := len(held)+1, 1
		for range held {
			ways *= len(c.names)
		}
		for way := range ways {
			owners, loads, fair := make([]int, len(held)), make([]int, len(c.names)), true
			for p := range owners {
				owners[p] = way % len(c.names)
				way /= len(c.names)
				loads[owners[p]]++
			}
			for i, load := range loads {
				off := load*total - len(held)*c.weight(i)
				fair = fair && max(off, -off) < total
			}
			if fair {
				best = min(best, moved(held, owners))
			}
		}
		require.Equal(t, best, moved(held, c.assign("r", len(held), held)), "%v %v", c, held)
	}
}

func FuzzAssign(f *testing.F) {
	f.Add([]byte{1, 1, 1}, []byte{0, 1, 2, 0, 1, 2})
	f.Add([]byte{0, 9, 200}, []byte{3, 3, 3, 1, 1, 1, 1, 0})
	f.Fuzz(func(t *testing.T, weights, holders []byte) {
		if len(weights) == 0 || len(weights) > 50 || len(holders) > 500 {
			return
		}
		c, total := crewOf(len(weights)), 0
		for _, w := range weights {
			c.weights = append(c.weights, int(w))
			total += int(w)
		}
		var held []int
		for _, h := range holders {
			held = append(held, int(h)%(len(weights)+1)-1)
		}
		owners := c.assign("r", len(held), held)
		requireBalanced(t, c, owners)
		if total > 0 {
			require.Equal(t, c.leastMoves(held), moved(held, owners))
			require.Equal(t, owners, c.assign("r", len(held), owners))
			require.Equal(t, c.plainly("r", len(held), nil), c.assign("r", len(held), nil))
		}
	})
}

// Equal weights are as none; a member of no weight is as if it were not there.
func TestAssignWeights(t *testing.T) {
	c := crewOf(7)
	plain := c.assign("r", 100, nil)
	c.weights = []int{3, 3, 3, 3, 3, 3, 3}
	require.Equal(t, plain, c.assign("r", 100, nil))
	c.weights[2] = 0
	require.Equal(t, c.known(crew{names: c.without(2).names}.assign("r", 100, nil), c.without(2)), c.assign("r", 100, nil))
	c.weights = []int{0, 0, 0, 0, 0, 0, 0}
	require.Equal(t, slices.Repeat([]int{nobody}, 100), c.assign("r", 100, nil))
	require.Equal(t, slices.Repeat([]int{nobody}, 100), crew{}.assign("r", 100, nil))
	require.Empty(t, c.assign("r", 0, nil))
}

// The cost of a pair never grows with its weight: else the limits of a reach would leave out better pairs for worse ones.
func TestDepthNeverGrows(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	require.Equal(t, uint64(1), depth(^uint64(0)))
	require.Equal(t, uint64(64<<depthBits), depth(0))
	require.Equal(t, uint64(1<<depthBits), depth(1<<63))
	for range 100_000 {
		x := rng.Uint64() >> rng.IntN(64)
		y := x + rng.Uint64N(1<<40)>>rng.IntN(40)
		if y >= x {
			require.LessOrEqual(t, depth(y), depth(x))
		}
	}
}

// Three partitions and five names are enough that no rule that goes by the names alone is both balanced and moves the least: docs/PROTOCOL.md has the
// proof. Here all rules are tried that move the least, which are rankings of the names for each partition.
func TestNoRuleIsBalancedAndMovesTheLeast(t *testing.T) {
	var rankings [][]int
	var rank func(done []int)
	rank = func(done []int) {
		if len(done) == 5 {
			rankings = append(rankings, slices.Clone(done))
		}
		for i := range 5 {
			if !slices.Contains(done, i) {
				rank(append(done, i))
			}
		}
	}
	rank(nil)
	owners := make([][32]int, len(rankings)) // of each set of names
	for r, ranking := range rankings {
		for set := 1; set < 32; set++ {
			owners[r][set] = ranking[slices.IndexFunc(ranking, func(i int) bool { return set>>i&1 == 1 })]
		}
	}
	differ := func(a, b, set int) bool { return owners[a][set] != owners[b][set] }
	three := func(set int) bool { return set&(set-1) != 0 && set&(set-1)&((set&(set-1))-1) != 0 }
	found := 0
	for a := range rankings {
		for b := range rankings[:a] {
			for c := range rankings[:b] {
				good := true
				for set := 1; set < 32 && good; set++ {
					good = !three(set) || differ(a, b, set) && differ(b, c, set) && differ(a, c, set)
				}
				if good {
					found++
				}
			}
		}
	}
	require.Len(t, rankings, 120)
	require.Zero(t, found)
}

func TestVectorsPartitions(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "docs", "vectors", "partitions.jsonl"))
	require.NoError(t, err)
	for line := range bytes.Lines(raw) {
		var v struct {
			Case, Role  string
			Partitions  int
			Nodes       []string
			Shares      []int
			Held, Owner []*string
			Weights     []string
			Costs       []*string
		}
		dec := json.NewDecoder(bytes.NewReader(line))
		require.NoError(t, dec.Decode(&v))
		t.Run(v.Case, func(t *testing.T) {
			c := crew{names: v.Nodes, weights: v.Shares}
			place := func(names []*string) (held []int) {
				for _, name := range names {
					held = append(held, nobody)
					if name != nil {
						held[len(held)-1] = slices.Index(c.names, *name)
					}
				}
				return held
			}
			require.True(t, slices.IsSorted(v.Nodes))
			require.Equal(t, place(v.Owner), c.assign(v.Role, v.Partitions, place(v.Held)))
			for i, name := range v.Nodes {
				weight := scatter(hashText(name) ^ scatter(hashText(partitionName(v.Role, v.Partitions, 0))))
				require.Equal(t, v.Weights[i], fmt.Sprintf("%016x", weight))
				if v.Shares != nil && v.Shares[i] > 0 {
					require.Equal(t, *v.Costs[i], fmt.Sprintf("%016x", cost(weight, v.Shares[i])))
				}
			}
		})
	}
}

func BenchmarkAssign(b *testing.B) {
	for _, size := range []struct {
		n, m     int
		weighted bool
	}{{16, 3, false}, {1024, 10, false}, {4096, 50, false}, {4096, 1000, false}, {4096, 1000, true}, {65536, 1000, false}} {
		c := crewOf(size.m)
		if size.weighted {
			for i := range c.names {
				c.weights = append(c.weights, 1+i%4)
			}
		}
		for _, held := range [][]int{nil, c.assign("r", size.n, nil)} {
			b.Run(fmt.Sprintf("n=%d/m=%d/weighted=%v/held=%v", size.n, size.m, size.weighted, held != nil), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					c.assign("r", size.n, held)
				}
			})
		}
	}
}

// BenchmarkMoved tells how many times the least possible move: when one member goes, one comes, and three go and three come.
func BenchmarkMoved(b *testing.B) {
	for _, n := range []int{16, 64, 256, 1024, 4096} {
		for _, m := range []int{2, 3, 5, 10, 20, 50} {
			b.Run(fmt.Sprintf("n=%d/m=%d", n, m), func(b *testing.B) {
				var moves, least [3]float64
				for round := 0; b.Loop(); round++ {
					var all crew
					for i := range m + 3 {
						all.names = append(all.names, fmt.Sprintf("worker-%d-%d", round, i))
					}
					part := func(from, to int) crew {
						names := slices.Clone(all.names[from:to])
						slices.Sort(names)
						return crew{names: names}
					}
					before := part(0, m)
					owners := before.assign("r", n, nil)
					for i, after := range []crew{part(1, m), part(0, m+1), part(min(3, m-1), m+3)} {
						held := after.known(owners, before)
						gone := 0
						for _, h := range held {
							if h == nobody {
								gone++
							}
						}
						moves[i] += float64(gone + moved(held, after.assign("r", n, nil)))
						least[i] += float64(gone + after.leastMoves(held))
					}
				}
				for i, change := range []string{"goes", "comes", "3for3"} {
					b.ReportMetric(moves[i]/max(least[i], 1), change)
				}
			})
		}
	}
}
