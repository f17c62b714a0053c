//go:build unix

package death_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFrozen(t *testing.T) {
	if chosen(t, "freeze") {
		freeze(t, startFleet(t, *processes, true, hold))
	}
}

func freeze(t *testing.T, f *fleet) {
	var out, back tally
	for i := range *kills {
		require.NoError(t, f.settled())
		victim := f.any()
		who, at := f.touch(victim)
		require.NoError(t, victim.cmd.Process.Signal(syscall.SIGSTOP))
		require.NoError(t, f.waitGone(victim, who))
		out.add(victim.name, at, f.seenBy(who))

		thawed := time.Now().UnixNano()
		require.NoError(t, victim.cmd.Process.Signal(syscall.SIGCONT))
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
