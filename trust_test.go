package rolebus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTrust(t *testing.T) {
	const (
		patience = 10 * time.Second
		grace    = 20 * time.Second
		s        = time.Second
	)
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	// Each step happens at a time, and says what the trust answers then.
	type step struct {
		at   time.Duration
		do   string // succeed, fail, shake; nothing: only ask
		news bool   // succeed: contact was lost before; fail: it is lost now
	}
	type answer struct {
		at       time.Duration
		believes bool
		stale    time.Duration // since when; -1: not
	}
	for _, tc := range []struct {
		name  string
		steps []step
		want  []answer
	}{
		{"from the beginning", nil, []answer{
			{0, true, -1}, {patience, true, -1}, {patience + 1, false, 0}, {100 * s, false, 0},
		}},
		{"while all goes well", []step{{at: 5 * s, do: "succeed"}, {at: 15 * s, do: "succeed"}}, []answer{
			{15 * s, true, -1}, {25 * s, true, -1}, {25*s + 1, false, 15 * s},
		}},
		{"after a failure, at once", []step{{at: 3 * s, do: "succeed"}, {at: 5 * s, do: "fail", news: true}}, []answer{
			{5 * s, false, 3 * s}, {100 * s, false, 3 * s},
		}},
		{"a failure is new once", []step{
			{at: s, do: "fail", news: true}, {at: 2 * s, do: "fail"}, {at: 3 * s, do: "succeed", news: true}, {at: 4 * s, do: "fail", news: true},
		}, []answer{{4 * s, false, 3 * s}}},
		{"after a success that follows a failure, when the grace is over", []step{
			{at: 5 * s, do: "fail", news: true}, {at: 6 * s, do: "succeed", news: true}, {at: 16 * s, do: "succeed"}, {at: 26 * s, do: "succeed"},
		}, []answer{{26*s - 1, false, -1}, {26 * s, true, -1}, {36 * s, true, -1}, {36*s + 1, false, 26 * s}}},
		{"the grace begins with the first success", []step{
			{at: 5 * s, do: "fail", news: true}, {at: 6 * s, do: "succeed", news: true}, {at: 20 * s, do: "succeed", news: true},
		}, []answer{{26 * s, false, -1}, {30 * s, false, -1}, {30*s + 1, false, 20 * s}}},
		{"a success that comes just in time loses nothing", []step{{at: patience, do: "succeed"}}, []answer{{patience, true, -1}}},
		{"a success that comes too late is a loss all the same", []step{{at: patience + 1, do: "succeed", news: true}}, []answer{
			{patience + 1, false, -1}, {2 * patience, false, -1},
		}},
		{"a failure after being late is new", []step{{at: 11 * s, do: "fail", news: true}, {at: 12 * s, do: "succeed", news: true}}, []answer{
			{12 * s, false, -1},
		}},
		{"a loss within the grace begins it anew", []step{
			{at: s, do: "fail", news: true}, {at: 2 * s, do: "succeed", news: true},
			{at: 9 * s, do: "fail", news: true}, {at: 10 * s, do: "succeed", news: true},
			{at: 20 * s, do: "succeed"}, {at: 29 * s, do: "succeed"},
		}, []answer{{22 * s, false, -1}, {30*s - 1, false, -1}, {30 * s, true, -1}}},
		{"after a wrong burial, when the grace is over", []step{
			{at: 5 * s, do: "shake"}, {at: 6 * s, do: "succeed"}, {at: 16 * s, do: "succeed"}, {at: 25 * s, do: "succeed"},
		}, []answer{{25*s - 1, false, -1}, {25 * s, true, -1}}},
		{"a wrong burial is no loss of contact", []step{{at: 5 * s, do: "shake"}}, []answer{{5 * s, false, -1}, {10 * s, false, -1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			trust := newTrust(start, patience, grace)
			for _, step := range tc.steps {
				now := start.Add(step.at)
				switch step.do {
				case "succeed":
					require.Equal(t, step.news, trust.succeed(now), "succeed at %v", step.at)
				case "fail":
					require.Equal(t, step.news, trust.fail(), "fail at %v", step.at)
				case "shake":
					trust.shake(now)
				default:
					t.Fatalf("unknown step %q", step.do)
				}
			}
			for _, want := range tc.want {
				now := start.Add(want.at)
				require.Equal(t, want.believes, believes(trust, now), "believes at %v", want.at)
				var since time.Time
				if want.stale >= 0 {
					since = start.Add(want.stale)
				}
				require.Equal(t, since, trust.staleSince(now), "stale at %v", want.at)
			}
		})
	}
}

// Everybody says himself when his lease was due. So what one node says may shake the trust in its own tombstone only.
func TestLateTombstonesOfOneNodeShieldNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeBucket()
		a, b := f.bus(t, "a", WithRoles("x")), f.bus(t, "b")
		liar, ctx := f.link(), t.Context()
		a.crash()
		for n := range uint64(20 * fakeTTL / time.Second) {
			_, replaces, err := liar.get(ctx, "default", "liar")
			require.NoError(t, err)
			_, err = liar.put(ctx, "default", stateOf("liar", 1+n, 1, 0), replaces)
			require.NoError(t, err)
			time.Sleep(time.Second)
			late := expiredOf("liar", 1+n, 1, 0)
			late.due = time.Now().Add(-time.Hour)
			f.mu.Lock()
			f.store("default", late, "")
			f.mu.Unlock()
			synctest.Wait()
		}
		require.Empty(t, names(b.Nodes("x").Slice()), "a is gone for 20 TTLs")
	})
}

func TestSilenceCountsWhileItLastsAndThenNotForAWhile(t *testing.T) {
	const grace = 20 * time.Second
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	trust := newTrust(start, time.Hour, grace)
	for s := 10; s <= 100; s += 5 {
		trust.silence(at(s), at(0))
		require.False(t, believes(trust, at(s+19)), s)
	}
	require.True(t, believes(trust, at(120)))
	trust.silence(at(130), at(120))
	require.True(t, believes(trust, at(130)), "that is how this fleet is")
	trust.silence(at(141), at(130))
	require.False(t, believes(trust, at(141)))
}

// believes says whether a tombstone counts of a node with this process's own TTL.
func believes(t *trust, now time.Time) bool { return t.calm(now) >= t.grace }

// A leader whose clock was set back since it became one says that it will be one in an hour. That is no reason to believe nothing for
// so long; another leader that says so, or one whose clock is set back again, is news.
func TestALeaderSinceAnHourFromNow(t *testing.T) {
	const grace = 20 * time.Second
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	trust := newTrust(start, time.Hour, grace)
	said := func(at, leads time.Duration) { trust.led(start.Add(at), leads) }
	calm := func(at time.Duration) time.Duration { return trust.calm(start.Add(at)) }
	for at := 10 * time.Second; at <= 50*time.Second; at += time.Second {
		said(at, at-time.Hour+at%3*100*time.Millisecond) // asking takes a moment, and not always the same
		require.Equal(t, at-10*time.Second, calm(at))
	}
	said(51*time.Second, -2*time.Hour)
	require.Zero(t, calm(51*time.Second), "it is another one")
	said(60*time.Second, 5*time.Second)
	require.Equal(t, 5*time.Second, calm(60*time.Second), "its clock is right")
	said(61*time.Second, forEver)
	require.Equal(t, 6*time.Second, calm(61*time.Second), "it does not say")
}
