//go:build linux

package exclusive_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/internal/children"
)

// runNaive is the main function of a process that does what one does without terms: whoever is the first of a role's nodes holds the name, as long as
// it is, and its lease is certain. It is wrong, as each process may see others nodes: whom it cannot reach, it leaves out.
func runNaive(in *bufio.Reader) error {
	n, err := openNode(in)
	if err != nil {
		return err
	}
	fmt.Println(joinedSaid)
	go func() {
		var order string
		_ = children.ReadLine(in, &order) // the test is over
		os.Exit(0)
	}()
	first := func(snap *rolebus.Snapshot) bool {
		for node := range snap.Nodes(worker).All() {
			return node.Name() == n.cfg.Node
		}
		return false
	}
	for snap := n.bus.Snapshot(); n.bus.Err() == nil; snap = n.bus.Snapshot() {
		if lease := n.bus.LeaseContext(); first(snap) && lease.Err() == nil {
			n.naiveTerm(lease, func() bool { return n.bus.LeaseLeft() > 0 && lease.Err() == nil && first(n.bus.Snapshot()) })
			continue
		}
		select {
		case <-snap.Superseded():
		case <-time.After(again): // the lease may be back
		}
	}
	return n.bus.Err()
}

func (n *node) naiveTerm(lease context.Context, holds func() bool) {
	e := n.ledger.begin(0, 0, uint64(time.Now().UnixNano()))
	n.eyes.watch(e, holds)
	for holds() {
		select {
		case <-lease.Done():
		case <-time.After(again):
		}
	}
}
