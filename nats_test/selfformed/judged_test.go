//go:build linux

package selfformed_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheJudgeFindsWhatIsWrong tells of a process a, life 7, which b and c see, and of all that can be wrong or excused.
func TestTheJudgeFindsWhatIsWrong(t *testing.T) {
	at := func(seconds float64) instant { return instant(seconds * float64(time.Second)) }
	misses := func(seconds float64, why string) record {
		return record{Kind: misses, At: at(seconds), Node: "a", Life: 7, Text: why, proc: 1}
	}
	const unreachable, expired = "unreachable", "expired"
	tests := []struct {
		name    string
		procs   [3]proc // a, b and c; without an end they run
		records []record
		stored  []string
		wrong   string
	}{
		{name: "nothing happens"},
		{name: "killed", procs: [3]proc{{to: at(9), killed: true}}, records: []record{misses(10, expired)}},
		{name: "left", procs: [3]proc{{to: at(9)}}, records: []record{misses(10, "left")}},
		{name: "frozen for long", procs: [3]proc{{disturbed: []span{{at(4), at(9)}}}}, records: []record{misses(10, expired)}},
		{name: "unreachable while it is split off", procs: [3]proc{{disturbed: []span{{at(9), never}}}}, records: []record{misses(10, unreachable)}},
		{name: "unreachable for one who was split off", procs: [3]proc{{}, {disturbed: []span{{at(9), at(9.5)}}}}, records: []record{misses(10, unreachable)}},
		{name: "a frozen one hears later", procs: [3]proc{{disturbed: []span{{at(10), at(15)}}}, {disturbed: []span{{at(12), at(30)}}}}, records: []record{misses(31, expired)}},
		{name: "its server was frozen", procs: [3]proc{{}, {}, {disturbed: []span{{at(4), at(9)}}}},
			records: []record{{Kind: isOnline, At: at(1), Node: "c", proc: 0}, misses(10, expired)}},
		{name: "the machine had no time", records: []record{{Kind: isStalled, From: at(7), At: at(9), proc: 2}, misses(10, expired)}},
		{name: "stored", records: []record{{Kind: isAcked, At: at(1), Text: "x"}}, stored: []string{"x"}},
		{name: "written while it was read", records: []record{{Kind: isAcked, At: at(101), Text: "x"}}},
		{name: "a bus that was told to end", procs: [3]proc{{to: at(9)}}, records: []record{{Kind: isDead, At: at(10)}}},

		{name: "lost though it is there", records: []record{misses(10, expired)}, wrong: "which ran and reached the cluster: expired"},
		{name: "unreachable though it is there", records: []record{misses(10, unreachable)}, wrong: "which ran and reached the cluster: unreachable"},
		{name: "missed before it was killed", procs: [3]proc{{to: at(11)}}, records: []record{misses(10, expired)}, wrong: "which ran"},
		{name: "said to have left", records: []record{misses(10, "left")}, wrong: "has left, and it has not"},
		{name: "frozen for a moment", procs: [3]proc{{disturbed: []span{{at(8), at(8.2)}}}}, records: []record{misses(10, expired)}, wrong: "which ran"},
		{name: "frozen long ago", procs: [3]proc{{disturbed: []span{{at(1), at(9)}}}}, records: []record{misses(60, expired)}, wrong: "which ran"},
		{name: "split off long ago", procs: [3]proc{{disturbed: []span{{at(1), at(9)}}}}, records: []record{misses(20, unreachable)}, wrong: "which ran"},
		{name: "another server was frozen", procs: [3]proc{{}, {}, {disturbed: []span{{at(4), at(9)}}}},
			records: []record{{Kind: isOnline, At: at(1), Node: "c", proc: 0}, {Kind: isOnline, At: at(2), Node: "b", proc: 0}, misses(40, expired)}, wrong: "which ran"},
		{name: "a frozen one is no reason", records: []record{{Kind: isStalled, From: at(7), At: at(9), proc: 2}, misses(10, expired)},
			procs: [3]proc{{}, {}, {disturbed: []span{{at(7), at(9)}}}}, wrong: "which ran"},
		{name: "work for it was ended", records: []record{{Kind: isOver, At: at(10), Node: "a", Life: 7, Text: "node is gone: a unreachable", proc: 1}}, wrong: "(over)"},
		{name: "another that began in the same moment has left", records: []record{{Kind: isOver, At: at(10), Node: "b", Life: 7, Text: "node is gone: b left", proc: 2}},
			procs: [3]proc{{}, {to: at(9)}}},
		{name: "a message is lost", records: []record{{Kind: isAcked, At: at(1), Text: "x"}, {Kind: isAcked, At: at(1), Text: "y"}}, stored: []string{"x"},
			wrong: "message y was acknowledged, and is lost"},
		{name: "a bus that ended by itself", records: []record{{Kind: isDead, At: at(10), Text: "superseded"}}, wrong: "the bus of a#0 ended"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var procs []*proc
			for i := range test.procs {
				p := &test.procs[i]
				p.number, p.name, p.server = i, string(rune('a'+i)), string(rune('a'+i))
				if p.to == 0 {
					p.to = never
				}
				procs = append(procs, p)
			}
			v := judge(append([]record{{Kind: isJoined, At: at(1), Node: "a", Life: 7, proc: 0}, {Kind: isJoined, At: at(1), Node: "b", Life: 7, proc: 1}}, test.records...), procs, test.stored, at(100))
			if test.wrong == "" {
				require.Empty(t, v.wrong)
			}
			require.Contains(t, fmt.Sprint(v.wrong), test.wrong)
		})
	}
}

// Whoever is shown to nobody, and sees nobody, would rightly form another cluster: so at each time those who have started are connected.
func TestViewsAreConnected(t *testing.T) {
	for seed := range uint64(50) {
		processes, until := 3+int(seed%7), time.Duration(seed%16)*time.Second
		v := newViews(newRand(seed, 0), processes, until)
		last := map[int][]int{}
		for i, s := range v.steps {
			last[s.of] = s.sees
			if i+1 < len(v.steps) && v.steps[i+1].after == s.after {
				continue
			}
			reached := map[int]bool{s.of: true}
			for more := true; more; {
				more = false
				for of, sees := range last {
					for _, seen := range sees {
						if _, started := last[seen]; started && reached[of] != reached[seen] {
							reached[of], reached[seen], more = true, true, true
						}
					}
				}
			}
			require.Len(t, reached, len(last), "seed %d, after %v", seed, s.after)
		}
		for of := range processes {
			require.Len(t, last[of], processes)
		}
	}
}
