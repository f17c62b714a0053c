package rolebus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// Only an end that this process has judged buries a life, and no other life of the node.
func TestBuriedIsWhoseEndWasJudged(t *testing.T) {
	late := expiredOf("a", 1, 1, 9)
	late.late = maxLate + 1
	for name, tc := range map[string]struct {
		steps         []heard
		lives, buried bool
	}{
		"it lives":                         {[]heard{{changes: []change{stateOf("a", 1, 1, 1)}}}, true, false},
		"it said goodbye":                  {[]heard{{changes: []change{stateOf("a", 1, 1, 1)}}, {changes: []change{leftOf("a", 1, 1, 9)}}}, false, true},
		"its goodbye was read":             {[]heard{{whole: true, changes: []change{leftOf("a", 1, 1, 9)}}}, false, true},
		"its lease ran out":                {[]heard{{changes: []change{stateOf("a", 1, 1, 1)}}, {changes: []change{expiredOf("a", 1, 1001, 9)}}}, false, true},
		"of which who came late thinks so": {[]heard{{changes: []change{stateOf("a", 1, 1, 1)}}, {fresh: forEver - graceOf(stateOf("a", 1, 1, 1).ttl) + 1, changes: []change{expiredOf("a", 1, 1001, 9)}}}, false, false},
		"of which who came in time knows":  {[]heard{{changes: []change{stateOf("a", 1, 1, 1)}}, {fresh: forEver - graceOf(stateOf("a", 1, 1, 1).ttl), changes: []change{expiredOf("a", 1, 1001, 9)}}}, false, true},
		"that was read":                    {[]heard{{whole: true, changes: []change{expiredOf("a", 1, 1, 9)}}}, false, false},
		"that is not believed":             {[]heard{{changes: []change{stateOf("a", 1, 1, 1)}}, {deaf: true, changes: []change{expiredOf("a", 1, 1, 9)}}}, true, false},
		"that comes late":                  {[]heard{{changes: []change{stateOf("a", 1, 1, 1)}}, {changes: []change{late}}}, true, false},
		"that came late, and it was lost":  {[]heard{{changes: []change{stateOf("a", 1, 1, 1)}}, {changes: []change{late}}, {at: time.Hour, whole: true, changes: []change{late}}}, false, false},
		"it is missing":                    {[]heard{{changes: []change{stateOf("a", 1, 1, 1)}}, {whole: true}}, true, false},
		"it was missing for too long":      {[]heard{{changes: []change{stateOf("a", 1, 1, 1)}}, {whole: true}, {at: time.Hour, whole: true}}, false, false},
		"a later life, unseen, ended":      {[]heard{{changes: []change{stateOf("a", 1, 1, 1)}}, {changes: []change{expiredOf("a", 2, 1, 9)}}}, false, false},
		"a later life left":                {[]heard{{changes: []change{stateOf("a", 1, 1, 1)}}, {changes: []change{leftOf("a", 2, 1, 9)}}}, false, false},
		"a later life came":                {[]heard{{changes: []change{stateOf("a", 1, 1, 1)}}, {changes: []change{stateOf("a", 2, 1, 9)}}}, false, false},
		"it is suspected":                  {[]heard{{changes: []change{stateOf("a", 1, 1, 1), stateOf("b", 1, 1, 2), stateOf("c", 1, 1, 3)}}, {found: []verdict{{node: "a", incarnation: 1, began: 99}}}}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			snap := newSnapshot("s", "")
			for _, step := range tc.steps {
				snap, _ = step.apply(t, snap, 0)
			}
			require.Equal(t, tc.lives, snap.Lives("a", 1))
			generation, buried := snap.Buried("a", 1)
			require.Equal(t, tc.buried, buried)
			require.Equal(t, buried, generation == 9)
			require.False(t, snap.Lives("a", 3))
			_, other := snap.Buried("a", 3)
			require.False(t, other)
		})
	}
}

func TestTheAgeOfTheBucket(t *testing.T) {
	made, now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	k := &kv{}
	require.Zero(t, k.bucketAge(now))
	said := func(created, server time.Time, newest uint64) time.Duration {
		now = now.Add(time.Minute)
		k.age.learn(&jetstream.StreamInfo{Created: created, TimeStamp: server, State: jetstream.StreamState{LastSeq: newest}}, now, now)
		return k.bucketAge(now)
	}
	require.Equal(t, time.Hour, said(made, made.Add(time.Hour), 5))
	require.Equal(t, time.Hour+time.Second, k.bucketAge(now.Add(time.Second)), "the monotonic clock carries it on")
	require.Equal(t, time.Hour+time.Minute, said(made, made.Add(9*time.Hour), 5), "a clock that is set ahead does not make it older")
	require.Equal(t, 10*time.Minute, said(made, made.Add(10*time.Minute), 6), "one that was ahead is put right")
	require.Equal(t, time.Duration(0), said(made, made.Add(-time.Minute), 7), "made in the future")
	require.Equal(t, time.Minute, said(made, made.Add(time.Hour), 7))
	require.Zero(t, said(made, made.Add(time.Hour), 6), "it went back")
	require.Equal(t, time.Minute, said(made, made.Add(2*time.Hour), 6))
	require.Equal(t, time.Second, said(made.Add(3*time.Hour), made.Add(3*time.Hour+time.Second), 100), "another one")
}

// Nothing is settled in a scope that is not joined, and while there is no contact.
func TestSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		b := f.bus(t, "a")
		b.entries = &fakeEntries{}
		require.Equal(t, forEver, b.Settled(), "no trouble so far")
		require.Zero(t, b.In("other").Settled())
		b.partition(true)
		require.Zero(t, b.Settled())
		time.Sleep(time.Minute)
		b.partition(false)
		time.Sleep(time.Minute)
		require.InDelta(t, time.Minute.Seconds(), b.Settled().Seconds(), 5)
	})
}
