//go:build unix

package death_test

import (
	"slices"
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

// The processes of one host fall silent together.

func TestAHostIsFrozen(t *testing.T) {
	if chosen(t, "host") {
		freezeHost(t)
	}
}

const (
	hostSize   = 5
	hostsNodes = 12
)

func freezeHost(t *testing.T) {
	_, ready, err := startChild(t, roleServer, config{Dir: t.TempDir(), Events: true}, nil)
	require.NoError(t, err)
	f := newFleet(t, ready.Text, hold)
	hears := f.listen()
	require.NoError(t, f.startAll(0, hostsNodes))
	var out, back tally
	for i := range *kills {
		require.NoError(t, hears())
		require.NoError(t, f.waitAlone())
		victims := f.running()[:hostSize]
		var lives []life
		at := time.Now().UnixNano()
		for _, n := range victims {
			who, _ := f.touch(n)
			lives = append(lives, who)
			require.NoError(t, n.cmd.Process.Signal(syscall.SIGSTOP))
		}
		seen := map[*node]end{}
		for j, n := range victims {
			require.NoError(t, f.wait("to lose sight of "+n.name, func(by *node) bool {
				return slices.Contains(victims, by) || by.view[n.name].incarnation != lives[j].incarnation
			}))
			for _, e := range f.seenBy(lives[j]) {
				seen[&node{}] = e
			}
		}
		out.add("a host", at, seen)

		thawed := time.Now().UnixNano()
		for _, n := range victims {
			require.NoError(t, n.cmd.Process.Signal(syscall.SIGCONT))
		}
		listed := map[*node]end{}
		for _, n := range victims {
			require.NoError(t, f.waitSeen(n))
			for by, e := range f.listedBy(n) {
				if !slices.Contains(victims, by) {
					listed[&node{}] = e
				}
			}
			f.spare(n)
		}
		back.add("a host", thawed, listed)
		// They suspect nobody for a while: others take their place.
		hears = f.listen()
		for _, n := range victims {
			require.NoError(t, f.close(n))
		}
		require.NoError(t, f.startAll(hostsNodes+i*hostSize, hostSize))
		f.requireNoFalseLoss()
	}
	require.NoError(t, hears())
	out.print(t)
	t.Log("listed again after it thawed:")
	back.print(t)
	out.requireUnreachable(t)
}
