package embedded

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Spares hear of each other seldom: between two times they know of each other all the same. A member hears of them each second.
func TestStateOfASpareHasTheOtherSpares(t *testing.T) {
	now := time.Now()
	settings := settings{fleet: "f", size: 3}
	for _, test := range []struct {
		name   string
		phase  phase
		other  other
		listed bool
	}{
		{"heard a while ago", phaseSpare, other{heard: now.Add(-askSeldom)}, true},
		{"heard long ago", phaseSpare, other{heard: now.Add(-3 * askSeldom)}, false},
		{"does not answer any more", phaseSpare, other{heard: now.Add(-askSeldom), failed: now.Add(-2 * time.Second)}, false},
		{"heard by a member just now", phaseMember, other{heard: now.Add(-time.Second)}, true},
		{"heard by a member a while ago", phaseMember, other{heard: now.Add(-askSeldom)}, false},
	} {
		b := newBrain(now, settings, identity{name: "a", phase: phaseSpare, cluster: "c"}, "1")
		b.phase = test.phase
		test.other.hello = &hello{Name: "b", Instance: "2", Phase: phaseSpare, Cluster: "c", Port: 1, RoutePort: 2}
		b.view.others = map[string]*other{"2": &test.other}
		var names []string
		for _, p := range b.state(now, status{}, &hello{Name: "a", Phase: test.phase, Cluster: "c"}).Spares {
			names = append(names, p.Name)
		}
		require.Equal(t, test.listed, len(names) > 0 && names[len(names)-1] == "b", test.name)
	}
}

// Of two that say that they lead, it is the one since a later election.
func TestStateOfASpareHasTheLaterLeader(t *testing.T) {
	now := time.Now()
	for later, terms := range map[string][2]uint64{"a": {8, 7}, "b": {7, 8}} {
		b := newBrain(now, settings{fleet: "f", size: 3}, identity{name: "s", phase: phaseSpare, cluster: "c"}, "0")
		for i, name := range []string{"a", "b"} {
			b.view.hear(now, contact{Host: name}, &hello{Name: name, Instance: name, Phase: phaseMember, Cluster: "c", Server: name, Port: 1, RoutePort: 2,
				Leader: name, Peers: []string{"a", "b"}, Lead: &lead{Term: terms[i], Quorum: name == later, Live: []string{"a", "b"}}})
		}
		s := b.state(now, status{}, &hello{Name: "s", Phase: phaseSpare, Cluster: "c"})
		require.Equal(t, later, s.Leader)
		require.True(t, s.Ready)
	}
}

// What a process said before its server began is no news once the own server knows that one: it is no spare any more.
func TestStateHasWhoHasJustBecomeAMember(t *testing.T) {
	now := time.Now()
	for _, server := range []string{"b", "b~2"} {
		b := newBrain(now, settings{fleet: "f", size: 3}, identity{name: "a", phase: phaseMember, cluster: "c", server: "a"}, "1")
		b.view.hear(now, contact{Host: "b"}, &hello{Name: "b", Instance: "2", Phase: phaseSpare, Port: 1, RoutePort: 2})
		own := status{running: true, routed: []string{server}, peers: []peer{{name: "a", live: true}, {name: server, live: true}}}
		s := b.state(now, own, &hello{Name: "a", Phase: phaseMember, Cluster: "c", Server: "a"})
		require.Empty(t, s.Spares)
		require.Len(t, s.Members, 2)
		require.Equal(t, Process{Name: "b", Server: server, Part: Joining, Heard: now, Live: true, Routed: true}, s.Members[1])
	}
}
