//go:build linux

package chaos_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The checks are checked: histories made by hand, each of which breaks one promise, must be found out; and the same
// histories without that must not.

// tale is a history in the making. Times are seconds.
type tale struct {
	records []record
	names   map[int]string
}

const (
	aliceNumber = 1
	bobNumber   = 2
	newAlice    = 3
)

func at(seconds float64) instant { return instant(seconds * float64(time.Second)) }

// newTale begins with a node alice, who is in scope s from the first second on, and an observer bob, who sees her; the
// servers are well.
func newTale() *tale {
	t := &tale{names: map[int]string{aliceNumber: "alice", bobNumber: "bob", newAlice: "alice"}}
	t.add(0, 0, record{Kind: sick})
	t.add(0.1, 0, record{Kind: well})
	for _, number := range []int{aliceNumber, bobNumber} {
		t.add(0.2, number, record{Kind: started})
		t.add(0.3, number, record{Kind: online, Server: "server-0"})
		t.add(1, number, record{Kind: joined})
	}
	t.add(0.5, bobNumber, record{Kind: rewatch, Scope: "s"})
	t.wants(0.2, aliceNumber, "s/seq=1")
	t.sees(1, "s/seq=1", 100)
	return t
}

func (t *tale) add(seconds float64, number int, r record) {
	r.At, r.Proc, r.Name = at(seconds), number, t.names[number]
	t.records = append(t.records, r)
}

func (t *tale) wants(seconds float64, number int, roles ...string) {
	t.add(seconds, number, record{Kind: ordered, Op: opSet, Scope: "s", Roles: roles})
}

func (t *tale) sees(seconds float64, role string, life uint64) {
	t.add(seconds, bobNumber, record{Kind: sees, Scope: "s", Node: "alice", Life: life, Roles: []string{role}})
}

func (t *tale) misses(seconds float64, life uint64, reason string) {
	t.add(seconds, bobNumber, record{Kind: misses, Scope: "s", Node: "alice", Life: life, Reason: reason})
}

// fault happens from one time to another.
func (t *tale) fault(from, to float64, e effect) {
	id := len(t.records) + 1
	t.add(from, 0, record{Kind: faulted, Fault: id, Effect: e})
	t.add(to, 0, record{Kind: healed, Fault: id})
}

// broken returns the promises that the tale breaks, once each.
func (t *tale) broken() []int {
	h := history{records: t.records}
	found, _ := check(h.all())
	broken := []int{}
	for _, v := range found {
		broken = append(broken, v.promise)
	}
	slices.Sort(broken)
	return slices.Compact(broken)
}

