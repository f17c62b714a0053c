package embedded

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A check that cannot fail checks nothing: each is shown a brain, or a world, that is broken.
func TestSimulationFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, finds string
		run         func(seed uint64) *world
	}{
		{"founders who expect fewer", "the group of", func(seed uint64) *world {
			return broken(seed, breaks{orders: func(p *proc, o order) (order, bool) {
				if o.do == doStart && !o.padded {
					o.routes = o.routes[:1]
				}
				return o, true
			}})
		}},
		{"joiners who are not padded", "is joining", func(seed uint64) *world {
			w := broken(seed, breaks{orders: func(p *proc, o order) (order, bool) {
				o.padded = false
				return o, true
			}})
			for _, m := range w.machines { // all stores are lost but one, whose machine is away
				if m.n > 0 {
					m.stop()
					m.lose()
				}
			}
			w.machines[0].freeze()
			for _, m := range w.machines[1:] {
				m.start()
				m.proc.b.cluster, m.proc.b.server = "sim-again", m.name
				m.proc.b.become(w.now, phaseJoining)
				m.proc.b.run(w.now, nil, true, true)
			}
			for _, m := range w.machines[1:] {
				var routes []route
				for _, o := range w.machines[1:] {
					if o != m && len(routes) < 2 {
						routes = append(routes, route{host: o.host, port: o.proc.route})
					}
				}
				w.startServer(m.proc, order{routes: routes})
			}
			w.run(10 * time.Second)
			return w
		}},
		{"founders who do not wait", "two clusters", func(seed uint64) *world {
			w := newWorld(seed, 3)
			w.settings.settle = time.Millisecond
			w.breaks.brain = func(b *brain) { b.open = 0 }
			w.breaks.hello = func(_ *proc, h *hello) { h.Others = nil }
			for i := range 6 {
				w.machine(string(rune('a' + i)))
			}
			for _, m := range w.machines {
				for _, o := range w.machines {
					if m.n/3 == o.n/3 {
						w.show(m, o, w.now)
					}
				}
				m.start()
			}
			w.run(20 * time.Second)
			return w
		}},
		{"stores that are not emptied", "which was removed", func(seed uint64) *world {
			w := broken(seed, breaks{orders: func(p *proc, o order) (order, bool) { return o, o.do != doEmpty }, brain: func(b *brain) { b.unlisted = time.Time{} }})
			for _, m := range w.machines {
				if m.proc.srv != nil && !m.proc.status.leads {
					m.freeze()
					w.run(30 * time.Second)
					m.thaw()
					m.proc.srv.off = false
					break
				}
			}
			w.run(30 * time.Second)
			return w
		}},
		{"the live taken for dead", "which is live", func(seed uint64) *world {
			w := broken(seed, breaks{status: func(p *proc, s *status) {
				for i := range s.peers {
					s.peers[i].live = s.peers[i].live && s.peers[i].name != "p1" || s.peers[i].name == p.b.server
				}
			}})
			w.run(time.Minute)
			return w
		}},
		{"a leader who lets all go", "leave at once", func(seed uint64) *world {
			w := broken(seed, breaks{brain: func(b *brain) {
				for _, o := range b.view.others {
					if o.hello.Lead != nil {
						o.hello.Lead.Leaving = b.server
					}
				}
			}})
			w.slow = 20 * time.Second
			for _, m := range w.machines {
				if m.proc.srv != nil {
					w.leave(m.proc)
				}
			}
			w.run(time.Minute)
			return w
		}},
		{"two of a name who do not see it", "and so does another", func(seed uint64) *world {
			w := broken(seed, breaks{hello: func(_ *proc, h *hello) { h.Took = 1 << 40 }})
			for _, m := range w.machines {
				if m.proc.srv != nil {
					m.freeze()
					w.another(m.name)
					w.run(20 * time.Second)
					m.thaw()
					break
				}
			}
			w.run(30 * time.Second)
			return w
		}},
		{"stores that go back", "are lost", func(seed uint64) *world {
			w := broken(seed, breaks{})
			w.run(5 * time.Second)
			for _, m := range w.machines {
				m.stop()
			}
			for _, m := range w.machines[1:] {
				if st := m.disk.store; st != nil {
					st.log -= 50
				}
			}
			for _, m := range w.machines[1:] {
				m.start()
			}
			w.run(time.Minute)
			return w
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var found []string
			for seed := range uint64(20) {
				w := test.run(seed)
				if strings.Contains(w.failure, test.finds) {
					return
				}
				found = append(found, w.failure)
			}
			t.Errorf("nothing was found in 20 histories but %q", found)
		})
	}
}

func broken(seed uint64, how breaks) *world {
	w := newWorld(seed, 3)
	w.breaks = how
	w.meet(5)
	return w
}

// slowSeeds is how many histories a test has of which each is long.
const slowSeeds = uint64(min(simSeeds/10, 40))

// What cannot be survived is told in plain words, and nothing is done about it.
func TestMajorityThatIsLostIsTold(t *testing.T) {
	t.Parallel()
	for seed := range slowSeeds {
		w := formedWorld(seed, 3, 5)
		var members []*machine
		for _, m := range w.machines {
			if m.proc.srv != nil {
				members = append(members, m)
			}
		}
		last, removals := members[2], w.removals
		for _, m := range members[:2] {
			m.stop()
			m.lose()
		}
		w.run(20 * time.Minute)
		w.report(t, seed)
		require.Len(t, w.groups, 1, "seed %d: another cluster was founded", seed)
		require.Equal(t, removals, w.removals, "seed %d: somebody was removed", seed)
		s := last.proc.b.state(w.now, last.proc.status, last.proc.own)
		require.Contains(t, s.Waiting, members[0].name+", "+members[1].name+": 2 of 3 servers are needed", "seed %d", seed)
		require.Contains(t, s.Waiting, "a rescue by hand is needed", "seed %d", seed)
		require.False(t, s.Ready)
		require.NotNil(t, last.disk.store, "seed %d: what is left was thrown away", seed)
		for _, m := range w.machines {
			if m.proc != nil && m != last {
				s := m.proc.b.state(w.now, m.proc.status, m.proc.own)
				require.Equal(t, Spare, s.Part)
				require.Contains(t, s.Waiting, "a leader of the cluster "+w.groups[0].cluster)
			}
		}
	}
}

// All stores lost at once: the processes wait as long as they were told for those who may have them, and then found another cluster.
func TestAllStoresLostAtOnce(t *testing.T) {
	t.Parallel()
	for seed := range slowSeeds {
		w := formedWorld(seed, 3, 5)
		w.lossy = true
		for _, m := range w.machines {
			m.stop()
			m.lose()
		}
		w.run(3 * time.Second) // what was under way is over
		for _, m := range w.machines {
			m.start()
		}
		require.True(t, w.until(time.Minute, func() bool { return w.whole() == "" }), "seed %d: %s", seed, w.whole())
		require.Len(t, w.groups, 2)
		w.report(t, seed)
	}
}
