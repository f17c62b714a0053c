//go:build linux

package exclusive_test

import (
	"strings"
	"testing"
	"time"
)

// Stories by hand: what the check must find, must excuse, and must leave alone. Instants are in seconds.
func TestCheck(t *testing.T) {
	at := func(seconds float64) instant { return instant(seconds * 1e9) }
	held := func(proc, seat int, token uint64, from, to float64) term {
		return term{proc: proc, node: "n", place: place{"main/leader", seat}, token: token, began: at(from), first: at(from), last: at(to)}
	}
	for _, tc := range []struct {
		name           string
		seats          int
		terms          []term
		losses         []loss
		clocks         []instant
		away           map[int][]span
		registers      map[place]register
		healed         float64
		wrong, excused []string // in the order of time
	}{
		{name: "nobody"},
		{name: "one after another", terms: []term{held(1, 0, 5, 1, 2), held(2, 0, 6, 2.001, 3), held(1, 0, 7, 3.5, 9)}},
		{name: "in whatever order it is told", terms: []term{held(1, 0, 7, 3.5, 9), held(1, 0, 5, 1, 2), held(2, 0, 6, 2.001, 3)}},
		{name: "two at once", terms: []term{held(1, 0, 5, 1, 2), held(2, 0, 6, 1.9, 3)}, wrong: []string{"two at once for 100ms"}},
		{name: "at the same instant", terms: []term{held(1, 0, 5, 1, 2), held(2, 0, 6, 2, 3)}, wrong: []string{"two at once for 0s"}},
		{name: "one within the other", terms: []term{held(1, 0, 5, 1, 9), held(2, 0, 6, 2, 3)}, wrong: []string{"two at once for 1s"}},
		{name: "one in between hides nothing", terms: []term{held(1, 0, 5, 1, 9), held(2, 0, 6, 2, 3), held(3, 0, 7, 4, 5)},
			wrong: []string{"two at once for 1s", "two at once for 1s"}},
		{name: "two terms of one process at once", terms: []term{held(1, 0, 5, 1, 2), held(1, 0, 6, 1.9, 3)}, wrong: []string{"two at once"}},
		{name: "the same token in two terms", terms: []term{held(1, 0, 5, 1, 2), held(2, 0, 5, 3, 4)}, wrong: []string{"did not grow"}},
		{name: "a token that goes back", terms: []term{held(1, 0, 5, 1, 2), held(2, 0, 4, 3, 4), held(3, 0, 6, 5, 6)}, wrong: []string{"did not grow"}},
		{name: "and further terms below the largest", terms: []term{held(1, 0, 9, 1, 2), held(2, 0, 4, 3, 4), held(3, 0, 6, 5, 6)},
			wrong: []string{"token 4", "token 6"}},
		{name: "tokens of one seat say nothing of the other's", seats: 2, terms: []term{held(1, 0, 5, 1, 2), held(2, 1, 4, 3, 4)}},
		{name: "two seats at once", seats: 2, terms: []term{held(1, 0, 5, 1, 9), held(2, 1, 6, 2, 8)}},
		{name: "a seat too many", seats: 2, terms: []term{held(1, 0, 5, 1, 9), held(2, 1, 6, 2, 8), held(3, 2, 7, 3, 7)},
			wrong: []string{"3 hold main/leader at once, not 2", "no such seat"}},
		{name: "a term that ended before anybody looked", terms: []term{held(1, 0, 5, 1, 2),
			{proc: 2, place: place{"main/leader", 0}, token: 3, began: at(1.5)}, held(3, 0, 6, 3, 4)}},

		{name: "the store lost the claim of one that was away", terms: []term{held(1, 0, 5, 1, 4), held(2, 0, 6, 3, 9)},
			losses: []loss{{span{at(2), at(2.5)}, "wiped", ""}}, away: map[int][]span{1: {{at(1.5), at(5)}}}, excused: []string{"two at once"}},
		{name: "another claim was lost", terms: []term{held(1, 0, 5, 1, 4), held(2, 0, 6, 3, 9)},
			losses: []loss{{span{at(2), at(2.5)}, "purged", "$KV.rolebus.main.claim.lock"}}, away: map[int][]span{1: {{at(1.5), at(5)}}}, wrong: []string{"two at once"}},
		{name: "this claim was lost", terms: []term{held(1, 0, 5, 1, 4), held(2, 0, 6, 3, 9)},
			losses: []loss{{span{at(2), at(2.5)}, "purged", "$KV.rolebus.main.claim.leader"}}, away: map[int][]span{1: {{at(1.5), at(5)}}}, excused: []string{"two at once"}},
		{name: "one that was away, and nothing lost", terms: []term{held(1, 0, 5, 1, 4), held(2, 0, 6, 3, 9)},
			away: map[int][]span{1: {{at(1.5), at(5)}}}, wrong: []string{"two at once"}},
		{name: "lost, and the holder was there", terms: []term{held(1, 0, 5, 1, 4), held(2, 0, 6, 3, 9)},
			losses: []loss{{span{at(2), at(2.5)}, "wiped", ""}}, away: map[int][]span{2: {{at(1.5), at(5)}}}, wrong: []string{"two at once"}},
		{name: "lost before the claim was written", terms: []term{held(1, 0, 5, 1, 4), held(2, 0, 6, 3, 9)},
			losses: []loss{{span{at(0.2), at(0.5)}, "wiped", ""}}, away: map[int][]span{1: {{at(1.5), at(5)}}}, wrong: []string{"two at once"}},
		{name: "lost after it was taken", terms: []term{held(1, 0, 5, 1, 4), held(2, 0, 6, 3, 9)},
			losses: []loss{{span{at(3.2), at(3.5)}, "wiped", ""}}, away: map[int][]span{1: {{at(1.5), at(5)}}}, wrong: []string{"two at once"}},
		{name: "away before the loss only", terms: []term{held(1, 0, 5, 1, 4), held(2, 0, 6, 3, 9)},
			losses: []loss{{span{at(2), at(2.5)}, "wiped", ""}}, away: map[int][]span{1: {{at(1.5), at(1.9)}}}, wrong: []string{"two at once"}},
		{name: "back for a while when it was taken", terms: []term{held(1, 0, 5, 1, 4), held(2, 0, 6, 3, 9)},
			losses: []loss{{span{at(1.6), at(1.7)}, "wiped", ""}}, away: map[int][]span{1: {{at(1.5), at(2.4)}}}, wrong: []string{"two at once"}},
		{name: "never back", terms: []term{held(1, 0, 5, 1, 4), held(2, 0, 6, 3, 9)},
			losses: []loss{{span{at(2), at(2.5)}, "wiped", ""}}, away: map[int][]span{1: {{at(1.5), forever}}}, excused: []string{"two at once"}},
		{name: "back for longer than its lease", terms: []term{held(1, 0, 5, 1, 8), held(2, 0, 6, 3, 9)},
			losses: []loss{{span{at(2), at(2.5)}, "wiped", ""}}, away: map[int][]span{1: {{at(1.5), at(5)}}}, wrong: []string{"two at once"}},
		{name: "no excuse for tokens", terms: []term{held(1, 0, 5, 1, 4), held(2, 0, 4, 3, 9)},
			losses: []loss{{span{at(2), at(2.5)}, "wiped", ""}}, away: map[int][]span{1: {{at(1.5), at(5)}}},
			excused: []string{"two at once"}, wrong: []string{"did not grow"}},

		{name: "a token that was lost, when clocks had been set", terms: []term{held(1, 0, 5, 1, 2), held(2, 0, 4, 3, 4)},
			losses: []loss{{span{at(2), at(2.5)}, "wiped", ""}}, clocks: []instant{at(0.5)}, excused: []string{"did not grow"}},
		{name: "a token that was lost, and clocks set later", terms: []term{held(1, 0, 5, 1, 2), held(2, 0, 4, 3, 4)},
			losses: []loss{{span{at(2), at(2.5)}, "wiped", ""}}, clocks: []instant{at(3.5)}, wrong: []string{"did not grow"}},
		{name: "clocks set, and no token lost", terms: []term{held(1, 0, 5, 1, 2), held(2, 0, 4, 3, 4)},
			losses: []loss{{span{at(0.2), at(0.5)}, "wiped", ""}}, clocks: []instant{at(0.5)}, wrong: []string{"did not grow"}},

		{name: "a register that is whole", registers: map[place]register{{"main/leader", 0}: {value: 5, accepted: 5, refused: 2}}},
		{name: "a register that lost a write", registers: map[place]register{{"main/leader", 0}: {value: 4, accepted: 5}},
			wrong: []string{"accepted 5 writes and has 4"}},

		{name: "a register that could not tell", terms: []term{held(1, 0, 5, 1, 2), held(2, 0, 5, 3, 4)}, clocks: []instant{at(0.5)},
			losses: []loss{{span{at(2), at(2.5)}, "wiped", ""}}, registers: map[place]register{{"main/leader", 0}: {value: 4, accepted: 5}},
			excused: []string{"accepted 5", "did not grow"}},

		{name: "somebody soon after", healed: 10, terms: []term{held(1, 0, 5, 12, 13)}},
		{name: "somebody all along", healed: 10, terms: []term{held(1, 0, 5, 1, 10.5)}},
		{name: "somebody too late", healed: 10, terms: []term{held(1, 0, 5, 1, 9), held(1, 0, 6, 13.5, 14)}, wrong: []string{"nobody held main/leader/0"}},
		{name: "one seat empty", seats: 2, healed: 10, terms: []term{held(1, 0, 5, 1, 11)}, wrong: []string{"nobody held main/leader/1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wrong, excused := check(story{
				seats: map[string]int{"main/leader": max(tc.seats, 1)}, ttl: 2 * time.Second, terms: tc.terms, losses: tc.losses, clocks: tc.clocks, away: tc.away,
				registers: tc.registers, healed: at(tc.healed), bound: 3 * time.Second,
			})
			same := func(what string, want []string, got []finding) {
				t.Helper()
				if len(want) != len(got) {
					t.Errorf("%s: %q wanted, but found %v", what, want, got)
					return
				}
				for i, f := range got {
					if !strings.Contains(f.text, want[i]) {
						t.Errorf("%s: %q wanted, but found %q", what, want[i], f.text)
					}
				}
			}
			same("wrong", tc.wrong, wrong)
			same("excused", tc.excused, excused)
		})
	}
}

func TestFigures(t *testing.T) {
	held := func(proc int, token uint64, from, to instant) term {
		return term{proc: proc, place: place{"x", 0}, token: token, first: from * 1e9, last: to * 1e9}
	}
	got := story{terms: []term{held(1, 3, 6, 8), held(1, 1, 1, 2), held(1, 2, 3, 4), held(2, 4, 9, 11)},
		registers: map[place]register{{"x", 0}: {accepted: 4, refused: 2}, {"y", 0}: {accepted: 1}}}.figures()
	want := figures{terms: 4, handovers: 1, refused: 2, accepted: 5, gap: 2 * time.Second, gapOf: "x/0", covered: 0.6}
	if got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
}
