package embedded

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A network that was split is whole again, and the leader sees a spare before it sees the member who was away: when it sees that one, too, it takes
// back what it has offered the spare, for as long as a server may need to return, and once.
func TestTheLeaderGivesWhoReturnsTime(t *testing.T) {
	now := time.Now()
	b := newBrain(now, settings{fleet: "f", size: 3, grace: 10 * time.Second}, identity{name: "a", phase: phaseSpare}, "1")
	b.phase, b.cluster, b.server = phaseMember, "x", "a"
	own := status{running: true, leads: true, leader: "a", applied: true, peers: []peer{{name: "a", live: true}, {name: "b", live: true}, {name: "c"}}}
	others := map[string]*other{}
	b.view.others = others
	says := func(name string, p phase, from, to time.Duration) func(at time.Duration) {
		return func(at time.Duration) {
			if at >= from && at < to {
				o := &other{hello: &hello{Name: name, Instance: name, Server: name, Phase: p, Cluster: "x", Size: 3, Port: 1, RoutePort: 2}, heard: now}
				if p == phaseSpare {
					o.hello.Server = ""
				}
				others[name] = o
			}
		}
	}
	const s = time.Second
	speak := []func(time.Duration){
		says("b", phaseMember, 0, 1000*s), says("d", phaseSpare, 30*s, 1000*s),
		says("c", phaseMember, 31*s, 33*s), says("c", phaseMember, 50*s, 60*s), // it comes and goes, and its server does not come
	}
	invited := map[time.Duration]string{}
	for at := time.Duration(0); at <= 60*s; at += 500 * time.Millisecond {
		for _, f := range speak {
			f(at)
		}
		b.step(now, own)
		invited[at] = b.leading.lead.Invited
		now = now.Add(500 * time.Millisecond)
	}
	require.Equal(t, "d", invited[30*s], "when it is seen")
	require.Empty(t, invited[31*s], "when the member is back")
	require.Empty(t, invited[40*s])
	require.Equal(t, "d", invited[42*s], "after the grace")
	require.Equal(t, "d", invited[51*s], "the member is not waited for once more")
}

// Who was removed as it asked has switched JetStream off for that, and not because its disk is full.
func TestWhoWasRemovedAsItAskedSaysSo(t *testing.T) {
	now := time.Now()
	b := newBrain(now, settings{fleet: "f", size: 3}, identity{name: "a", phase: phaseSpare}, "1")
	b.phase, b.cluster, b.server = phaseLeaving, "x", "a"
	own := status{running: true, off: true}
	b.step(now, own)
	b.step(now.Add(fresh), own)
	require.Equal(t, switchedOff, b.waits)
	b.going.began = true
	b.step(now.Add(fresh), own)
	require.Equal(t, letsGo, b.waits)
}

// Who was frozen, and removed meanwhile, has it switched off for that, too.
func TestWhoWasRemovedMeanwhileDoesNotSpeakOfItsDisk(t *testing.T) {
	now := time.Now()
	b := newBrain(now, settings{fleet: "f", size: 3}, identity{name: "c", phase: phaseSpare}, "3")
	b.phase, b.cluster, b.server = phaseMember, "x", "c"
	own := status{running: true, off: true}
	b.step(now, own) // it has not heard the leader yet
	require.Equal(t, whetherReplaced, b.waits)
	for now, end := now, now.Add(unlistedPatience); now.Before(end); now = now.Add(stepSettled) {
		b.view.hear(now, contact{Host: "h"}, &hello{Name: "a", Instance: "1", Server: "a", Leader: "a", Phase: phaseMember, Cluster: "x", Size: 3, Port: 1, RoutePort: 2,
			Peers: []string{"a", "b", "d"}, Lead: &lead{Quorum: true, Live: []string{"a", "b", "d"}}})
		b.step(now, own)
		require.Equal(t, whetherReplaced, b.waits)
	}
}
