package rolebus

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// fillLeases arms the leases of nodes n0, n1, ... of a scope, without a condition.
func (k *kv) fillLeases(t testing.TB, scope string, count int, ttl time.Duration) {
	t.Helper()
	for i := range count {
		c := change{kind: kindExpired, node: fmt.Sprint("n", i), id: life{1, 1001}, due: time.Now().Add(ttl)}
		_, err := k.full().PublishMsgAsync(unconditional(leaseMessage(k.subj, k.fleet.current(), scope, c, 0)))
		require.NoError(t, err)
		if i%500 == 499 {
			<-k.full().PublishAsyncComplete()
		}
	}
	<-k.full().PublishAsyncComplete()
}

func unconditional(msg *nats.Msg) *nats.Msg {
	delete(msg.Header, "Nats-Expected-Last-Subject-Sequence")
	delete(msg.Header, "Nats-Expected-Last-Subject-Sequence-Subject")
	return msg
}

// Few leases are read by a page, all of them. Of many those that were armed last are left out, unless all are asked for.
func TestLeasesAreReadAsFarAsTheyMayBeOverdue(t *testing.T) {
	for _, tc := range []struct {
		count int
		ttl   time.Duration // of the node with the shortest
		all   bool
		read  int
		whole bool
	}{
		{bulk / 2, time.Hour, false, bulk / 2, true},
		{3 * bulk, time.Hour, false, bulk, false},
		{3 * bulk, time.Hour, true, 3 * bulk, true},
		{3 * bulk, 0, false, 3 * bulk, true}, // any of them may be
	} {
		t.Run(fmt.Sprint(tc), func(t *testing.T) {
			for _, consumers := range []bool{true, false} {
				k, ctx := realKV(t), t.Context()
				k.fillLeases(t, "s", tc.count, time.Hour)
				k.fillLeases(t, "other", 3, time.Hour)
				_, err := k.info(ctx) // how many there are
				require.NoError(t, err)
				k.noConsumer.Store(!consumers)
				l, err := k.readLeases(ctx, "s", tc.ttl, tc.all)
				require.NoError(t, err)
				require.Len(t, l.of, tc.read)
				require.Equal(t, tc.whole, l.all)
				require.Contains(t, l.of, "n0")
				require.WithinDuration(t, time.Now(), l.newest, 30*time.Second)
				newest, err := k.newestLease(ctx, "s")
				require.NoError(t, err)
				require.EqualValues(t, tc.count, newest)
				if tc.whole {
					require.GreaterOrEqual(t, l.last, newest)
				}
				k.noConsumers(t)
			}
		})
	}
}

func TestLeasesOfAnEmptyBucket(t *testing.T) {
	k := realKV(t)
	l, err := k.readLeases(t.Context(), "s", time.Second, false)
	require.NoError(t, err)
	require.True(t, l.all)
	require.Empty(t, l.of)
	require.Equal(t, map[string]string{"a": "it has no lease"}, l.lapsed([]change{stateOf("a", 1, 1, 1, "x")}))
	none, err := k.newestLease(t.Context(), "s")
	require.NoError(t, err)
	require.Zero(t, none)
	at, err := k.standing(t.Context(), "s")
	require.NoError(t, err)
	require.Empty(t, at.records)
	require.Empty(t, at.leases)
}

func TestTheLeaderTellsWhatStandsInAScope(t *testing.T) {
	k := realKV(t)
	k.fill(t, "s", 3)
	k.fill(t, "other", 5)
	k.fillLeases(t, "s", 2, time.Hour)
	k.publishRaw(t, "$KV.rolebus.s.=zz", "NATS/1.0\r\n\r\n", "no name")
	at, err := k.standing(t.Context(), "s")
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"n0": true, "n1": true, "n2": true}, at.records)
	require.Equal(t, map[string]bool{"n0": true, "n1": true}, at.leases)
}

