package rolebus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// line writes an event as one reads it: "RoleAdded a 1 x @7" is about node a in incarnation 1 at generation 7.
func line(ev Event) string {
	text := fmt.Sprintf("%v %s %d", ev.Kind, ev.Node.Name(), ev.Node.Incarnation())
	if ev.Role != "" {
		text += " " + string(ev.Role)
	}
	if ev.Reason != 0 {
		text += " " + ev.Reason.String()
	}
	return fmt.Sprintf("%s @%d", text, ev.Generation)
}

func lines(prev, cur *Snapshot) (out []string) {
	for ev := range difference(prev, cur) {
		out = append(out, line(ev))
	}
	return out
}

// silent is what this process finds of a node that it cannot reach.
func silent(node string, incarnation uint64) []verdict {
	return []verdict{{node: node, incarnation: incarnation, began: maxNumber}}
}

// described is a state with metadata.
func described(c change, zone string) change {
	c.meta = map[string]string{"zone": zone}
	return c
}

func snapshotOf(t *testing.T, changes ...change) *Snapshot {
	t.Helper()
	snap, fetch := heard{changes: changes}.apply(t, newSnapshot("s", ""), 0)
	require.Empty(t, fetch)
	return snap
}

func TestDifference(t *testing.T) {
	for _, tc := range []struct {
		name string
		was  []change
		seen []heard // before the first snapshot
		then []heard // between the two
		want []string
	}{
		{
			name: "nothing",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
		},
		{
			name: "a node with its roles",
			then: []heard{{changes: []change{stateOf("a", 1, 1, 7, "y", "x")}}},
			want: []string{"NodeJoined a 1 @7", "RoleAdded a 1 x @7", "RoleAdded a 1 y @7"},
		},
		{
			name: "a node without roles comes and goes",
			was:  []change{stateOf("a", 1, 1, 1)},
			then: []heard{{changes: []change{leftOf("a", 1, 1, 2), stateOf("b", 1, 1, 3)}}},
			want: []string{"NodeLeft a 1 left @2", "NodeJoined b 1 @3"},
		},
		{
			name: "roles change",
			was:  []change{stateOf("a", 1, 1, 1, "a", "c", "e")},
			then: []heard{{changes: []change{stateOf("a", 1, 2, 9, "b", "c", "d")}}},
			want: []string{"RoleRemoved a 1 a @9", "RoleRemoved a 1 e @9", "RoleAdded a 1 b @9", "RoleAdded a 1 d @9"},
		},
		{
			name: "a goodbye",
			was:  []change{stateOf("a", 1, 1, 1, "x", "y")},
			then: []heard{{changes: []change{leftOf("a", 1, 1001, 5)}}},
			want: []string{"RoleRemoved a 1 x left @5", "RoleRemoved a 1 y left @5", "NodeLeft a 1 left @5"},
		},
		{
			name: "an expiry",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			then: []heard{{changes: []change{expiredOf("a", 1, 1001, 5)}}},
			want: []string{"RoleRemoved a 1 x expired @5", "NodeLeft a 1 expired @5"},
		},
		{
			name: "an expiry that was not believed, and whose doubt ran out",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			then: []heard{{changes: []change{expiredOf("a", 1, 1001, 5)}, deaf: true}, {at: cacheGrace, whole: true}},
			want: []string{"RoleRemoved a 1 x expired @5", "NodeLeft a 1 expired @5"},
		},
		{
			name: "dropped, though nothing in the bucket says so",
			was:  []change{stateOf("a", 1, 1, 8, "x")},
			then: []heard{{whole: true}, {at: cacheGrace, whole: true}},
			want: []string{"RoleRemoved a 1 x expired @0", "NodeLeft a 1 expired @0"},
		},
		{
			name: "a newer life without a word of the older one",
			was:  []change{stateOf("a", 1, 1, 1, "x", "y")},
			then: []heard{{changes: []change{stateOf("a", 2, 1, 5, "y", "z")}}},
			want: []string{
				"RoleRemoved a 1 x superseded @0", "RoleRemoved a 1 y superseded @0", "NodeLeft a 1 superseded @0",
				"NodeJoined a 2 @5", "RoleAdded a 2 y @5", "RoleAdded a 2 z @5",
			},
		},
		{
			name: "a newer life after the goodbye of the older one",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			then: []heard{{changes: []change{leftOf("a", 1, 1, 4)}}, {changes: []change{stateOf("a", 2, 1, 5)}}},
			want: []string{"RoleRemoved a 1 x left @4", "NodeLeft a 1 left @4", "NodeJoined a 2 @5"},
		},
		{
			name: "the goodbye of a life that was never seen is not the older one's",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			then: []heard{{changes: []change{stateOf("a", 2, 1, 4)}}, {changes: []change{leftOf("a", 2, 1, 5)}}},
			want: []string{"RoleRemoved a 1 x superseded @0", "NodeLeft a 1 superseded @0"},
		},
		{
			name: "the lease of the older life had ended before",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			then: []heard{{changes: []change{expiredOf("a", 1, 1001, 4)}}, {changes: []change{stateOf("a", 2, 1, 5)}}},
			want: []string{"RoleRemoved a 1 x expired @4", "NodeLeft a 1 expired @4", "NodeJoined a 2 @5"},
		},
		{
			name: "other metadata, and other roles",
			was:  []change{described(stateOf("a", 1, 1, 1, "x", "y"), "eu"), described(stateOf("b", 1, 1, 2), "eu")},
			then: []heard{{changes: []change{described(stateOf("a", 1, 2, 3, "y", "z"), "us"), described(stateOf("b", 1, 2, 4), "eu")}}},
			want: []string{"RoleRemoved a 1 x @3", "MetaChanged a 1 @3", "RoleAdded a 1 z @3"},
		},
		{
			name: "other metadata of a newer life is no change",
			was:  []change{described(stateOf("a", 1, 1, 1), "eu")},
			then: []heard{{changes: []change{described(stateOf("a", 2, 1, 3), "us")}}},
			want: []string{"NodeLeft a 1 superseded @0", "NodeJoined a 2 @3"},
		},
		{
			name: "a life that came and went unseen",
			then: []heard{{changes: []change{stateOf("a", 1, 1, 1, "x")}}, {changes: []change{leftOf("a", 1, 1, 2)}}},
		},
		{
			name: "buried, and back in the same life",
			was:  []change{stateOf("a", 1, 1, 1, "x", "y")},
			then: []heard{{changes: []change{expiredOf("a", 1, 1001, 2)}}, {changes: []change{stateOf("a", 1, 1002, 3, "y", "z")}}},
			want: []string{"RoleRemoved a 1 x @3", "RoleAdded a 1 z @3"},
		},
		{
			name: "a record that only moved",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			then: []heard{{changes: []change{stateOf("a", 1, 1, 9, "x")}}, {changes: []change{stateOf("a", 1, 2, 10, "x")}}},
		},
		{
			name: "a doubt",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			then: []heard{{whole: true}},
		},
		{
			name: "out of reach",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			then: []heard{{found: silent("a", 1)}},
			want: []string{"RoleRemoved a 1 x unreachable @0", "NodeLeft a 1 unreachable @0"},
		},
		{
			name: "out of reach, and it answers",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			seen: []heard{{found: silent("a", 1)}},
			then: []heard{{found: []verdict{{node: "a", incarnation: 1, reachable: true}}}},
			want: []string{"NodeJoined a 1 @1", "RoleAdded a 1 x @1"},
		},
		{
			name: "out of reach, and its lease ends",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			seen: []heard{{found: silent("a", 1)}},
			then: []heard{{changes: []change{expiredOf("a", 1, 1001, 5)}}},
			want: []string{"NodeBuried a 1 expired @5"},
		},
		{
			name: "out of reach, and it says goodbye",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			seen: []heard{{found: silent("a", 1)}},
			then: []heard{{changes: []change{leftOf("a", 1, 1001, 5)}}},
			want: []string{"NodeBuried a 1 left @5"},
		},
		{
			name: "out of reach, and a newer life is there",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			seen: []heard{{found: silent("a", 1)}},
			then: []heard{{changes: []change{stateOf("a", 2, 1, 5, "y")}}},
			want: []string{"NodeJoined a 2 @5", "RoleAdded a 2 y @5"},
		},
		{
			name: "out of reach, and so is a newer life",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			seen: []heard{{found: silent("a", 1)}},
			then: []heard{{changes: []change{stateOf("a", 2, 1, 5, "y")}}, {found: silent("a", 2)}},
		},
		{
			name: "out of reach, and a newer life came and went",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			seen: []heard{{found: silent("a", 1)}},
			then: []heard{{changes: []change{stateOf("a", 2, 1, 5, "y")}}, {changes: []change{leftOf("a", 2, 1, 6)}}},
			want: []string{"NodeBuried a 1 superseded @0"},
		},
		{
			name: "a newer life that is out of reach already",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			then: []heard{{changes: []change{stateOf("a", 2, 1, 5, "y")}}, {found: silent("a", 2)}},
			want: []string{"RoleRemoved a 1 x unreachable @0", "NodeLeft a 1 unreachable @0"},
		},
		{
			name: "out of reach and buried, both unseen",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			then: []heard{{found: silent("a", 1)}, {changes: []change{expiredOf("a", 1, 1001, 5)}}},
			want: []string{"RoleRemoved a 1 x expired @5", "NodeLeft a 1 expired @5"},
		},
		{
			name: "out of reach and back, both unseen",
			was:  []change{stateOf("a", 1, 1, 1, "x")},
			then: []heard{{found: silent("a", 1)}, {found: []verdict{{node: "a", incarnation: 1, reachable: true}}}},
		},
		{
			name: "of several out of reach one is buried",
			was:  []change{stateOf("a", 1, 1, 1), stateOf("b", 1, 1, 2), stateOf("c", 1, 1, 3), stateOf("d", 1, 1, 4), stateOf("e", 1, 1, 5)},
			seen: []heard{{found: append(silent("b", 1), silent("c", 1)...)}},
			then: []heard{{changes: []change{expiredOf("c", 1, 1001, 6), stateOf("f", 1, 1, 7)}, found: silent("a", 1)}},
			want: []string{"NodeLeft a 1 unreachable @0", "NodeBuried c 1 expired @6", "NodeJoined f 1 @7"},
		},
		{
			name: "many, in the order of their names",
			was:  []change{stateOf("b", 1, 1, 1, "x"), stateOf("d", 1, 1, 2, "x"), stateOf("e", 1, 1, 3, "x")},
			then: []heard{{changes: []change{
				stateOf("f", 1, 1, 4), stateOf("e", 1, 2, 5), leftOf("d", 1, 1, 6), stateOf("c", 1, 1, 7, "z"), stateOf("a", 1, 1, 8),
			}}},
			want: []string{
				"NodeJoined a 1 @8", "NodeJoined c 1 @7", "RoleAdded c 1 z @7",
				"RoleRemoved d 1 x left @6", "NodeLeft d 1 left @6", "RoleRemoved e 1 x @5", "NodeJoined f 1 @4",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			prev := snapshotOf(t, tc.was...)
			for _, h := range tc.seen {
				prev, _ = h.apply(t, prev, 0)
			}
			cur := prev
			for _, h := range tc.then {
				cur, _ = h.apply(t, cur, 0)
			}
			require.Equal(t, tc.want, lines(prev, cur))
			for ev := range difference(prev, cur) {
				require.Equal(t, "s", ev.Scope)
				require.Same(t, cur, ev.Snapshot())
			}
		})
	}
}

