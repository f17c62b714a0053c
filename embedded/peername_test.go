package embedded

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnIDIsThatOfNatsServer(t *testing.T) {
	for _, name := range []string{"a", "a.b-c_d~1", randomText()} {
		ns, err := run((&config{host: loopback, name: name, storeDir: t.TempDir()}).serverOptions(), newServerLog(slog.New(slog.DiscardHandler)))
		require.NoError(t, err)
		t.Cleanup(func() { stop(ns) })
		require.Equal(t, ns.Node(), peerID(name))
	}
}

// A leader that has not heard a member since it began, and was not told of it before, has its id alone.
func TestWhoIsListedWithoutItsNameKeepsItsStore(t *testing.T) {
	for _, test := range []struct {
		listed string
		kept   bool
	}{{"c", true}, {unnamed(peerID("c")), true}, {unnamed(peerID("d")), false}, {"d", false}} {
		now := time.Now()
		b := newBrain(now, settings{fleet: "f", size: 3}, identity{name: "c", phase: phaseMember, was: phaseMember, cluster: "f-1", server: "c"}, "3")
		hello := &hello{Fleet: "f", Size: 3, Name: "a", Instance: "1", Phase: phaseMember, Cluster: "f-1", Server: "a", Leader: "a", Port: 1,
			Peers: []string{"a", "b", test.listed}, Lead: &lead{Quorum: true, Live: []string{"a", "b"}}}
		emptied := false
		for range 20 {
			b.view.hear(now, contact{Host: "h"}, hello)
			for _, o := range b.step(now, status{}) {
				emptied = emptied || o.do == doEmpty
			}
			now = now.Add(time.Second)
		}
		require.Equal(t, test.kept, !emptied, test.listed)
	}
}

// A server that has been cut off thinks for a while that it leads, and may list what was: who leads since a later election knows.
func TestOfTwoLeadersTheLaterOneKnows(t *testing.T) {
	for _, test := range []struct {
		former, later []string // whom they list
		kept          bool
	}{
		{[]string{"a", "b", "d"}, []string{"a", "b", "c"}, true},
		{[]string{"a", "b", "c"}, []string{"a", "b", "d"}, false},
	} {
		now := time.Now()
		b := newBrain(now, settings{fleet: "f", size: 3}, identity{name: "c", phase: phaseMember, was: phaseMember, cluster: "f-1", server: "c"}, "3")
		says := func(name string, term uint64, lists []string) *hello {
			return &hello{Fleet: "f", Size: 3, Name: name, Instance: name, Phase: phaseMember, Cluster: "f-1", Server: name, Leader: name, Port: 1,
				Peers: lists, Lead: &lead{Term: term, Quorum: true, Live: []string{"a", "b"}}}
		}
		emptied := false
		for i := 0; i < 20 && !emptied; i++ {
			b.view.hear(now, contact{Host: "a"}, says("a", 7, test.former))
			b.view.hear(now, contact{Host: "b"}, says("b", 8, test.later))
			for _, o := range b.step(now, status{}) {
				emptied = emptied || o.do == doEmpty
			}
			now = now.Add(time.Second)
		}
		require.Equal(t, test.kept, !emptied)
	}
}
