//go:build long

package rescue

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus/embedded"
)

// told waits until a survivor says who is missing, and that a rescue is needed.
func (f *fleet) told(survivor string, lost []string) {
	f.t.Helper()
	f.wait("the loss to be told", func() bool {
		s := f.state(survivor)
		return strings.HasPrefix(s.Waiting, strings.Join(lost, ", ")+": ") && strings.Contains(s.Waiting, "a rescue by hand is needed") && !s.Ready
	})
	f.t.Log(f.state(survivor).Waiting)
}

// whole says that the cluster is: as many members as it should have, none of them lost, and messages are written.
func (f *fleet) whole(c *canary, lost []string) {
	f.t.Helper()
	c.whole()
	members := f.members()
	require.Len(f.t, members, f.size)
	require.Len(f.t, without(members, lost...), f.size)
	end := c.write()
	c.more(100)
	end()
}

// The survivor is the stream's leader, and has all that was acknowledged: nothing may be lost, not of what is in flight either.
func TestOneOfThreeIsLeftAndHasAll(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, 5)
	c := f.newCanary("canary", 3)
	end := c.write()
	c.more(1000)
	survivor := c.leader()
	lost := without(f.members(), survivor)
	f.lose(lost...)
	f.told(survivor, lost)
	require.Empty(t, f.rescue(survivor, lost...))
	c.more(100) // those who write have waited, and go on
	end()
	f.whole(c, lost)
	require.Empty(t, c.lost())
}

// What was acknowledged while the survivor was not there, by the two that were, is lost with them. Everything else is there.
func TestOneOfThreeIsLeftAndWasBehind(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, 5)
	c := f.newCanary("canary", 3)
	end := c.write()
	c.more(500)
	survivor := without(f.members(), c.leader())[0]
	lost := without(f.members(), survivor)
	end()
	c.whole()
	before := c.count()
	f.by[survivor].kill()
	end = c.write()
	c.more(500)
	end()
	after := c.count()
	f.lose(lost...)
	f.start(survivor)
	f.told(survivor, lost)
	require.Empty(t, f.rescue(survivor, lost...))
	f.whole(c, lost)
	gone := c.lost()
	require.NotEmpty(t, gone, "what nobody has any more")
	require.GreaterOrEqual(t, gone[0], before)
	require.Less(t, gone[len(gone)-1], after)
	t.Logf("of %d that were acknowledged while the survivor was away, %d are lost", after-before, len(gone))
}

// Of two survivors one is behind, and is the one that is asked: the other leads, and nothing is lost.
func TestTwoOfFiveAreLeftAndOneWasBehind(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 5, 8)
	c := f.newCanary("canary", 5)
	end := c.write()
	c.more(500)
	knows := c.leader()
	behind := without(f.members(), knows)[0]
	lost := without(f.members(), knows, behind)
	f.by[behind].kill()
	c.more(500)
	f.lose(lost...)
	f.start(behind)
	f.told(knows, lost)
	f.told(behind, lost)
	require.Empty(t, f.rescue(behind, lost...))
	end()
	f.whole(c, lost)
	require.Empty(t, c.lost())
}

// By a file, after the survivor was restarted, and so has not heard the others in its life; and with TLS.
func TestARescueByFile(t *testing.T) {
	t.Parallel()
	cert, key, ca := certificates(t)
	f := newFleet(t, 3, 5, cert, key, ca)
	c := f.newCanary("canary", 3)
	end := c.write()
	c.more(500)
	survivor := c.leader()
	lost := without(f.members(), survivor)
	f.lose(lost...)
	end()
	f.by[survivor].kill()
	f.start(survivor)
	f.told(survivor, lost)

	path := filepath.Join(f.by[survivor].store, "rescue")
	outcome := func() string {
		text, err := os.ReadFile(path + ".done")
		if err != nil {
			return ""
		}
		return string(text)
	}
	require.NoError(t, os.WriteFile(path, []byte("# both machines burned\n"+lost[0]+"\n"), 0o600))
	f.wait("the outcome", func() bool { return strings.Contains(outcome(), "refused: ") })
	require.Contains(t, outcome(), "these are not connected: "+lost[1])
	require.NoFileExists(t, path)

	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lost, "\r\n")), 0o600))
	f.wait("the outcome", func() bool { return strings.Contains(outcome(), "done: the cluster is whole") })
	require.NoFileExists(t, path)
	f.whole(c, lost)
	require.Empty(t, c.lost())
}

// Processes that come back under the names of the lost, with empty stores, need no rescue if all do: they are those of before.
func TestAllComeBackEmptyUnderTheirNames(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, 3)
	c := f.newCanary("canary", 3)
	end := c.write()
	c.more(500)
	survivor := c.leader()
	lost := without(f.members(), survivor)
	f.lose(lost...)
	end()
	f.told(survivor, lost)
	f.start(lost[0])
	f.start(lost[1])
	f.wait("all to be ready", func() bool {
		return !slices.ContainsFunc(f.names(), func(name string) bool { return !f.state(name).Ready })
	})
	f.whole(c, nil)
	require.Empty(t, c.lost())
}

// One comes back empty, the other not at all: the one with a store leads.
func TestOneComesBackEmptyAndOneIsLost(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, 4)
	c := f.newCanary("canary", 3)
	end := c.write()
	c.more(500)
	survivor := c.leader()
	lost := without(f.members(), survivor)
	f.lose(lost...)
	end()
	f.told(survivor, lost)
	f.start(lost[0])
	f.wait("it to be one of them", func() bool { return f.state(lost[0]).Part == "joining" || f.state(lost[0]).Part == "member" })
	f.told(survivor, lost[1:])
	require.Empty(t, f.rescue(survivor, lost[1]))
	f.whole(c, lost[1:])
	require.Empty(t, c.lost())
}

// What only a lost server had is lost: the stream is there, and empty, and can be written to.
func TestAStreamOfALostServerAloneIsEmpty(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, 5)
	c, one := f.newCanary("canary", 3), f.newCanary("one", 1)
	survivor := without(f.members(), one.leader())[0]
	lost := without(f.members(), survivor)
	for _, each := range []*canary{c, one} {
		end := each.write()
		each.more(100)
		end()
	}
	c.whole()
	f.lose(lost...)
	f.told(survivor, lost)
	require.Empty(t, f.rescue(survivor, lost...))
	f.whole(c, lost)
	require.Empty(t, c.lost())
	one.whole()
	require.Zero(t, one.info(f.connect()).State.Msgs)
	one.js = f.connect()
	end := one.write()
	one.more(100)
	end()
}

// No rescue, but the same: a member that was gone for the grace is replaced, and comes back to a stream that began anew without it.
func TestAStreamOfOneReplicaIsEmptyWhenItsServerWasReplaced(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3, 4)
	one := f.newCanary("one", 1)
	end := one.write()
	one.more(100)
	end()
	dead := one.leader()
	f.by[dead].kill()
	delete(f.by, dead)
	f.wait("it to be removed", func() bool {
		return !slices.ContainsFunc(f.names(), func(name string) bool {
			return slices.ContainsFunc(f.state(name).Members, func(p embedded.Process) bool { return p.Name == dead })
		})
	})
	f.start(dead)
	f.wait("it to be a spare", func() bool { return f.state(dead).Part == embedded.Spare })
	one.whole()
	require.Zero(t, one.info(f.connect()).State.Msgs)
}
