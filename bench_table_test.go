package rolebus

import (
	"fmt"
	"maps"
	"testing"
)

// BenchmarkTable measures the candidates for the tables of a snapshot: what it costs to read a key, and to set one without
// changing the table before.
//
//	Copied:  a map, copied for every change
//	Sharded: 256 maps, of which one is copied, and the list of them
//	Table:   what snapshots have
func BenchmarkTable(b *testing.B) {
	const shards = 256
	shard := func(i int) int { return i % shards }
	for _, count := range []int{100, 10_000, 100_000} {
		keys := make([]string, count)
		whole, parts, all := map[string]*Node{}, make([]map[string]*Node, shards), table[*Node]{}
		for i := range parts {
			parts[i] = map[string]*Node{}
		}
		by := &edition{}
		for i := range keys {
			keys[i] = nodeName(i * 7919 % count)
			n := &Node{name: keys[i]}
			whole[keys[i]], parts[shard(i)][keys[i]] = n, n
			all.put(by, keys[i], n)
		}
		n := &Node{}
		run := func(name string, do func(i int) *Node) {
			b.Run(fmt.Sprintf("%s/keys=%d", name, count), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if do(i%count) == nil {
						b.Fatal("not found")
					}
				}
			})
		}
		run("Read/Copied", func(i int) *Node { return whole[keys[i]] })
		run("Read/Sharded", func(i int) *Node { return parts[shard(i)][keys[i]] })
		run("Read/Table", func(i int) *Node { return all.get(keys[i]) })
		run("Set/Copied", func(i int) *Node {
			next := maps.Clone(whole)
			next[keys[i]] = n
			return next[keys[i]]
		})
		run("Set/Sharded", func(i int) *Node {
			next := append([]map[string]*Node(nil), parts...)
			next[shard(i)] = maps.Clone(next[shard(i)])
			next[shard(i)][keys[i]] = n
			return next[shard(i)][keys[i]]
		})
		run("Set/Table", func(i int) *Node {
			next := all
			next.put(&edition{}, keys[i], n)
			return n
		})
	}
}