// Whoever begins with one snapshot and does what the events say ends with the other; and may stop at any of them.
func TestDifferenceLeadsFromOneSnapshotToAnother(t *testing.T) {
	rng := seeded(t)
	for range 500 {
		prev, cur := randomSnapshot(t, rng), randomSnapshot(t, rng)
		view := viewOf(prev)
		n := 0
		for ev := range difference(prev, cur) {
			n++
			view.follow(t, ev)
		}
		require.Equal(t, viewOf(cur), view)
		require.Empty(t, lines(cur, cur))

		stop := rng.IntN(n + 1)
		for range difference(prev, cur) {
			if stop--; stop <= 0 {
				break
			}
		}
	}
}

func randomSnapshot(t *testing.T, rng *rand.Rand) *Snapshot {
	var changes []change
	for _, node := range []string{"a", "b", "c", "d"} {
		incarnation := 1 + rng.Uint64N(2)
		var roles []Role
		for _, role := range []Role{"x", "y", "z"} {
			if rng.IntN(2) == 0 {
				roles = append(roles, role)
			}
		}
		if rng.IntN(4) > 0 {
			changes = append(changes, stateOf(node, incarnation, 1, 1+rng.Uint64N(9), roles...))
		}
		if rng.IntN(4) == 0 {
			changes = append(changes, pick(rng, leftOf, expiredOf)(node, 1, 1+rng.Uint64N(2), 10))
		}
	}
	return snapshotOf(t, changes...)
}

