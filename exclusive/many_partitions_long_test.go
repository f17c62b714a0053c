//go:build long

package exclusive_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
)

// As many strict partitions as there may be: what one takes alone, and hands over by half.
func TestManyStrictPartitions(t *testing.T) {
	for _, n := range []int{1024, 4096, 8192} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			srv := rolebustest.NewServer(t)
			opts := []exclusive.Option{exclusive.Strict(), exclusive.Handover(0)}
			begin := func(name string) *worker {
				return work(t, srv.Bus(rolebus.WithNode(name), rolebus.WithTTL(lasting), rolebus.WithRoles("worker")), n, opts...)
			}
			freePartitions(t, srv.Bus(rolebus.WithTTL(lasting)), n)
			began := time.Now()
			a := begin("a")
			rolebustest.Within(t, 5*time.Minute, "all are taken", func() bool { return whole(n, a) })
			t.Logf("%d taken: %v, %d told, %d goroutines", n, time.Since(began).Round(time.Millisecond), len(a.told()), runtime.NumGoroutine())
			began = time.Now()
			b := begin("b")
			rolebustest.Within(t, 5*time.Minute, "half are handed over", func() bool { return whole(n, a, b) })
			t.Logf("%d handed over: %v, %d and %d told", n/2, time.Since(began).Round(time.Millisecond), len(a.told()), len(b.told()))
		})
	}
}
