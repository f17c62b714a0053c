//go:build long

package rescue

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