// view is what a reader of events knows: by node its life and its roles.
type view map[string]*viewed

type viewed struct {
	incarnation uint64
	roles       []Role
}

func viewOf(snap *Snapshot) view {
	v := view{}
	for _, n := range snap.members.all(nil) {
		v[n.name] = &viewed{n.id.incarnation, append([]Role{}, n.roles...)}
	}
	return v
}

func (v view) follow(t *testing.T, ev Event) {
	t.Helper()
	name, known := ev.Node.Name(), v[ev.Node.Name()]
	if ev.Kind == NodeJoined {
		require.Nil(t, known)
		v[name] = &viewed{ev.Node.Incarnation(), []Role{}}
		return
	}
	require.NotNil(t, known, "%v of one that has not joined", ev.Kind)
	require.Equal(t, known.incarnation, ev.Node.Incarnation(), "%v of another life", ev.Kind)
	switch at, has := slices.BinarySearch(known.roles, ev.Role); ev.Kind {
	case NodeLeft:
		require.Empty(t, known.roles, "all of its roles are removed first")
		require.NotZero(t, ev.Reason)
		delete(v, name)
	case MetaChanged:
		require.Empty(t, ev.Role)
	case RoleAdded:
		require.False(t, has)
		require.Zero(t, ev.Reason)
		require.True(t, ev.Node.Has(ev.Role))
		known.roles = slices.Insert(known.roles, at, ev.Role)
	case RoleRemoved:
		require.True(t, has)
		require.Equal(t, ev.Reason == 0, !ev.Node.Has(ev.Role), "the node is as it is now, and one that went as it was last")
		known.roles = slices.Delete(known.roles, at, at+1)
	default:
		t.Fatalf("unknown kind %d", ev.Kind)
	}
}

