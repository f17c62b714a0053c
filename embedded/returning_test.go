package embedded

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Of a store there may be a copy: who returns with it, while another process is that member, hears of the others one after another, and must not take
// the place of one who just has not answered yet.
func TestReturnsWhenAllHaveAnsweredWhoMayHaveItsName(t *testing.T) {
	now := time.Now()
	b := newBrain(now, settings{fleet: "f", size: 3, grace: usualGrace}, identity{name: "b", phase: phaseMember, was: phaseMember, cluster: "x", server: "b"}, "9")
	says := func(name, instance string, port int) {
		b.view.hear(now, contact{Host: "h"}, &hello{Name: name, Instance: instance, Server: name, Leader: "a", Phase: phaseMember, Cluster: "x", Size: 3, Port: port, RoutePort: 2,
			Peers: []string{"a", "b", "c"}})
	}
	says("a", "1", 1)
	b.open = 1
	require.Empty(t, b.step(now, status{}))
	require.Equal(t, phaseReturns, b.phase)
	require.Contains(t, b.waits, "one of whom may have its name")
	says("b", "2", 2)
	b.open = 0
	b.step(now, status{})
	require.Equal(t, phaseReturns, b.phase)
	require.Contains(t, b.refused, `another process has the name "b"`)
}

// Nobody is waited for without end.
func TestReturnsThoughSomebodyNeverAnswers(t *testing.T) {
	now := time.Now()
	b := newBrain(now, settings{fleet: "f", size: 3, grace: usualGrace}, identity{name: "b", phase: phaseMember, was: phaseMember, cluster: "x", server: "b"}, "9")
	b.open = 1
	b.step(now, status{})
	require.Equal(t, phaseReturns, b.phase)
	b.step(now.Add(unlistedPatience+1), status{})
	require.Equal(t, phaseMember, b.phase)
}