// What is a lease, and what only stands in its place.
func TestLeasesThatAreNone(t *testing.T) {
	k := realKV(t)
	due := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	spoilt := map[string]func(msg *nats.Msg){
		"sound":        func(*nats.Msg) {},
		"aimed":        func(msg *nats.Msg) { msg.Header.Set("Nats-Schedule-Target", k.subj.record("s", "mallory")) },
		"again":        func(msg *nats.Msg) { msg.Header.Set("Nats-Schedule", "@every 1h") },
		"of-a-source":  func(msg *nats.Msg) { msg.Header.Set("Nats-Schedule-Source", k.subj.record("s", "mallory")) },
		"no-schedule":  func(msg *nats.Msg) { msg.Header.Del("Nats-Schedule") },
		"garbage":      func(msg *nats.Msg) { msg.Data = []byte("{") },
		"of-another":   func(msg *nats.Msg) { msg.Data = []byte(strings.Replace(string(msg.Data), "of-another", "mallory", 1)) },
		"no-tombstone": func(msg *nats.Msg) { msg.Header.Del("KV-Operation") },
		"a-goodbye": func(msg *nats.Msg) {
			msg.Data = []byte(`{"format":1,"scope":"s","node":"a-goodbye","incarnation":1,"version":1001,"gone":"left"}`)
		},
		"another-claim": func(msg *nats.Msg) { msg.Header.Set("Nats-Subject", k.subj.lease("s", "sound")) },
	}
	var records []change
	for node, spoil := range spoilt {
		c := change{kind: kindExpired, node: node, id: life{1, 1001}, due: due}
		msg := unconditional(leaseMessage(k.subj, k.fleet.current(), "s", c, 0))
		spoil(msg)
		_, err := k.full().PublishMsg(t.Context(), msg)
		require.NoError(t, err, node)
		record := stateOf(node, 1, 1, 1, "x")
		record.ttl = time.Hour
		records = append(records, record)
	}
	l, err := k.readLeases(t.Context(), "s", time.Hour, true)
	require.NoError(t, err)
	lapsed := l.lapsed(records)
	require.Len(t, lapsed, len(spoilt)-1, "%v", lapsed)
	require.NotContains(t, lapsed, "sound")
	require.Equal(t, due.UTC(), l.of["sound"].due.UTC())
	require.Equal(t, life{1, 1001}, l.of["sound"].id)
}

// A lease is judged by the newest that anybody armed.
func TestWhatALeaseIsWorth(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	const ttl = 15 * time.Second
	record := change{kind: kindState, node: "n", id: life{2, 5}, ttl: ttl}
	for _, tc := range []struct {
		a   armed
		why string
	}{
		{armed{id: life{2, 1005}, due: now.Add(ttl)}, ""},
		{armed{id: life{2, 5}, due: now.Add(ttl)}, ""},
		{armed{id: life{3, 1001}, due: now.Add(ttl)}, ""}, // whoever takes the record over armed it
		{armed{id: life{2, 4}, due: now.Add(ttl)}, "its lease buries less than its record"},
		{armed{id: life{1, 1005}, due: now.Add(ttl)}, "its lease buries less than its record"},
		{armed{id: life{2, 1005}, due: now.Add(-graceOf(ttl))}, ""},
		{armed{id: life{2, 1005}, due: now.Add(-graceOf(ttl) - time.Second)}, "its lease was due 21s ago, and the server did not bury it"},
		{armed{id: life{2, 1005}, due: now.Add(graceOf(ttl))}, ""},
		{armed{id: life{2, 1005}, due: now.Add(time.Hour)}, "its lease is due in 1h0m0s only"},
		{armed{id: life{2, 1005}, due: now.Add(time.Hour), generation: 10}, ""}, // armed while all leases were read, which took long
		{armed{unfit: "it is for something else"}, "its lease is none: it is for something else"},
	} {
		l := leases{of: map[string]armed{"n": tc.a}, newest: now, began: 9}
		require.Equal(t, tc.why, l.lapse(record))
	}
	require.Empty(t, (&leases{newest: now}).lapse(record), "it may be among those that were not read")
	require.Empty(t, (&leases{all: true}).lapsed([]change{{kind: kindExpired, node: "n"}}), "a tombstone needs none")
}

// BenchmarkWholeReading reads a scope of 10,000 nodes, as a whole reading does it.
//
//	Records: the records alone, as before leases were looked at
//	Oldest:  and the leases that were armed first, as who joins or reconnects does
//	All:     and all leases, as every sixteenth sync does, or more seldom
//	Leader:  what stands there, as the leader is asked before anybody is dropped
func BenchmarkWholeReading(b *testing.B) {
	const count = 10_000
	k := realKV(b)
	newest := k.fill(b, "s", count, "a", "b", "c")
	k.fillLeases(b, "s", count, time.Hour)
	_, err := k.info(b.Context())
	require.NoError(b, err)
	read := func(b *testing.B) []change {
		changes, _, err := k.read(b.Context(), "s", 1, newest)
		require.NoError(b, err)
		return changes
	}
	leases := func(b *testing.B, changes []change, all bool) {
		l, err := k.readLeases(b.Context(), "s", time.Hour, all)
		require.NoError(b, err)
		l.lapsed(changes)
	}
	b.Run("Records", func(b *testing.B) {
		for b.Loop() {
			read(b)
		}
	})
	b.Run("Oldest", func(b *testing.B) {
		for b.Loop() {
			leases(b, read(b), false)
		}
	})
	b.Run("All", func(b *testing.B) {
		for b.Loop() {
			leases(b, read(b), true)
		}
	})
	b.Run("Leader", func(b *testing.B) {
		for b.Loop() {
			_, err := k.standing(b.Context(), "s")
			require.NoError(b, err)
		}
	})
}