// A newly built scope that is joined, of a Bus of which only the lifetime is there.
func loneScope(t *testing.T) (*Scope, context.CancelCauseFunc) {
	b := &Bus{opts: &options{node: "me"}}
	b.ctx, b.cancel = context.WithCancelCause(t.Context())
	s := newScope(b, "s")
	s.publish(s.Snapshot().asJoined())
	return s, b.cancel
}

func (h heard) publish(t *testing.T, s *Scope) {
	t.Helper()
	next, _ := h.apply(t, s.Snapshot(), 0)
	require.NotSame(t, s.Snapshot(), next)
	s.publish(next)
}

func TestWatchYieldsWhatIsThereAndThenWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := loneScope(t)
		heard{changes: []change{stateOf("a", 1, 1, 1, "x")}}.publish(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for ev := range s.Watch(ctx) {
				got = append(got, line(ev))
			}
		}()
		synctest.Wait()
		require.Equal(t, []string{"NodeJoined a 1 @1", "RoleAdded a 1 x @1"}, got)
		heard{changes: []change{stateOf("b", 1, 1, 2)}}.publish(t, s)
		synctest.Wait()
		require.Equal(t, "NodeJoined b 1 @2", got[2])
		cancel()
		<-ended
		require.Len(t, got, 3)
	})
}

