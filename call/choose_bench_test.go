package call

import (
	"fmt"
	"testing"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
	"github.com/stretchr/testify/require"
)

// BenchmarkChoose chooses among 1,000 nodes, for the first attempt of a call.
func BenchmarkChoose(b *testing.B) {
	scope := rolebustest.NewServer(b).Bus(rolebus.WithNode("caller")).Scope
	var nodes []*rolebus.Node
	for i := range 1000 {
		nodes = append(nodes, rolebustest.Node(fmt.Sprintf("node-%04d", i), map[string]string{"zone": fmt.Sprint("zone-", i%3)}, "role"))
	}
	snap := rolebustest.Snapshot("default", nodes...)
	b.Run("nothing but the list", func(b *testing.B) {
		for b.Loop() {
			if snap.Nodes("role").Len() == 0 {
				b.Fatal("nobody")
			}
		}
	})
	for _, by := range []struct {
		name string
		opts []Option
	}{
		{"Random", []Option{Random()}},
		{"RoundRobin", []Option{RoundRobin()}},
		{"LeastBusy", []Option{LeastBusy()}},
		{"Hash", []Option{Hash()}},
		{"Sticky", []Option{Sticky()}},
		{"PreferMeta", []Option{PreferMeta("zone", "zone-1")}},
	} {
		m, err := New[string, string](scope, "role", "method", by.opts...)
		require.NoError(b, err)
		choose := func() {
			if n, err := m.c.chooser.choose(snap, nil, "key"); n == nil || err != nil {
				b.Errorf("node %v: %v", n, err)
			}
		}
		if by.name == "LeastBusy" { // with calls under way, which it has to look at
			for _, n := range nodes {
				m.c.client.loads.begin(n)
			}
		}
		b.Run(by.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				choose()
			}
		})
		b.Run(by.name+"/parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					choose()
				}
			})
		})
	}
}
