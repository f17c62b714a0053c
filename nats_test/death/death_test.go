package death_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Promises 3 and 4, by the quick way: a process that dies is gone from every snapshot long before its lease ends, and
// nobody else is.

// hold is longer than it takes all to see a death if they see it at once.
const hold = 200 * time.Millisecond

func TestKilledWhereTheServerTellsNothing(t *testing.T) {
	if chosen("probes") {
		f := startFleet(t, *processes, false, hold)
		die(t, f, f.settled)
	}
}

func TestKilledWhereTheServerTells(t *testing.T) {
	if chosen("events") {
		f := startFleet(t, *processes, true, hold)
		die(t, f, func() error { return nil }) // at any moment, also right after a node has joined
	}
}

func TestFrozen(t *testing.T) {
	if chosen("freeze") {
		freeze(t, startFleet(t, *processes, true, hold))
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

func freeze(t *testing.T, f *fleet) {
	var out, back tally
	for i := range *kills {
		require.NoError(t, f.settled())
		victim := f.any()
		who, at := f.touch(victim)
		require.NoError(t, victim.signal(syscall.SIGSTOP))
		require.NoError(t, f.waitGone(victim, who))
		out.add(victim.name, at, f.seenBy(who))

		thawed := time.Now().UnixNano()
		require.NoError(t, victim.signal(syscall.SIGCONT))
		require.NoError(t, f.waitSeen(victim))
		back.add(victim.name, thawed, f.listedBy(victim))
		f.spare(victim)
		// It suspects nobody for a while: another one takes its place.
		require.NoError(t, f.close(victim))
		require.NoError(t, f.replace(i))
		f.requireNoFalseLoss()
	}
	out.print(t)
	t.Log("listed again after it thawed:")
	back.print(t)
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