func TestWatchOfALeftScopeWaitsForTheJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := loneScope(t)
		s.publish(emptySnapshot(s.Snapshot()))
		go func() {
			synctest.Wait() // until it waits
			heard{changes: []change{stateOf("lost", 1, 1, 1)}}.publish(t, s)
			synctest.Wait()
			s.publish(emptySnapshot(s.Snapshot())) // that join has failed, but not the next one
			heard{changes: []change{stateOf("a", 1, 1, 1)}}.publish(t, s)
			s.publish(s.Snapshot().asJoined())
		}()
		var got []string
		for ev := range s.Watch(t.Context()) {
			got = append(got, line(ev))
			break
		}
		require.Equal(t, []string{"NodeJoined a 1 @1"}, got)
	})
}

func TestSlowReaderSkipsStepsAndNeverTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := loneScope(t)
		heard{changes: []change{stateOf("a", 1, 1, 1, "x")}}.publish(t, s)
		var got []string
		for ev := range s.Watch(t.Context()) {
			got = append(got, line(ev))
			if len(got) == 1 { // far behind before the first step is read to its end
				heard{changes: []change{stateOf("b", 1, 1, 2), stateOf("c", 1, 1, 3, "x")}}.publish(t, s)
				heard{changes: []change{leftOf("b", 1, 1, 4)}}.publish(t, s)
				heard{changes: []change{stateOf("a", 1, 2, 5, "y")}}.publish(t, s)
			}
			if ev.Node.Name() == "c" && ev.Kind == RoleAdded {
				break
			}
		}
		require.Equal(t, []string{
			"NodeJoined a 1 @1", "RoleAdded a 1 x @1",
			"RoleRemoved a 1 x @5", "RoleAdded a 1 y @5", "NodeJoined c 1 @3", "RoleAdded c 1 x @3",
		}, got)
	})
}

func TestWatchEnds(t *testing.T) {
	for name, end := range map[string]func(*Scope, context.CancelFunc, context.CancelCauseFunc){
		"when its context is over": func(_ *Scope, cancel context.CancelFunc, _ context.CancelCauseFunc) { cancel() },
		"when the bus stops":       func(_ *Scope, _ context.CancelFunc, stop context.CancelCauseFunc) { stop(ErrClosed) },
		"when the scope is left": func(s *Scope, _ context.CancelFunc, _ context.CancelCauseFunc) {
			s.publish(emptySnapshot(s.Snapshot()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, stop := loneScope(t)
				heard{changes: []change{stateOf("a", 1, 1, 1)}}.publish(t, s)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				events := 0
				go func() {
					synctest.Wait() // until it waits for what is next
					end(s, cancel, stop)
				}()
				for range s.Watch(ctx) {
					events++
				}
				require.Equal(t, 1, events)
			})
		})
	}
	t.Run("also in the midst of a step", func(t *testing.T) {
		s, _ := loneScope(t)
		heard{changes: []change{stateOf("a", 1, 1, 1, "x", "y")}}.publish(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []string
		for ev := range s.Watch(ctx) {
			got = append(got, line(ev))
			cancel()
		}
		require.Equal(t, []string{"NodeJoined a 1 @1"}, got)
	})
	t.Run("and yields nothing when its context was over before", func(t *testing.T) {
		s, _ := loneScope(t)
		heard{changes: []change{stateOf("a", 1, 1, 1)}}.publish(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for ev := range s.Watch(ctx) {
			t.Fatal(line(ev))
		}
	})
}

func TestAScopeThatCannotBeIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := loneScope(t)
		bad := newScope(s.bus, "s\xff")
		for ev := range bad.Watch(t.Context()) {
			t.Fatal(line(ev))
		}
		for snap := range bad.Snapshots(t.Context()) {
			t.Fatal(snap)
		}
		require.ErrorIs(t, bad.Err(), ErrBadName)
		require.ErrorContains(t, bad.Err(), prefix)
		stop(ErrClosed)
		require.ErrorIs(t, bad.Err(), ErrClosed)
	})
}

