//go:build linux

package chaos_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// settings are found to be so from a moment on.
func (t *tale) settings(seconds float64, found string) {
	t.add(seconds, 0, record{Kind: holds, Text: found})
}

// certain is from when to when alice says that she is certain to be listed.
func (t *tale) certain(from, to float64) {
	t.add(from, aliceNumber, record{Kind: certain, Scope: "s", Text: "since now"})
	t.add(to+0.01, aliceNumber, record{Kind: certain, Scope: "s", Text: "no more", Began: at(to)})
}

// stranger tries to use the foreign bucket.
func (t *tale) stranger(from, to float64, outcome string) {
	t.add(to, 0, record{Kind: tried, Began: at(from), Outcome: outcome})
}

// dies has alice killed, for good, and seen to go or not.
func (t *tale) dies(seconds float64) {
	t.fault(seconds, seconds+1, effect{procs: []int{aliceNumber}, silences: true, kills: true})
	t.add(seconds, aliceNumber, record{Kind: exited})
}

func TestChecksOfTheBucketFindWhatIsBroken(t *testing.T) {
	unwell := effect{servers: true}
	toMend := effect{servers: true, mends: true}
	tests := []struct {
		name   string
		breaks []int
		tell   func(t *tale)
	}{
		{"the dead stay whose death nobody could store", []int{4}, func(t *tale) {
			t.fault(20, 28, unwell)
			t.dies(22)
			t.add(28+forgotten.Seconds()+1, 0, record{Kind: noted})
		}},
		{"the dead go late whose death nobody could store", []int{4}, func(t *tale) {
			t.fault(20, 28, unwell)
			t.dies(22)
			t.misses(28+forgotten.Seconds()+0.5, 100, "expired")
			t.add(28+forgotten.Seconds()+1, 0, record{Kind: noted})
		}},
		{"the dead go whose death nobody could store", nil, func(t *tale) {
			t.fault(20, 28, unwell)
			t.dies(22)
			t.misses(28+forgotten.Seconds()-0.5, 100, "expired")
			t.add(28+forgotten.Seconds()+1, 0, record{Kind: noted})
		}},
		{"the dead stay, but the servers are not well for long", nil, func(t *tale) {
			t.fault(20, 28, unwell)
			t.dies(22)
			t.fault(28+forgotten.Seconds()-1, 28+forgotten.Seconds()+2, unwell)
			t.add(28+forgotten.Seconds()+3, 0, record{Kind: noted})
		}},
		{"the dead come back after they went", []int{4}, func(t *tale) {
			t.fault(20, 28, unwell)
			t.dies(22)
			t.misses(30, 100, "unreachable")
			t.sees(35, "s/seq=1", 100)
			t.add(28+forgotten.Seconds()+1, 0, record{Kind: noted})
		}},
		{"a later joiner sees the dead", []int{4}, func(t *tale) {
			const carol = 4
			t.names[carol] = "carol"
			t.fault(20, 28, unwell)
			t.dies(22)
			t.misses(26, 100, "expired")
			t.add(30, carol, record{Kind: started})
			t.add(30.1, carol, record{Kind: online, Server: "server-1"})
			t.add(30.2, carol, record{Kind: sees, Scope: "s", Node: "alice", Life: 100, Roles: []string{"s/seq=1"}})
			t.add(30+forgotten.Seconds()+1, 0, record{Kind: noted})
		}},

		{"the bucket is deleted and not made again", []int{8}, func(t *tale) {
			t.fault(20, 26, toMend)
			t.settings(20.1, missing)
			t.settings(26.1, sound)
		}},
		{"the bucket is deleted and made again", nil, func(t *tale) {
			t.fault(20, 26, toMend)
			t.settings(20.1, missing)
			t.settings(22, sound)
		}},
		{"the leases' subject is taken away and not put back", []int{8}, func(t *tale) {
			t.fault(20, 26, toMend)
			t.settings(20.1, maimed)
			t.settings(26.1, sound)
		}},
		{"the bucket is not made again while servers are at fault", nil, func(t *tale) {
			t.fault(20, 26, unwell)
			t.settings(20.1, missing)
			t.settings(28, sound)
		}},
		{"nobody knows whether there is a bucket", nil, func(t *tale) {
			t.settings(20.1, unasked)
			t.settings(28, sound)
		}},
		{"nobody is there to make the bucket again", nil, func(t *tale) {
			t.fault(20, 26, effect{nodes: []string{"alice"}})
			t.settings(20.1, missing)
			t.settings(26.1, sound)
		}},

		{"one who was frozen and buried says that it is certain", []int{0}, func(t *tale) {
			t.certain(15, 30.5)
			t.fault(20, 30, effect{procs: []int{aliceNumber}, silences: true})
			t.misses(23, 100, "expired")
			t.add(30, aliceNumber, record{Kind: stalled, Began: at(20)})
		}},
		{"one who was frozen and buried is not certain any more", nil, func(t *tale) {
			t.certain(15, 20)
			t.fault(20, 30, effect{procs: []int{aliceNumber}, silences: true})
			t.misses(23, 100, "expired")
			t.add(30, aliceNumber, record{Kind: stalled, Began: at(20)})
		}},
		{"one who was frozen and buried never runs again", nil, func(t *tale) {
			t.add(15, aliceNumber, record{Kind: certain, Scope: "s", Text: "since now"})
			t.fault(20, 30, effect{procs: []int{aliceNumber}, silences: true, kills: true})
			t.misses(23, 100, "expired")
			t.add(30, aliceNumber, record{Kind: exited})
		}},
		{"one who was frozen and buried says so for ever", []int{0}, func(t *tale) {
			t.add(15, aliceNumber, record{Kind: certain, Scope: "s", Text: "since now"})
			t.fault(20, 30, effect{procs: []int{aliceNumber}, silences: true})
			t.misses(23, 100, "expired")
			t.add(30, aliceNumber, record{Kind: stalled, Began: at(20)})
			t.add(31, aliceNumber, record{Kind: rewatch, Scope: "other"})
		}},
		{"one who was frozen and buried is listed again at once", nil, func(t *tale) {
			t.certain(15, 35)
			t.fault(20, 30, effect{procs: []int{aliceNumber}, silences: true})
			t.misses(23, 100, "expired")
			t.add(30, aliceNumber, record{Kind: stalled, Began: at(20)})
			t.sees(30.1, "s/seq=1", 100)
		}},

		{"all slept, and one is lost", []int{3}, func(t *tale) {
			t.fault(20, 23, effect{servers: true, pauses: true})
			t.add(23, aliceNumber, record{Kind: stalled, Began: at(20)})
			t.misses(23.1, 100, "expired")
		}},

		{"a stranger gets in", []int{0}, func(t *tale) { t.stranger(20, 24, intruded) }},
		{"a stranger is refused, but not for what it is", []int{0}, func(t *tale) { t.stranger(20, 24, refused) }},
		{"a stranger is told nothing", []int{0}, func(t *tale) { t.stranger(20, 24, silent) }},
		{"a stranger is told nothing yet", nil, func(t *tale) { t.stranger(20, 21, silent) }},
		{"a stranger is told that the bucket is none of ours", nil, func(t *tale) { t.stranger(20, 21, mismatch) }},
		{"a stranger is told nothing while the servers are not well", nil, func(t *tale) {
			t.fault(20, 23, unwell)
			t.stranger(20, 24, silent)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tale := newTale()
			test.tell(tale)
			if test.breaks == nil {
				test.breaks = []int{}
			}
			require.Equal(t, test.breaks, tale.broken())
		})
	}
}

func TestAForeignBucketThatChangesIsFound(t *testing.T) {
	b := &foreign{is: "history 10", holds: "12 messages"}
	require.Empty(t, differs(b, "history 10", "12 messages"))
	require.NotEmpty(t, differs(b, "history 1", "12 messages"))
	require.NotEmpty(t, differs(b, "history 10", "2 messages"))
	b.endanger()
	require.Empty(t, differs(b, "history 10", "2 messages"), "the servers may have lost them")
	require.NotEmpty(t, differs(b, "history 1", "12 messages"))
}
