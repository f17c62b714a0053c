package nats_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// longTTL is a lease that no test waits for: who is gone before is gone by suspicion.
const longTTL = 10 * time.Minute

func suspicious(name string) []rolebus.Option {
	return []rolebus.Option{
		rolebus.WithNode(name), rolebus.WithTTL(longTTL), rolebus.WithSyncInterval(time.Second), rolebus.WithRoles("x"),
		rolebus.WithProbeInterval(100 * time.Millisecond),
	}
}

func TestAProcessThatDiesOrHangsIsUnreachableAndComesBack(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"cut", "stall"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			srv := rolebustest.NewServer(t)
			fleet := []*rolebus.Bus{
				srv.Bus(suspicious("a")...), srv.Bus(suspicious("b")...),
				srv.Bus(append(suspicious("o")[:3], rolebus.WithObserver())...),
			}
			link := srv.Link()
			lost := link.Bus(suspicious("c")...)
			var seen []*events
			for _, b := range fleet {
				eventually(t, "the fleet", func() bool { return b.Nodes("x").Len() == 3 })
				seen = append(seen, watch(t, b.Scope))
			}
			awaitProbes(t, srv, "c", 2) // who never answered may be a program that cannot
			switch fault {
			case "cut":
				link.Cut()
			case "stall":
				link.Stall()
			}
			for _, b := range fleet {
				eventually(t, "the lost one to go", func() bool { return b.Nodes("x").Len() == 2 })
				require.Equal(t, []string{"c"}, names(b.Snapshot().Suspects().Slice()))
				require.Equal(t, []string{"a", "b"}, names(b.AllNodes().Slice()))
			}
			link.Mend()
			for i, b := range fleet {
				eventually(t, "it to come back", func() bool { return b.Nodes("x").Len() == 3 })
				require.Empty(t, b.Snapshot().Suspects().Slice())
				eventually(t, "the events", func() bool { return len(seen[i].lines("c")) == 6 })
				require.Equal(t, []string{
					"NodeJoined", "RoleAdded x", "RoleRemoved x unreachable", "NodeLeft unreachable", "NodeJoined", "RoleAdded x",
				}, seen[i].lines("c"))
				require.Empty(t, seen[i].gone("a", "b"))
			}
			require.NoError(t, lost.Err())
		})
	}
}

func TestAKilledProcessIsUnreachableLongBeforeItsLeaseEnds(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	o := srv.Bus(suspicious("a")...)
	seen := watch(t, o.Scope)
	p := startProcess(t, processNode, processConfig{URL: srv.URL(), Node: "p", TTL: longTTL})
	eventually(t, "the process", func() bool { return o.Nodes("process").Len() == 1 })
	// Not before it answered once: who never did may be a program that cannot.
	awaitProbes(t, srv, "p", 2)
	p.kill(t)
	eventually(t, "it to go", func() bool { return o.Nodes("process").Len() == 0 })
	require.Equal(t, "NodeLeft unreachable", last(seen.lines("p")))

	startProcess(t, processNode, processConfig{URL: srv.URL(), Node: "p", TTL: longTTL})
	eventually(t, "its successor", func() bool { return o.Nodes("process").Len() == 1 })
	require.Empty(t, o.Snapshot().Suspects().Slice())
}

// First it is left out, and when the server has ended its lease that is certain.
func TestAKilledProcessIsBuriedWhenItsLeaseEnds(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	o := srv.Bus(suspicious("a")...)
	seen := watch(t, o.Scope)
	p := startProcess(t, processNode, processConfig{URL: srv.URL(), Node: "p", TTL: 3 * time.Second})
	eventually(t, "the process", func() bool { return o.Nodes("process").Len() == 1 })
	awaitProbes(t, srv, "p", 2)
	p.kill(t)
	eventually(t, "it to be buried", func() bool { return last(seen.lines("p")) == "NodeBuried expired" })
	lines := seen.lines("p")
	require.Equal(t, "NodeLeft unreachable", lines[len(lines)-2])
	events := seen.list()
	buried := events[len(events)-1]
	require.NotZero(t, buried.Generation)
	require.Nil(t, buried.Snapshot().Node("p"))
	require.Zero(t, buried.Snapshot().Suspects().Len())
}

