package death_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/rolebus/rolebus"
	"github.com/rolebus/rolebus/rolebustest"
)

// Most of a fleet dies at once, and those who are left know it as soon as they would of one.

func TestMostAreKilledAtOnce(t *testing.T) {
	if !chosen(t, "many") {
		return
	}
	type crowd struct{ dead, of int }
	crowds := []crowd{{5, 6}}
	if long || *modeFlag != "" {
		crowds = append(crowds, crowd{2, 3}, crowd{11, 12})
	}
	for _, events := range []bool{false, true} {
		for _, tc := range crowds {
			t.Run(fmt.Sprintf("%d of %d, news: %v", tc.dead, tc.of, events), func(t *testing.T) {
				if chosen(t, "many") {
					killMany(t, events, tc.dead, tc.of)
				}
			})
		}
	}
}

func killMany(t *testing.T, events bool, dead, of int) {
	_, ready, err := startChild(t, roleServer, config{Dir: t.TempDir(), Events: events}, nil)
	require.NoError(t, err)
	f := newFleet(t, ready.Text, hold)
	hears := f.listen()
	require.NoError(t, f.startAll(0, of))
	var out tally
	for i := range *kills {
		require.NoError(t, hears())
		require.NoError(t, f.waitAlone())
		victims := f.running()[i%(of-dead+1):][:dead]
		lives, at := map[*node]life{}, time.Now().UnixNano()
		for _, n := range victims {
			f.forget(n)
			lives[n], _ = f.touch(n)
		}
		for _, n := range victims {
			require.NoError(t, n.kill())
		}
		seen := map[*node]end{}
		for n, who := range lives {
			require.NoError(t, f.waitGone(n, who))
			for _, e := range f.seenBy(who) {
				seen[&node{}] = e
			}
		}
		require.Len(t, seen, dead*(of-dead))
		out.add(fmt.Sprint(dead, " nodes"), at, seen)
		hears = f.listen()
		require.NoError(t, f.startAll(of+i*dead, dead))
		f.requireNoFalseLoss()
	}
	require.NoError(t, hears())
	out.print(t)
	out.requireUnreachable(t)
}

// waitAlone waits until nobody lists anybody who does not run: who joins finds the dead as long as their leases run.
func (f *fleet) waitAlone() error {
	return f.wait("to see nobody but who runs", func(by *node) bool {
		for name := range by.view {
			if !slices.ContainsFunc(f.nodes, func(n *node) bool { return n.name == name }) {
				return false
			}
		}
		return true
	})
}

// listen listens in. What it returns waits until every node that began to run since has answered everybody, and stops to listen: a
// subject that somebody listens to never has "no responders".
func (f *fleet) listen() (heard func() error) {
	nc, err := nats.Connect(f.url)
	require.NoError(f.t, err)
	said := make(chan *nats.Msg, 1<<14)
	for _, subject := range []string{"rolebus.probe.default.*", nats.InboxPrefix + ">"} {
		_, err = nc.ChanSubscribe(subject, said)
		require.NoError(f.t, err)
	}
	require.NoError(f.t, nc.FlushTimeout(patience))
	old := f.running()
	return func() error {
		defer nc.Close()
		asked, answered := map[string]string{}, map[string]map[string]bool{} // by the inbox who is asked, and by that who was answered
		nodes := f.running()
		lacks := func(n *node) bool {
			if slices.Contains(old, n) {
				return len(answered[n.name]) < len(nodes)-len(old)
			}
			return len(answered[n.name]) < len(nodes)-1
		}
		for deadline := time.After(patience); slices.ContainsFunc(nodes, lacks); {
			select {
			case msg := <-said:
				if node, probe := strings.CutPrefix(msg.Subject, "rolebus.probe.default."); probe {
					asked[msg.Reply] = node
				} else if node := asked[msg.Subject]; node != "" {
					if answered[node] == nil {
						answered[node] = map[string]bool{}
					}
					answered[node][msg.Subject[:max(0, strings.LastIndexByte(msg.Subject, '.'))]] = true
				}
			case <-deadline:
				return errors.New("not everybody has answered everybody")
			}
		}
		return nc.FlushTimeout(patience)
	}
}

// A connection breaks, and is made anew at once: a proxy was restarted, say.

func TestReset(t *testing.T) {
	if !chosen(t, "reset") {
		return
	}
	srv := rolebustest.NewServer(t)
	f := newFleet(t, srv.URL(), 0)
	require.NoError(t, f.startAll(0, *processes-1))
	link := srv.Link()
	n, err := f.startAt(link.URL(), "moved")
	require.NoError(t, err)
	require.NoError(t, f.waitSeen(n))
	back := make(chan *nats.Msg, 1<<8)
	_, err = srv.Conn().ChanSubscribe("rolebus.suspect.default.moved", back)
	require.NoError(t, err)
	who, _ := f.touch(n)
	for i := range *kills {
		if i > 0 {
			time.Sleep(2 * time.Second) // who loses one connection right after another waits before it connects anew
		}
		link.Reset()
		for said := false; !said; {
			select {
			case msg := <-back:
				said = strings.Contains(string(msg.Data), `"back":true`)
			case <-time.After(patience):
				require.Fail(t, "it does not say that it is back")
			}
		}
		require.NoError(t, f.waitSeen(n))
	}
	f.spare(n)
	f.mu.Lock()
	gaps := f.gaps[who]
	f.mu.Unlock()
	pairs := *kills * (*processes - 1)
	slices.Sort(gaps)
	t.Logf("%d breaks, seen by %d: not listed %d times, for %s at the most", *kills, *processes-1, len(gaps), ms(quantile(gaps, 1)))
	all := append(make([]time.Duration, max(0, pairs-len(gaps))), gaps...)
	t.Logf("of all %d: p50 %s, p99 %s", pairs, ms(quantile(all, 0.5)), ms(quantile(all, 0.99)))
	f.mu.Lock()
	seen := maps.Clone(f.ends[who])
	f.mu.Unlock()
	for by, e := range seen {
		require.Equal(t, rolebus.ReasonUnreachable.String(), e.reason, by.name)
	}
}
