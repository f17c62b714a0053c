package rolebus

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// countingHook counts what is announced, and the snapshots that come of it.
type countingHook struct{ changes, snapshots, missed atomic.Int64 }

func (h *countingHook) OnChange(ChangeInfo)        { h.changes.Add(1) }
func (h *countingHook) OnSnapshot(SnapshotInfo)    { h.snapshots.Add(1) }
func (h *countingHook) OnMissed(missed MissedInfo) { h.missed.Add(int64(missed.Events)) }

// idleHook hears of nothing that happens often.
type idleHook struct{}

func (idleHook) OnStarted(StartedInfo) {}

// loopOf is a scope's loop, stopped, of a bus with these hooks. It knows one node.
func loopOf(tb testing.TB, given ...Hook) *member {
	tb.Helper()
	o, err := newOptions([]Option{WithNode("a"), WithObserver(), WithProbeInterval(0), WithHooks(given...)})
	require.NoError(tb, err)
	link := newFakeBucket().link()
	b := newBus(o, newNoise(o.log), link)
	link.identity = b.fleet
	link.look()
	tb.Cleanup(func() {
		b.cancel(ErrClosed)
		require.NoError(tb, b.hooks.close(time.Minute))
	})
	m := newMember(b.Scope, wanted{})
	m.feed = &feed{messages: make(chan *nats.Msg, 1)}
	m.adopt()
	m.apply(news{changes: []change{stateOf("n", 1, 1, 1, "x")}, whole: true}, true)
	return m
}

// announced is a message that announces a change of roles.
func announced(m *member) *nats.Msg {
	c := change{kind: kindDelta, node: "n", id: life{1, 2}, base: 1, added: []Role{"y"}}
	hdr := encode(m.bus.fleet.current(), "default", c).Header
	for name, value := range map[string]string{
		"Nats-Stream": fakeSubjects.stream(), "Nats-Subject": fakeSubjects.record("default", "n"), "Nats-Sequence": strconv.Itoa(2),
		"Nats-Last-Sequence": strconv.Itoa(1), "Nats-Time-Stamp": time.Now().UTC().Format(time.RFC3339Nano),
	} {
		hdr.Set(name, value)
	}
	return &nats.Msg{Subject: "rolebus.changes.default.n", Header: hdr}
}

// toggling returns a function that returns one change after another of a node that gains a role, and loses it.
func toggling() func() []change {
	version, changes, role := uint64(1), make([]change, 1), []Role{"y"}
	return func() []change {
		c := change{kind: kindDelta, node: "n", id: life{1, version + 1}, base: version, generation: version + 1}
		if version++; version%2 == 0 {
			c.added = role
		} else {
			c.removed = role
		}
		changes[0] = c
		return changes
	}
}

// BenchmarkHooks measures what hooks cost the loop of a scope, for each change.
//
//	Hear:  an announcement is decoded
//	Apply: a change is applied, and the snapshot published
//
//	none: without hooks; idle: with one that hears of nothing of the kind; counting: with one that counts both
func BenchmarkHooks(b *testing.B) {
	kinds := []struct {
		name  string
		given []Hook
	}{{"none", nil}, {"idle", []Hook{idleHook{}}}, {"counting", []Hook{&countingHook{}}}}
	for _, kind := range kinds {
		b.Run("Hear/"+kind.name, func(b *testing.B) {
			b.ReportAllocs()
			m := loopOf(b, kind.given...)
			msg := announced(m)
			for b.Loop() {
				if len(m.gather(msg)) != 1 {
					b.Fatal("not heard")
				}
			}
		})
	}
	for _, kind := range kinds {
		b.Run("Apply/"+kind.name, func(b *testing.B) {
			b.ReportAllocs()
			m, next := loopOf(b, kind.given...), toggling()
			for b.Loop() {
				before := m.scope.snap.Load()
				if m.apply(news{changes: next()}, false); m.scope.snap.Load() == before {
					b.Fatal("not applied")
				}
			}
		})
	}
}

// Without hooks, or with none that hears of it, the loop allocates what decoding and applying do by themselves.
func TestHooksThatAreNotThereCostNoAllocation(t *testing.T) {
	for name, given := range map[string][]Hook{"none": nil, "idle": {idleHook{}}} {
		t.Run(name, func(t *testing.T) {
			m := loopOf(t, given...)
			msg := announced(m)
			alone := testing.AllocsPerRun(100, func() {
				if _, err := m.bus.store.decode(msg); err != nil {
					t.Fatal(err)
				}
			})
			require.Equal(t, alone+2, testing.AllocsPerRun(100, func() { m.gather(msg) }), "the list of changes, and room for an error")

			snap, next := m.scope.snap.Load(), toggling()
			alone = testing.AllocsPerRun(100, func() {
				snap, _ = snap.apply(news{changes: next(), now: time.Now(), calm: forEver, ttl: m.bus.opts.ttl})
			})
			next = toggling()
			require.Equal(t, alone, testing.AllocsPerRun(100, func() { m.apply(news{changes: next()}, false) }))

			k := &keeper{hooks: m.bus.hooks, held: wanted{roles: []Role{"x"}}, shown: []Role{"x"}}
			l := &lease{hooks: m.bus.hooks}
			require.Zero(t, testing.AllocsPerRun(100, func() {
				k.tellRoles()
				k.attempt(t.Context(), time.Time{})(nil)
				k.hooks.tellLeaseLost(l, ErrLeaseLost)
				k.hooks.tellLeaseBack(l)
				k.hooks.tellBucket(BucketInfo{})
				m.tellLeft(time.Time{}, nil)
			}))
		})
	}
}