// The servers of rolebustest tell an account which of its connections were closed: then nobody has to find out.
func TestTheServersTellOfADeath(t *testing.T) {
	t.Parallel()
	for name, srv := range map[string]interface {
		URL() string
		Bus(...rolebus.Option) *rolebus.Bus
		Conn(...nats.Option) *nats.Conn
	}{"server": rolebustest.NewServer(t), "cluster": rolebustest.NewCluster(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			never := rolebus.WithProbeInterval(time.Hour)
			var fleet []*rolebus.Bus
			for i := range 6 {
				fleet = append(fleet, srv.Bus(append(suspicious(fmt.Sprint("n", i)), never)...))
			}
			o := srv.Bus(rolebus.WithObserver(), rolebus.WithTTL(longTTL), never)
			seen := watch(t, o.Scope)
			p := startProcess(t, processNode, processConfig{URL: srv.URL(), Node: "p", TTL: longTTL})
			for _, b := range append(fleet, o) {
				eventually(t, "the process", func() bool { return b.Nodes("process").Len() == 1 })
			}
			p.kill(t)
			for _, b := range append(fleet, o) {
				eventually(t, "it to go", func() bool { return b.Nodes("process").Len() == 0 })
				require.Equal(t, []string{"p"}, names(b.Snapshot().Suspects().Slice()))
			}
			eventually(t, "the event", func() bool { return last(seen.lines("p")) == "NodeLeft unreachable" })

			// Who says goodbye is not suspected, though its connection is closed, too.
			require.NoError(t, fleet[0].Close())
			eventually(t, "the goodbye", func() bool { return last(seen.lines("n0")) == "NodeLeft left" })
			require.Len(t, o.Nodes("x").Slice(), 5)
		})
	}
}

func TestWithoutProbesNobodyIsSuspected(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	off := srv.Bus(append(suspicious("a"), rolebus.WithProbeInterval(0))...)
	on := srv.Bus(suspicious("b")...)
	link := srv.Link()
	link.Bus(suspicious("c")...)
	for _, b := range []*rolebus.Bus{off, on} {
		eventually(t, "the fleet", func() bool { return b.Nodes("x").Len() == 3 })
	}
	awaitProbes(t, srv, "c", 2)
	link.Cut()
	eventually(t, "one of them to miss it", func() bool { return on.Nodes("x").Len() == 2 })
	require.Equal(t, []string{"a", "b"}, names(on.Nodes("x").Slice()), "who does not probe still answers")
	require.NoError(t, off.AddRoles(t.Context(), "y"))
	eventually(t, "a change made later", func() bool { return on.Nodes("y").Len() == 1 })
	require.Equal(t, []string{"a", "b", "c"}, names(off.Nodes("x").Slice()))
}

