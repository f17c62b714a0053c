package exclusive

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strconv"
)

// Who of the members of a role owns which of n partitions. Every language can compute it, so docs/PROTOCOL.md describes it, and what it
// says may not change any more. Pure: no I/O, no clock.
//
// Each pair of a partition and a member has a weight, as Nodes.Owner of the root has for a key and a node. The pairs are looked at from
// the best one on: the partition of a pair is given to its member, unless somebody has it already, or the member has all that it may.
// That is what a stable matching is, so who comes or goes moves what it owns, and little of what others do.

// crew is who may own partitions, sorted by name, and how much of them.
type crew struct {
	names   []string
	weights []int // at least 0; nil: each 1
}

func (c crew) weight(i int) int {
	if c.weights == nil {
		return 1
	}
	return c.weights[i]
}

// nobody is the owner of what nobody owns.
const nobody = -1

// partitionName is the text of which a partition's weights are made, and what its claim is called if the role is not too long.
func partitionName(role string, n, p int) string {
	return role + "/" + strconv.Itoa(n) + "/" + strconv.Itoa(p)
}

// assign returns the owner of each of n partitions, as its place in the crew: balanced, so that no member's share is one or more away
// from the exact one, which is its weight's part of n. held says who holds each now, or nobody; nil if that does not matter. Of what is
// held no more moves than it takes to be balanced. nobody owns anything if no member has a weight.
func (c crew) assign(role string, n int, held []int) []int {
	a := &assignment{crew: c, owner: make([]int, n), places: make([]uint64, n), room: newRoom(c, n)}
	if a.room.left == 0 {
		for p := range a.owner {
			a.owner[p] = nobody
		}
		return a.owner
	}
	for _, name := range c.names {
		a.hashes = append(a.hashes, hashText(name))
	}
	for p := range a.owner {
		a.owner[p] = nobody
		a.places[p] = scatter(hashText(partitionName(role, n, p)))
	}
	a.keep(held)
	for reach := uint64(4); a.room.left > 0; reach *= 3 { // how far does not matter to the outcome
		a.give(reach)
	}
	return a.owner
}

type assignment struct {
	crew
	hashes []uint64 // of the names
	places []uint64 // of the partitions
	owner  []int
	room   *room
	pairs  []pair
}

// room is how many partitions each member may still have.
type room struct {
	least []int  // what is certain to be a member's
	more  []bool // and it may have one more, if some are left over
	over  int    // so many are
	left  int
}

func newRoom(c crew, n int) *room {
	r := &room{least: make([]int, len(c.names)), more: make([]bool, len(c.names))}
	total := 0
	for i := range c.names {
		total += c.weight(i)
	}
	if total == 0 {
		return r
	}
	r.over, r.left = n, n
	for i := range c.names {
		share := n * c.weight(i)
		r.least[i], r.more[i] = share/total, share%total != 0
		r.over -= share / total
	}
	return r
}

func (r *room) has(i int) bool { return r.least[i] > 0 || r.more[i] && r.over > 0 }

func (r *room) take(i int) {
	r.left--
	if r.least[i] > 0 {
		r.least[i]--
		return
	}
	r.more[i] = false
	r.over--
}

// pair is a partition and a member. The one with the smaller cost is better; of two alike the one with the larger weight, then the
// earlier partition, then the earlier member.
type pair struct {
	cost, weight uint64
	p, i         int32
}

func (a pair) compare(b pair) int {
	return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(b.weight, a.weight), cmp.Compare(a.p, b.p), cmp.Compare(a.i, b.i))
}

func (a *assignment) pair(p, i int) pair {
	x := pair{weight: scatter(a.hashes[i] ^ a.places[p]), p: int32(p), i: int32(i)}
	if a.weights != nil {
		x.cost = cost(x.weight, a.weights[i])
	}
	return x
}

// keep leaves with each member what it holds, up to what it may have: the best of it.
func (a *assignment) keep(held []int) {
	for p, i := range held {
		if i != nobody && a.weight(i) > 0 {
			a.pairs = append(a.pairs, a.pair(p, i))
		}
	}
	a.settle()
}

// give gives what nobody has, by all pairs that are good enough: so good that a partition has that many, of members which have room.
// Whoever is left over is given by the next, longer reach.
func (a *assignment) give(reach uint64) {
	least, total := make([]uint64, len(a.names)), uint64(0)
	var open []int
	for i := range a.names {
		if a.room.has(i) {
			open = append(open, i)
			total += uint64(a.weight(i))
		}
	}
	if reach < total {
		for k, i := range open {
			if k > 0 && a.weight(i) == a.weight(open[k-1]) {
				least[i] = least[open[k-1]]
				continue
			}
			least[i] = a.worst(reach, total, a.weight(i))
		}
	}
	for p, owner := range a.owner {
		if owner != nobody {
			continue
		}
		for _, i := range open {
			if scatter(a.hashes[i]^a.places[p]) >= least[i] {
				a.pairs = append(a.pairs, a.pair(p, i))
			}
		}
	}
	a.settle()
}

// settle gives partitions to members, the best pairs first.
func (a *assignment) settle() {
	slices.SortFunc(a.pairs, pair.compare)
	for _, x := range a.pairs {
		if p, i := int(x.p), int(x.i); a.owner[p] == nobody && a.room.has(i) {
			a.owner[p] = i
			a.room.take(i)
		}
	}
	a.pairs = a.pairs[:0]
}

// worst returns the smallest weight that a pair of a member may have to be among the reach best of a total.
func (a *assignment) worst(reach, total uint64, weight int) uint64 {
	if a.weights == nil {
		return -(^uint64(0) / total * reach)
	}
	limit := uint64(float64(reach) / float64(total) / math.Ln2 * (1 << (depthBits + costBits)))
	from, to := uint64(0), ^uint64(0)
	for from < to {
		if middle := from + (to-from)/2; cost(middle, weight) <= limit {
			to = middle
		} else {
			from = middle + 1
		}
	}
	return from
}

const (
	depthBits = 24 // of a logarithm, after the point
	costBits  = 24 // of a cost, beyond those
)

// cost says how bad a pair is, if members differ in what they shall have: a member of twice the weight is the best one twice as often.
// It is what weighted rendezvous hashing goes by, the logarithm of the weight as a number between 0 and 1, through what the member shall
// have; in integers, so that it is the same everywhere.
func cost(weight uint64, share int) uint64 {
	if share == 0 {
		return ^uint64(0)
	}
	return depth(weight) << costBits / uint64(share)
}

// depth is how far below 2^64 a number is, as a logarithm to the base of 2 with depthBits bits after the point. It never grows when the
// number does.
func depth(x uint64) uint64 {
	x |= 1
	zeros := bits.LeadingZeros64(x)
	y := x << zeros >> 32
	part := uint64(0)
	for range depthBits {
		y = y * y >> 31
		part = part<<1 | y>>32
		y >>= y >> 32
	}
	return uint64(zeros+1)<<depthBits - part
}

// hashText is FNV-1a of 64 bits.
func hashText(text string) uint64 {
	hash := uint64(0xcbf29ce484222325)
	for i := range len(text) {
		hash = (hash ^ uint64(text[i])) * 0x100000001b3
	}
	return hash
}

// scatter is the last step of SplitMix64, as in the root's owner.go.
func scatter(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