func TestScopeThatIsJoinedAgainIsWatchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		f.bus(t, "b", WithScopes("s"))
		a := f.bus(t, "a", WithScopes("s"))
		require.NoError(t, a.Leave(t.Context(), "s"))
		s, err := a.Join(t.Context(), "s")
		require.NoError(t, err)

		ctx, cancel := context.WithTimeout(t.Context(), fakeTTL)
		defer cancel()
		var got []string
		for ev := range s.Watch(ctx) {
			got = append(got, ev.Kind.String()+" "+ev.Node.Name())
		}
		require.Equal(t, []string{"NodeJoined a", "NodeJoined b"}, got)
		require.Error(t, ctx.Err(), "the watch goes on while the scope is joined")
	})
}

func TestWaitForWaitsForEnoughNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := loneScope(t)
		require.NoError(t, s.WaitFor(t.Context(), "x", 0))

		done := make(chan error, 1)
		go func() { done <- s.WaitFor(t.Context(), "x", 2) }()
		heard{changes: []change{stateOf("a", 1, 1, 1, "x"), stateOf("b", 1, 1, 2, "y")}}.publish(t, s)
		synctest.Wait()
		require.Empty(t, done)
		heard{changes: []change{stateOf("b", 1, 2, 3, "x")}}.publish(t, s)
		require.NoError(t, <-done)
		require.NoError(t, s.WaitFor(t.Context(), "x", 2), "at once, if they are there")

		mine := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(mine)
		require.ErrorIs(t, s.WaitFor(ctx, "x", 3), mine)

		cause := errors.New("stopped")
		stop(cause)
		err := s.WaitFor(t.Context(), "x", 3)
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, err, cause)
		require.ErrorContains(t, err, `"s"`)
	})
}

func TestHandlerCallsTheFunctionOfEachKind(t *testing.T) {
	var got []string
	note := func(name string) func(Event) {
		return func(ev Event) { got = append(got, name+" "+ev.Kind.String()) }
	}
	h := Handler{OnRoleAdded: note("added"), OnRoleRemoved: note("removed"), OnNodeJoined: note("joined"), OnNodeLeft: note("left"),
		OnNodeBuried: note("buried"), OnMetaChanged: note("meta")}
	for _, kind := range []EventKind{NodeJoined, NodeLeft, NodeBuried, RoleAdded, RoleRemoved, MetaChanged} {
		h.handle(Event{Kind: kind})
		Handler{}.handle(Event{Kind: kind}) // each may be nil
	}
	require.Equal(t, []string{"joined NodeJoined", "left NodeLeft", "buried NodeBuried", "added RoleAdded", "removed RoleRemoved", "meta MetaChanged"}, got)
}

func TestEventsHaveNames(t *testing.T) {
	require.Equal(t, "NodeJoined NodeLeft NodeBuried RoleAdded RoleRemoved MetaChanged EventKind(?)",
		fmt.Sprint(NodeJoined, " ", NodeLeft, " ", NodeBuried, " ", RoleAdded, " ", RoleRemoved, " ", MetaChanged, " ", EventKind(0)))
	require.Equal(t, "left expired unreachable superseded ",
		fmt.Sprint(ReasonLeft, " ", ReasonExpired, " ", ReasonUnreachable, " ", ReasonSuperseded, " ", Reason(0)))
}
