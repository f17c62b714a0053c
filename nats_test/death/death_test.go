package death_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Promises 3 and 4, by the quick way: a process that dies is gone from every snapshot long before its lease ends, and
// nobody else is.

// hold is longer than it takes all to see a death if they see it at once.
const hold = 200 * time.Millisecond

func TestKilledWhereTheServerTellsNothing(t *testing.T) {
	if chosen(t, "probes") {
		f := startFleet(t, *processes, false, hold)
		die(t, f, f.settled)
	}
}

func TestKilledWhereTheServerTells(t *testing.T) {
	if chosen(t, "events") {
		f := startFleet(t, *processes, true, hold)
		die(t, f, func() error { return nil }) // at any moment, also right after a node has joined
	}
}

func die(t *testing.T, f *fleet, ready func() error) {
	var out tally
	for i := range *kills {
		require.NoError(t, ready())
		victim := f.any()
		who, at, err := f.kill(victim)
		require.NoError(t, err)
		require.NoError(t, f.waitGone(victim, who))
		seen := f.seenBy(who)
		require.Len(t, seen, len(f.running()))
		out.add(victim.name, at, seen)
		require.NoError(t, f.replace(i))
		f.requireNoFalseLoss()
	}
	out.print(t)
	f.requireNoReturn()
	out.requireUnreachable(t)
}

// any returns one of the nodes.
func (f *fleet) any() *node {
	nodes := f.running()
	return nodes[rand.N(len(nodes))]
}

// replace starts another node in the place of one that went, and waits until everybody sees it.
func (f *fleet) replace(nth int) error {
	n, err := f.start(fmt.Sprint("node-", *processes+nth))
	if err != nil {
		return err
	}
	return f.waitSeen(n)
}
