package embedded

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// leaver is the member c of a cluster of a, b and c that leaves, led by a, and what it does within a time.
type leaver struct {
	b    *brain
	now  time.Time
	own  status
	live []string
}

func newLeaver(live ...string) *leaver {
	l := &leaver{now: time.Now(), live: live}
	l.b = newBrain(l.now, settings{fleet: "f", size: 3, grace: 10 * time.Second}, identity{name: "c", phase: phaseSpare}, "3")
	l.b.phase, l.b.cluster, l.b.server = phaseMember, "x", "c"
	l.own = status{running: true, leader: "a", applied: true, peers: []peer{{name: "a", live: true}, {name: "b"}, {name: "c", live: true}}}
	return l
}

// leaves has it leave for so long, and returns what it ordered.
func (l *leaver) leaves(d time.Duration) map[action]int {
	did := map[action]int{}
	l.b.goes(l.now)
	for end := l.now.Add(d); l.now.Before(end); l.now = l.now.Add(500 * time.Millisecond) {
		l.b.view.hear(l.now, contact{Host: "h"}, &hello{Name: "a", Instance: "1", Server: "a", Leader: "a", Phase: phaseMember, Cluster: "x", Size: 3, Port: 1, RoutePort: 2,
			Peers: []string{"a", "b", "c"}, Lead: &lead{Quorum: true, Live: l.live, Leaving: "c"}})
		for _, o := range l.b.step(l.now, l.own) {
			did[o.do]++
		}
	}
	return did
}

func TestWhoLeavesIsRemovedAtLast(t *testing.T) {
	require.NotZero(t, newLeaver("a", "b", "c").leaves(time.Minute)[doRemove])
}

// Of two that are left after one has died, and nobody has taken its place, none may go: the other one would lead nothing.
func TestNobodyLeavesWhomTheMajorityNeeds(t *testing.T) {
	l := newLeaver("a", "c")
	did := l.leaves(10 * time.Minute)
	require.Zero(t, did[doRemove])
	require.Zero(t, did[doEvacuate])
	require.Contains(t, l.b.waits, "1 of 2 are there, and 2 are needed")
	require.Equal(t, phaseLeaving, l.b.phase)
	l.live = []string{"a", "b", "c"}
	require.NotZero(t, l.leaves(time.Minute)[doRemove])
}

func TestWhatOneAloneStoresIsWaitedFor(t *testing.T) {
	l := newLeaver("a", "b", "c")
	l.own.streams, l.own.sole = 2, 1
	did := l.leaves(time.Hour)
	require.Zero(t, did[doRemove])
	require.NotZero(t, did[doEvacuate])
	require.Contains(t, l.b.waits, "others to have what it stores")
	l.own.sole = 0
	require.NotZero(t, l.leaves(time.Minute)[doRemove])
}

// On a full disk a server runs for a moment after each start, until it writes.
func TestAServerThatDoesNotStayIsStartedLessAndLessOften(t *testing.T) {
	l := newLeaver("a", "b", "c")
	starts := 0
	for range 1800 { // an hour
		l.now = l.now.Add(2 * time.Second)
		l.own.off = l.now.Sub(l.b.tried) > 3*time.Second
		for _, o := range l.b.step(l.now, l.own) {
			if o.do == doStart {
				starts++
			}
		}
	}
	require.Less(t, starts, 130)
	require.Greater(t, starts, 100)
}

func TestAnIPv6AddressIsAdvertisedAsOthersReadIt(t *testing.T) {
	cfg, err := newConfig([]Option{WithSize(3), WithHost("::"), WithAdvertise("fd00::1"), WithSecret("0123456789abcdef")})
	require.NoError(t, err)
	require.NoError(t, cfg.finish(true))
	o, err := memberOptions(cfg, place{clientPort: 1, routePort: 2}, &routeAuth{secrets: func() []string { return nil }})
	require.NoError(t, err)
	require.Equal(t, "[fd00::1]:1", o.ClientAdvertise)
	require.Equal(t, "[fd00::1]:2", o.Cluster.Advertise)
}

// An authenticated process may have an error: what it tells of others is passed on, and must not make ours too long.
func TestContactsWithoutSenseAreNotPassedOn(t *testing.T) {
	h := &hello{Name: "a", Instance: "1", Phase: phaseSpare, Port: 1, RoutePort: 2, Others: []contact{
		{Host: "h", Port: 1}, {Host: "h", Port: 1, TLSName: "a.example"}, {Host: "h", Port: 1, TLSName: strings.Repeat("a", 60_000)}, {Host: "a b", Port: 1}, {Host: "h"}}}
	require.NoError(t, h.check())
	require.Equal(t, []contact{{Host: "h", Port: 1}, {Host: "h", Port: 1, TLSName: "a.example"}}, h.Others)
}