// A hint is never believed, only checked.
func TestFalseHintsAreCheckedAndNothingElse(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	var fleet []*rolebus.Bus
	var seen []*events
	for _, name := range []string{"a", "b", "c"} {
		fleet = append(fleet, srv.Bus(suspicious(name)...))
	}
	for _, b := range fleet {
		eventually(t, "the fleet", func() bool { return b.Nodes("x").Len() == 3 })
		seen = append(seen, watch(t, b.Scope))
	}
	nc := srv.Conn()
	hints := []string{
		fmt.Sprintf(`{"format":1,"incarnation":%d,"server":%q}`, fleet[0].Nodes("x").At(2).Incarnation(), nc.ConnectedServerId()),
		fmt.Sprintf(`{"format":1,"server":%q}`, nc.ConnectedServerId()),
		`{"format":1,"incarnation":1,"server":"NOBODY"}`, `{"format":1,"server":"a.b.>"}`, `{"format":2,"server":"A"}`, `garbage`, ``,
	}
	for range 200 {
		for _, h := range hints {
			require.NoError(t, nc.Publish("rolebus.suspect.default.c", []byte(h)))
			require.NoError(t, nc.Publish("rolebus.suspect.default.nobody", []byte(h)))
			require.NoError(t, nc.Publish("rolebus.sys.disconnect", []byte(
				`{"server":{"id":"`+nc.ConnectedServerId()+`"},"client":{"name":"rolebus c"},"reason":"Client Closed"}`)))
			require.NoError(t, nc.Publish("rolebus.sys.disconnect", []byte(h)))
		}
	}
	require.NoError(t, nc.Flush())
	awaitProbes(t, srv, "c", 3)
	for i, b := range fleet {
		require.Len(t, b.Nodes("x").Slice(), 3)
		require.Empty(t, seen[i].gone("a", "b", "c"))
	}
}

func TestARestartedServerMakesNobodySuspectAnybody(t *testing.T) {
	t.Parallel()
	srv := rolebustest.NewServer(t)
	var fleet []*rolebus.Bus
	var seen []*events
	for i := range 6 {
		fleet = append(fleet, srv.Bus(suspicious(fmt.Sprint("n", i))...))
	}
	for _, b := range fleet {
		eventually(t, "the fleet", func() bool { return b.Nodes("x").Len() == 6 })
		seen = append(seen, watch(t, b.Scope))
	}
	for range 3 {
		srv.Restart()
		for _, b := range fleet {
			eventually(t, "contact", func() bool { return b.Snapshot().Stale() == 0 })
		}
	}
	require.NoError(t, fleet[0].AddRoles(t.Context(), "after"))
	for i, b := range fleet {
		eventually(t, "the change", func() bool { return b.Nodes("after").Len() == 1 })
		require.Len(t, b.Nodes("x").Slice(), 6)
		require.Empty(t, seen[i].gone("n0", "n1", "n2", "n3", "n4", "n5"))
	}
}

// awaitProbes waits until a node, or with * any, has answered n questions.
func awaitProbes(t *testing.T, srv interface {
	Conn(...nats.Option) *nats.Conn
}, node string, n int) {
	t.Helper()
	nc := srv.Conn()
	defer nc.Close()
	awaitAnswers(t, nc, node, func(to map[string]int) bool {
		all := 0
		for _, answers := range to {
			all += answers
		}
		return all >= n
	})
}

// awaitAnswers waits until a node, or with * any, has answered questions often enough: each connection that asked it, by the part of the
// answers' subject that is the connection's. It stops to listen before it returns: a subject that somebody listens to never has "no
// responders".
func awaitAnswers(t *testing.T, nc *nats.Conn, node string, enough func(to map[string]int) bool) {
	t.Helper()
	messages := make(chan *nats.Msg, 100_000)
	for _, subject := range []string{"rolebus.probe.default." + node, "_INBOX.>"} {
		sub, err := nc.ChanSubscribe(subject, messages)
		require.NoError(t, err)
		defer func() { require.NoError(t, sub.Unsubscribe()) }()
	}
	asked, answers := map[string]bool{}, map[string]int{}
	eventually(t, node+" to answer", func() bool {
		for range len(messages) {
			switch msg := <-messages; {
			case asked[msg.Subject]:
				delete(asked, msg.Subject)
				answers[msg.Subject[:strings.LastIndex(msg.Subject, ".")]]++
			case msg.Reply != "":
				asked[msg.Reply] = true
			}
		}
		return enough(answers)
	})
}

func last(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// gone returns what was seen of these nodes leaving.
func (e *events) gone(nodes ...string) []string {
	var out []string
	for _, node := range nodes {
		for _, line := range e.lines(node) {
			if len(line) >= 8 && line[:8] == "NodeLeft" {
				out = append(out, node+": "+line)
			}
		}
	}
	return out
}