func TestChecksFindWhatIsBroken(t *testing.T) {
	frozen := effect{procs: []int{aliceNumber}, silences: true}
	killed := effect{procs: []int{aliceNumber}, silences: true, kills: true}
	tests := []struct {
		name   string
		breaks []int
		tell   func(t *tale)
	}{
		{"nothing happens", nil, func(*tale) {}},
		{"states in their order, some skipped", nil, func(t *tale) {
			t.wants(2, aliceNumber, "s/seq=2")
			t.wants(3, aliceNumber, "s/seq=3")
			t.sees(3.1, "s/seq=3", 100)
		}},

		{"an older state after a newer one", []int{2}, func(t *tale) {
			t.wants(2, aliceNumber, "s/seq=2")
			t.sees(2.1, "s/seq=2", 100)
			t.sees(2.2, "s/seq=1", 100)
		}},
		{"an older life after a newer one", []int{2}, func(t *tale) {
			t.wants(2, newAlice, "s/seq=2")
			t.sees(2.1, "s/seq=2", 200)
			t.sees(2.2, "s/seq=1", 100)
		}},
		{"an older state in a newer life", []int{2}, func(t *tale) {
			t.wants(2, aliceNumber, "s/seq=2")
			t.sees(2.1, "s/seq=2", 100)
			t.sees(2.2, "s/seq=1", 200)
		}},
		{"a state that nobody wanted", []int{2}, func(t *tale) { t.sees(2, "s/seq=9", 100) }},
		{"a state before it was wanted", []int{2}, func(t *tale) {
			t.sees(2, "s/seq=2", 100)
			t.wants(2.1, aliceNumber, "s/seq=2")
		}},
		{"a state that lacks a role", []int{2}, func(t *tale) {
			t.wants(2, aliceNumber, "s/seq=2", "s/work-1")
			t.sees(2.1, "s/seq=2", 100)
		}},
		{"a life that had said goodbye", []int{2}, func(t *tale) {
			t.add(2, aliceNumber, record{Kind: ordered, Op: opLeave, Scope: "s"})
			t.misses(2.1, 100, "left")
			t.sees(2.2, "s/seq=1", 100)
		}},
		{"a life that leaves gives its roles up first", nil, func(t *tale) {
			t.add(2, aliceNumber, record{Kind: ordered, Op: opLeave, Scope: "s"})
			t.add(2.1, bobNumber, record{Kind: sees, Scope: "s", Node: "alice", Life: 100})
			t.misses(2.2, 100, "left")
			t.wants(3, aliceNumber, "s/seq=2")
			t.sees(3.1, "s/seq=2", 101)
		}},
		{"a life gives its roles up and does not leave", []int{2}, func(t *tale) {
			t.add(2.1, bobNumber, record{Kind: sees, Scope: "s", Node: "alice", Life: 100})
		}},
		{"a life that leaves has its roles again", []int{2}, func(t *tale) {
			t.add(2, aliceNumber, record{Kind: ordered, Op: opLeave, Scope: "s"})
			t.add(2.1, bobNumber, record{Kind: sees, Scope: "s", Node: "alice", Life: 100})
			t.sees(2.2, "s/seq=1", 100)
		}},
		{"a scope that is joined anew begins anew", nil, func(t *tale) {
			t.wants(2, aliceNumber, "s/seq=2")
			t.sees(2.1, "s/seq=2", 100)
			t.add(2.2, bobNumber, record{Kind: rewatch, Scope: "s"})
			t.sees(2.3, "s/seq=1", 100)
		}},

		{"a living node is lost", []int{3}, func(t *tale) { t.misses(5, 100, "expired") }},
		{"a living node cannot be reached", []int{3}, func(t *tale) { t.misses(5, 100, "unreachable") }},
		{"a living node is lost while its server is killed", []int{3}, func(t *tale) {
			t.fault(2, 8, effect{servers: true})
			t.misses(7, 100, "expired")
		}},
		{"a living node is lost while another server hangs", []int{3}, func(t *tale) {
			t.fault(2, 8, effect{servers: true, cuts: []string{"server-1"}})
			t.misses(7, 100, "expired")
		}},
		{"a living node is lost while its own server hangs", nil, func(t *tale) {
			t.fault(2, 8, effect{servers: true, cuts: []string{"server-0"}})
			t.misses(7, 100, "expired")
		}},
		{"a living node is lost by an observer that is cut off", []int{3}, func(t *tale) {
			t.fault(2, 8, effect{nodes: []string{"bob"}, silences: true})
			t.misses(7, 100, "expired")
		}},
		{"a living node cannot be reached by an observer that is cut off", nil, func(t *tale) {
			t.fault(2, 8, effect{nodes: []string{"bob"}, silences: true})
			t.misses(7, 100, "unreachable")
		}},
		{"a node that was frozen is lost", nil, func(t *tale) {
			t.fault(2, 8, frozen)
			t.misses(5, 100, "expired")
		}},
		{"a node that was frozen for a moment is lost", []int{3}, func(t *tale) {
			t.fault(4, 4.5, frozen)
			t.misses(5, 100, "expired")
		}},
		{"a node is lost that was cut off right after nobody could write", nil, func(t *tale) {
			t.add(3.9, 0, record{Kind: sick, Text: "no leader"})
			t.add(4, 0, record{Kind: well})
			t.fault(4.1, 7, effect{nodes: []string{"alice"}, silences: true})
			t.misses(5.5, 100, "expired")
		}},
		{"a node is lost that was cut off a while after nobody could write", []int{3}, func(t *tale) {
			t.add(2.9, 0, record{Kind: sick, Text: "no leader"})
			t.add(3, 0, record{Kind: well})
			t.fault(4.1, 7, effect{nodes: []string{"alice"}, silences: true})
			t.misses(5.5, 100, "expired")
		}},
		{"a node is lost that was cut off right after another one could not write", nil, func(t *tale) {
			t.add(3.9, bobNumber, record{Kind: doubting, Scope: "s", Text: "since now"})
			t.add(4, bobNumber, record{Kind: doubting, Scope: "s", Text: "no more"})
			t.fault(4.1, 7, effect{nodes: []string{"alice"}, silences: true})
			t.misses(5.5, 100, "expired")
		}},
		{"a node is lost that was cut off right after it could not write", []int{3}, func(t *tale) {
			t.add(3.9, aliceNumber, record{Kind: doubting, Scope: "s", Text: "since now"})
			t.add(4, aliceNumber, record{Kind: doubting, Scope: "s", Text: "no more"})
			t.fault(4.1, 7, effect{nodes: []string{"alice"}, silences: true})
			t.misses(5.5, 100, "expired")
		}},
		{"a node is lost that was cut off right after a replica was behind", []int{3}, func(t *tale) {
			t.add(3.9, 0, record{Kind: sick, Text: "replica server-1 is not current"})
			t.add(4, 0, record{Kind: well})
			t.fault(4.1, 7, effect{nodes: []string{"alice"}, silences: true})
			t.misses(5.5, 100, "expired")
		}},
		{"a node that was frozen long ago is lost", []int{3}, func(t *tale) {
			t.fault(2, 4.5, frozen)
			t.misses(12, 100, "expired")
		}},
		{"a living node is lost while the machine stalls", nil, func(t *tale) {
			t.add(4.9, 0, record{Kind: stalled, Began: at(3.9)})
			t.misses(5, 100, "expired")
		}},
		{"a living node is lost after the machine stalled for a moment", []int{3}, func(t *tale) {
			t.add(4.9, 0, record{Kind: stalled, Began: at(4.5)})
			t.misses(5, 100, "expired")
		}},
		{"an observer that was frozen tells later", nil, func(t *tale) {
			t.fault(2, 6, frozen)
			t.fault(2, 20, effect{procs: []int{bobNumber}, silences: true})
			t.misses(20.1, 100, "expired")
		}},
		{"a node is lost that has a newer life", nil, func(t *tale) {
			t.add(4, newAlice, record{Kind: started})
			t.misses(5, 100, "expired")
		}},

		{"a killed node stays", []int{4}, func(t *tale) {
			t.fault(20, 30, killed)
		}},
		{"a killed node goes in time", nil, func(t *tale) {
			t.fault(20, 30, killed)
			t.misses(23.4, 100, "expired")
		}},
		{"a killed node goes late", []int{4}, func(t *tale) {
			t.fault(20, 30, killed)
			t.misses(23.7, 100, "expired")
		}},
		{"a killed node goes late, but so was the machine", nil, func(t *tale) {
			t.fault(20, 30, killed)
			t.add(22, 0, record{Kind: stalled, Began: at(21.7)})
			t.misses(23.7, 100, "expired")
		}},
		{"a killed node goes late, but so did a server", nil, func(t *tale) {
			t.fault(18, 19, effect{servers: true})
			t.fault(20, 30, killed)
			t.misses(29, 100, "expired")
		}},
		{"a frozen node stays", []int{4}, func(t *tale) { t.fault(20, 30, frozen) }},
		{"a node that was frozen for a moment stays", nil, func(t *tale) { t.fault(20, 22, frozen) }},
		{"a node that is cut off stays", []int{4}, func(t *tale) {
			t.fault(20, 30, effect{nodes: []string{"alice"}, silences: true})
		}},

		{"a node that has left stays", []int{5}, func(t *tale) {
			t.add(20, aliceNumber, record{Kind: ordered, Op: opLeave, Scope: "s"})
			t.add(20.1, aliceNumber, record{Kind: returned, Op: opLeave, Scope: "s", Outcome: ok, Began: at(20)})
			t.add(22, bobNumber, record{Kind: noted})
		}},
		{"a node that has left is seen to expire", []int{5}, func(t *tale) {
			t.add(20, aliceNumber, record{Kind: ordered, Op: opClose})
			t.add(20.1, aliceNumber, record{Kind: returned, Op: opClose, Outcome: ok, Began: at(20)})
			t.misses(20.2, 100, "expired")
		}},
		{"a node that has left is seen to leave", nil, func(t *tale) {
			t.add(20, aliceNumber, record{Kind: ordered, Op: opClose})
			t.add(20.1, aliceNumber, record{Kind: returned, Op: opClose, Outcome: ok, Began: at(20)})
			t.misses(20.2, 100, "left")
		}},

		{"a bus stops by itself", []int{6}, func(t *tale) {
			t.add(5, aliceNumber, record{Kind: ended, Outcome: superseded})
		}},
		{"a bus stops for a newer life", nil, func(t *tale) {
			t.add(4, newAlice, record{Kind: started})
			t.add(5, aliceNumber, record{Kind: ended, Outcome: superseded})
		}},
		{"an older life goes on", []int{6}, func(t *tale) {
			t.add(4, newAlice, record{Kind: started})
			t.add(5, newAlice, record{Kind: joined})
			t.add(6.1, aliceNumber, record{Kind: returned, Op: opSet, Scope: "s", Outcome: ok, Began: at(6)})
		}},
		{"an older life hears late of what was before", nil, func(t *tale) {
			t.add(4, newAlice, record{Kind: started})
			t.add(5, newAlice, record{Kind: joined})
			t.add(6.1, aliceNumber, record{Kind: returned, Op: opSet, Scope: "s", Outcome: ok, Began: at(4.5)})
		}},

		{"a role of another scope", []int{2, 7}, func(t *tale) {
			t.wants(2, aliceNumber, "s/seq=2")
			t.add(3, bobNumber, record{Kind: sees, Scope: "s", Node: "alice", Life: 100, Roles: []string{"other/work-1", "s/seq=2"}})
		}},
		{"a node of another scope", []int{2, 7}, func(t *tale) {
			t.add(3, bobNumber, record{Kind: sees, Scope: "other", Node: "alice", Life: 100, Roles: []string{"other/seq=1"}})
		}},

		{"a panic", []int{0}, func(t *tale) { t.add(3, bobNumber, record{Kind: broken, Text: "panic"}) }},
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

func TestDisagreementIsTold(t *testing.T) {
	wanted := scopesOf{"s": {"alice": {"a", "b"}, "bob": {"a"}}}
	require.Empty(t, disagreement(wanted, scopesOf{"s": {"alice": {"a", "b"}, "bob": {"a"}}}))
	require.Equal(t, "lacks bob in s", disagreement(wanted, scopesOf{"s": {"alice": {"a", "b"}}}))
	require.Equal(t, "shows alice in s as [a], it is [a,b]", disagreement(wanted, scopesOf{"s": {"alice": {"a"}, "bob": {"a"}}}))
	require.Equal(t, "shows carol in s, which is not there",
		disagreement(wanted, scopesOf{"s": {"alice": {"a", "b"}, "bob": {"a"}, "carol": {}}}))
	require.Equal(t, "lacks alice in s; lacks bob in s", disagreement(wanted, scopesOf{}))
}
