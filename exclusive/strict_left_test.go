package exclusive_test

import (
	"context"
	"testing"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/exclusive"
	"github.com/rolebus/rolebus/rolebustest"
)

// What a node held whose end nobody has seen is free a TTL after the first member has found that out: partitions, too.
func TestPartitionsOfWhomNobodyKnewAreTaken(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	link := srv.Link()
	first, watcher := link.Bus(withTTL(), rolebus.WithRoles("worker")), join(t, srv)
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	for a := range exclusive.Partitions(ctx, first.Scope, "worker", 4, exclusive.Strict()) {
		if len(a.Partitions) == 4 {
			link.Cut() // what it holds stays in the bucket
			break
		}
	}
	eventually(t, "its end", func() bool { return watcher.Snapshot().Node(first.Name()) == nil })
	eventually(t, "its tombstone", func() bool {
		incarnation, _, err := watcher.Standing(soon(t), first.Name())
		return err == nil && incarnation == 0
	})
	second := join(t, srv, rolebus.WithRoles("worker")) // it reads the tombstone, and was not there to judge it
	for a := range exclusive.Partitions(soon(t), second.Scope, "worker", 4, exclusive.Strict()) {
		if len(a.Partitions) == 4 {
			return
		}
	}
	t.Fatal("they are not taken")
}
